//! Source to tokens (text/template/parse/lex.go is the grammar followed).

use super::Mistake;

/// What a token is.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    Text(String),
    /// `{{`
    Open,
    /// `}}`
    Close,
    /// It separates arguments: `.A .B` are two, `.A.B` is one.
    Space,
    Dot,
    /// `.Name`, without the dot.
    Field(String),
    /// `$name`, or `$` alone, with the dollar.
    Variable(String),
    /// A keyword, a function, true, false, nil.
    Word(String),
    Quoted(String),
    Integer(i64),
    Float(f64),
    Assign,
    Declare,
    Pipe,
    Comma,
    Left,
    Right,
}

/// A token and where it begins and ends.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    pub kind: Kind,
    pub at: usize,
    pub end: usize,
}

const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

/// All tokens of a template.
pub fn tokens(source: &str) -> Result<Vec<Token>, Mistake> {
    let mut lexer = Lexer { source, at: 0, tokens: Vec::new() };
    let mut trim = false;
    loop {
        let rest = &source[lexer.at..];
        let open = rest.find("{{");
        let mut text = &rest[..open.unwrap_or(rest.len())];
        let start = lexer.at;
        if trim {
            text = text.trim_start_matches(SPACE);
        }
        let Some(open) = open else {
            lexer.text(start, text);
            return Ok(lexer.tokens);
        };
        let inside = &rest[open + 2..];
        let trims = inside.strip_prefix('-').is_some_and(|after| after.starts_with(SPACE));
        lexer.text(start, if trims { text.trim_end_matches(SPACE) } else { text });
        lexer.at += open + 2 + if trims { 1 } else { 0 };
        trim = lexer.action()?;
    }
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    tokens: Vec<Token>,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn text(&mut self, at: usize, text: &str) {
        if !text.is_empty() {
            self.tokens.push(Token { kind: Kind::Text(text.into()), at, end: at + text.len() });
        }
    }

    fn push(&mut self, kind: Kind, length: usize) {
        self.tokens.push(Token { kind, at: self.at, end: self.at + length });
        self.at += length;
    }

    /// Everything up to and with `}}`; whether the text after it is to be trimmed.
    fn action(&mut self) -> Result<bool, Mistake> {
        let comment = self.rest().trim_start_matches(SPACE);
        // A comment stands directly at the delimiter, or at the trim marker's space.
        let gap = self.rest().len() - comment.len();
        if comment.starts_with("/*") && gap <= 1 {
            return self.comment(gap);
        }
        self.push(Kind::Open, 0);
        let mut depth = 0usize;
        loop {
            if let Some(trim) = self.close() {
                if depth > 0 {
                    return Err(Mistake::new(self.at, "unclosed left paren"));
                }
                self.push(Kind::Close, 0);
                self.at += if trim { self.rest().find("}}").unwrap_or(0) + 2 } else { 2 };
                return Ok(trim);
            }
            match self.rest().chars().next() {
                None => return Err(Mistake::new(self.at, "unclosed action")),
                Some('(') => {
                    depth += 1;
                    self.push(Kind::Left, 1);
                }
                Some(')') => {
                    depth = depth.checked_sub(1).ok_or_else(|| Mistake::new(self.at, "unexpected right paren"))?;
                    self.push(Kind::Right, 1);
                }
                Some(c) => self.token(c)?,
            }
        }
    }

    /// Whether the action ends here: `}}`, or a space and `-}}`.
    fn close(&self) -> Option<bool> {
        let rest = self.rest();
        if rest.starts_with("}}") {
            return Some(false);
        }
        let after = rest.trim_start_matches(SPACE);
        (after.len() < rest.len() && after.starts_with("-}}")).then_some(true)
    }

    fn comment(&mut self, gap: usize) -> Result<bool, Mistake> {
        let unclosed = Mistake::new(self.at, "unclosed comment");
        let end = self.rest()[gap + 2..].find("*/").ok_or(unclosed)?;
        self.at += gap + 2 + end + 2;
        match self.close() {
            Some(trim) => {
                self.at += if trim { self.rest().find("}}").unwrap_or(0) + 2 } else { 2 };
                Ok(trim)
            }
            None => Err(Mistake::new(self.at, "comment ends before closing delimiter")),
        }
    }

    fn token(&mut self, c: char) -> Result<(), Mistake> {
        let rest = self.rest();
        let digit = |at: usize| rest[at..].starts_with(|c: char| c.is_ascii_digit());
        match c {
            c if SPACE.contains(&c) => self.push(Kind::Space, rest.len() - rest.trim_start_matches(SPACE).len()),
            ':' if rest.starts_with(":=") => self.push(Kind::Declare, 2),
            '=' => self.push(Kind::Assign, 1),
            '|' => self.push(Kind::Pipe, 1),
            ',' => self.push(Kind::Comma, 1),
            '"' => self.quoted()?,
            '`' => {
                let end = rest[1..].find('`').ok_or_else(|| Mistake::new(self.at, "unterminated raw quoted string"))?;
                self.push(Kind::Quoted(rest[1..1 + end].into()), end + 2);
            }
            '\'' => self.character()?,
            '.' if !digit(1) => {
                let name = word(&rest[1..]);
                let kind = if name.is_empty() { Kind::Dot } else { Kind::Field(name.into()) };
                self.ended(1 + name.len())?;
                self.push(kind, 1 + name.len());
            }
            '$' => {
                let length = 1 + word(&rest[1..]).len();
                self.ended(length)?;
                self.push(Kind::Variable(rest[..length].into()), length);
            }
            '+' | '-' | '.' | '0'..='9' => self.number()?,
            c if c.is_alphabetic() || c == '_' => {
                let name = word(rest);
                self.ended(name.len())?;
                self.push(Kind::Word(name.into()), name.len());
            }
            c => return Err(Mistake::new(self.at, format!("unexpected {c:?} in command"))),
        }
        Ok(())
    }

    /// A name must be followed by something that can follow one.
    fn ended(&self, length: usize) -> Result<(), Mistake> {
        let after = &self.rest()[length..];
        match after.chars().next() {
            None => Ok(()),
            Some(c) if SPACE.contains(&c) || ".,|:=()".contains(c) || after.starts_with("}}") => Ok(()),
            Some(c) => Err(Mistake::new(self.at + length, format!("bad character {c:?}"))),
        }
    }

    fn quoted(&mut self) -> Result<(), Mistake> {
        let rest = self.rest();
        let mut text = Vec::new();
        let mut at = 1;
        loop {
            match rest[at..].chars().next() {
                None | Some('\n') => return Err(Mistake::new(self.at, "unterminated quoted string")),
                Some('"') => break,
                Some('\\') => at += self.escape(&rest[at..], &mut text)?,
                Some(c) => {
                    text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                    at += c.len_utf8();
                }
            }
        }
        self.push(Kind::Quoted(String::from_utf8_lossy(&text).into_owned()), at + 1);
        Ok(())
    }

    /// One escape of a Go string; its bytes go to `text`, its length is returned.
    fn escape(&self, from: &str, text: &mut Vec<u8>) -> Result<usize, Mistake> {
        let bad = || Mistake::new(self.at, "invalid syntax in a quoted constant");
        let c = from[1..].chars().next().ok_or_else(bad)?;
        let simple = match c {
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'v' => 11,
            '\\' | '"' | '\'' => c as u8,
            _ => {
                let (skip, digits, radix) = match c {
                    'x' => (2, 2, 16),
                    'u' => (2, 4, 16),
                    'U' => (2, 8, 16),
                    '0'..='7' => (1, 3, 8),
                    _ => return Err(bad()),
                };
                let number = from.get(skip..skip + digits).ok_or_else(bad)?;
                let number = u32::from_str_radix(number, radix).map_err(|_| bad())?;
                if matches!(c, 'u' | 'U') {
                    let c = char::from_u32(number).ok_or_else(bad)?;
                    text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                } else {
                    text.push(u8::try_from(number).map_err(|_| bad())?);
                }
                return Ok(skip + digits);
            }
        };
        text.push(simple);
        Ok(2)
    }

    fn character(&mut self) -> Result<(), Mistake> {
        let unterminated = || Mistake::new(self.at, "unterminated character constant");
        let rest = self.rest();
        let (c, length) = match rest[1..].chars().next().ok_or_else(unterminated)? {
            '\\' => {
                let mut text = Vec::new();
                let length = self.escape(&rest[1..], &mut text)?;
                // A single byte is its own number, whatever it is.
                let value = match (text.as_slice(), std::str::from_utf8(&text)) {
                    (&[byte], _) => u32::from(byte),
                    (_, Ok(text)) => text.chars().next().map_or(0, u32::from),
                    _ => return Err(unterminated()),
                };
                (value, length)
            }
            '\'' | '\n' => return Err(unterminated()),
            c => (u32::from(c), c.len_utf8()),
        };
        if !rest[1 + length..].starts_with('\'') {
            return Err(unterminated());
        }
        self.push(Kind::Integer(c.into()), length + 2);
        Ok(())
    }

    fn number(&mut self) -> Result<(), Mistake> {
        let rest = self.rest();
        let sign = usize::from(rest.starts_with(['+', '-']));
        let mut exponent = false;
        let hex = rest[sign..].to_ascii_lowercase().starts_with("0x");
        let part = |&(at, c): &(usize, char)| {
            let signed = exponent && matches!(c, '+' | '-');
            exponent = !hex && matches!(c, 'e' | 'E');
            at < sign || signed || c == '.' || c == '_' || c.is_ascii_alphanumeric()
        };
        let length = rest.char_indices().take_while(part).count();
        let text: String = rest[..length].chars().filter(|c| *c != '_').collect();
        let kind = integer(&text).map(Kind::Integer).or_else(|| {
            let plain = text.trim_start_matches(['+', '-']);
            let float = plain.starts_with(|c: char| c.is_ascii_digit() || c == '.');
            float.then(|| text.parse().ok().filter(|f: &f64| f.is_finite())).flatten().map(Kind::Float)
        });
        let kind = kind.ok_or_else(|| Mistake::new(self.at, format!("bad number syntax: {:?}", &rest[..length])))?;
        self.ended(length)?;
        self.push(kind, length);
        Ok(())
    }
}

/// Go's integers: decimal, 0x, 0o or 0, 0b.
fn integer(text: &str) -> Option<i64> {
    let negative = text.starts_with('-');
    let plain = text.strip_prefix(['+', '-']).unwrap_or(text).to_ascii_lowercase();
    let (digits, radix) = match plain.as_bytes() {
        [b'0', b'x', ..] => (&plain[2..], 16),
        [b'0', b'o', ..] => (&plain[2..], 8),
        [b'0', b'b', ..] => (&plain[2..], 2),
        [b'0', _, ..] => (&plain[1..], 8),
        _ => (plain.as_str(), 10),
    };
    if !digits.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let sign = if negative { "-" } else { "" };
    i64::from_str_radix(&format!("{sign}{digits}"), radix).ok()
}

/// The name at the beginning of a text.
fn word(text: &str) -> &str {
    &text[..text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len())]
}
