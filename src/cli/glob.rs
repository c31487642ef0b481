//! Shell patterns as Go's path.Match has them: `*` and `?` stop at `/`, `[a-z]` and `[^x]` are classes, `\` quotes.

/// Whether all of `text` fits; None: the pattern is malformed.
pub fn matches(pattern: &str, text: &str) -> Option<bool> {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    // A malformed pattern fits nothing, wherever the text stops fitting.
    check(&pattern)?;
    Some(fits(&pattern, &text))
}

fn check(mut pattern: &[char]) -> Option<()> {
    while let Some(first) = pattern.first() {
        pattern = match first {
            '\\' => pattern.get(2..)?,
            '[' => class(pattern, '\0')?.1,
            _ => &pattern[1..],
        };
    }
    Some(())
}

fn fits(pattern: &[char], text: &[char]) -> bool {
    let Some(first) = pattern.first() else { return text.is_empty() };
    let next = text.first().copied();
    match (first, next) {
        ('*', _) => {
            let within = text.iter().take_while(|&&c| c != '/').count();
            (0..=within).any(|skipped| fits(&pattern[1..], &text[skipped..]))
        }
        (_, None) => false,
        ('?', Some(c)) => c != '/' && fits(&pattern[1..], &text[1..]),
        ('[', Some(c)) => class(pattern, c).is_some_and(|(inside, rest)| inside && fits(rest, &text[1..])),
        ('\\', Some(c)) => pattern.get(1) == Some(&c) && fits(&pattern[2..], &text[1..]),
        (literal, Some(c)) => *literal == c && fits(&pattern[1..], &text[1..]),
    }
}

/// Whether a character is in the class that begins here, and what follows the class.
fn class(pattern: &[char], c: char) -> Option<(bool, &[char])> {
    let mut rest = &pattern[1..];
    let negated = rest.first() == Some(&'^');
    if negated {
        rest = &rest[1..];
    }
    let (mut inside, mut count) = (false, 0);
    loop {
        if rest.first() == Some(&']') && count > 0 {
            return Some((inside != negated, &rest[1..]));
        }
        let (low, after) = member(rest)?;
        let (high, after) = match after.first() {
            Some('-') => member(&after[1..])?,
            _ => (low, after),
        };
        inside |= (low..=high).contains(&c);
        rest = after;
        count += 1;
    }
}

fn member(rest: &[char]) -> Option<(char, &[char])> {
    match rest {
        ['-' | ']', ..] | [] => None,
        ['\\', c, rest @ ..] => Some((*c, rest)),
        ['\\'] => None,
        [c, rest @ ..] => Some((*c, rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::matches;
    use proptest::prelude::*;

    #[test]
    fn patterns_match_as_go_s() {
        let cases = [
            ("abc", "abc", Some(true)),
            ("*", "abc", Some(true)),
            ("*c", "abc", Some(true)),
            ("a*/b", "abc/b", Some(true)),
            ("a*/b", "a/c/b", Some(false)),
            ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", Some(false)),
            ("a?c", "a/c", Some(false)),
            ("a[bc]d", "acd", Some(true)),
            ("[^a-c]", "b", Some(false)),
            ("[^a-c]", "d", Some(true)),
            ("a\\*b", "a*b", Some(true)),
            ("a\\*b", "axb", Some(false)),
            ("[\\]a]", "]", Some(true)),
            ("*x", "xxx", Some(true)),
            ("[]a]", "]", None),
            ("[-]", "-", None),
            ("[x-]", "x", None),
            ("[", "a", None),
            ("a[", "b", None),
            ("\\", "a", None),
            ("", "", Some(true)),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    proptest! {
        #[test]
        fn a_text_fits_itself_quoted(text in "[a-z*?\\[\\]\\\\/^-]{0,12}") {
            let quoted: String = text.chars().flat_map(|c| ['\\', c]).collect();
            prop_assert_eq!(matches(&quoted, &text), Some(true));
            let _ = matches(&text, "abc/def");
        }
    }
}
