//! The headers that say what to do next (RFC 9110). Whatever a registry sends, these functions end with a value or a refusal.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use ureq::http::Uri;

/// More than this in one `WWW-Authenticate` nobody means well.
const MAX_CHALLENGES: usize = 16;
const MAX_PARAMETERS: usize = 32;

/// One way to prove who we are (RFC 9110, 11.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// In lower case: `bearer`, `basic`.
    pub scheme: String,
    /// Names in lower case.
    parameters: Vec<(String, String)>,
}

impl Challenge {
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Reads a `WWW-Authenticate` (RFC 9110, 11.6.1): challenges and, where one has several, its parameters are both separated by commas.
pub fn challenges(text: &str) -> Result<Vec<Challenge>> {
    let mut rest = Cursor(text);
    let mut challenges: Vec<Challenge> = Vec::new();
    loop {
        rest.skip(|c| matches!(c, ' ' | '\t' | ','));
        if rest.0.is_empty() {
            return Ok(challenges);
        }
        let name = rest.token().context("bad WWW-Authenticate header")?.to_ascii_lowercase();
        let Some(value) = rest.value()? else {
            if challenges.len() == MAX_CHALLENGES {
                bail!("bad WWW-Authenticate header: too many challenges");
            }
            challenges.push(Challenge { scheme: name, parameters: Vec::new() });
            rest.skip_token68();
            continue;
        };
        let challenge =
            challenges.last_mut().with_context(|| format!("bad WWW-Authenticate header: {name:?} without a scheme"))?;
        if challenge.parameter(&name).is_some() || challenge.parameters.len() == MAX_PARAMETERS {
            bail!("bad WWW-Authenticate header: {name:?} twice, or too many parameters");
        }
        challenge.parameters.push((name, value));
    }
}

struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    fn skip(&mut self, what: impl Fn(char) -> bool) {
        self.0 = self.0.trim_start_matches(what);
    }

    /// RFC 9110, 5.6.2.
    fn token(&mut self) -> Result<&'a str> {
        let end = self.0.find(|c: char| !(c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c))).unwrap_or(self.0.len());
        if end == 0 {
            bail!("{:?} where a word should be", self.0.chars().take(20).collect::<String>());
        }
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        Ok(token)
    }

    /// What follows a `=`, if one does.
    fn value(&mut self) -> Result<Option<String>> {
        let Some(mut rest) = self.0.trim_start_matches([' ', '\t']).strip_prefix('=').map(Cursor) else { return Ok(None) };
        rest.skip(|c| matches!(c, ' ' | '\t'));
        let value = match rest.0.strip_prefix('"') {
            None => rest.token().context("bad WWW-Authenticate header")?.to_string(),
            Some(quoted) => {
                let (value, length) = unquoted(quoted).context("bad WWW-Authenticate header: a quote without an end")?;
                rest.0 = &quoted[length..];
                value
            }
        };
        self.0 = rest.0;
        Ok(Some(value))
    }

    /// The one word that some schemes have in place of parameters (RFC 9110, 11.2), as in `Negotiate abc==`.
    fn skip_token68(&mut self) {
        let text = self.0.trim_start_matches(' ');
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        let word = text[..end].trim_end_matches('=');
        let fits = |c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c);
        // A parameter has its `=` in the middle.
        let alone = text[end..].trim_start_matches([' ', '\t']).chars().next().is_none_or(|c| c == ',');
        if !word.is_empty() && word.chars().all(fits) && alone {
            self.0 = &text[end..];
        }
    }
}

/// A quoted string after its opening quote (RFC 9110, 5.6.4), and its length with the closing one.
fn unquoted(text: &str) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Some((value, at + 1)),
            '\\' => value.push(characters.next()?.1),
            c if c.is_control() => return None,
            c => value.push(c),
        }
    }
    None
}

/// How long `Retry-After` asks to wait: seconds or a date (RFC 9110, 10.2.3). `now` is the answer's own `Date` where it has one, so
/// that a wrong clock here does no harm.
pub fn retry_after(text: &str, now: Option<&str>) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let here = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = now.and_then(date).unwrap_or_else(here);
    Some(date(text)?.saturating_sub(now))
}

/// An HTTP date in the one form that may be sent, `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, 5.6.7), since 1970.
fn date(text: &str) -> Option<Duration> {
    let words: Vec<&str> = text.trim().split(' ').collect();
    let [_, day, month, year, time, "GMT"] = words[..] else { return None };
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let number = |text: &str, length: usize| {
        (text.len() == length && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
    };
    let month = MONTHS.iter().position(|known| *known == month)? + 1;
    let (day, year): (u64, u64) = (number(day, 2)?, number(year, 4)?);
    let mut clock = time.split(':').map(|part| number(part, 2));
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    // humantime knows the calendar.
    let rfc3339 = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z");
    humantime::parse_rfc3339(&rfc3339).ok()?.duration_since(UNIX_EPOCH).ok()
}

/// The first byte and the whole length of `bytes 5-9/10` (RFC 9110, 14.4).
pub fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, whole) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let number = |text: &str| (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?;
    let (first, last): (u64, u64) = (number(first)?, number(last)?);
    let whole: Option<u64> = if whole == "*" { None } else { Some(number(whole)?) };
    (first <= last && whole.is_none_or(|whole| last < whole)).then_some((first, whole))
}

/// Where a redirect from `base` leads (RFC 9110, 10.2.2; RFC 3986, 5.2): only to http and https, and never from https to http
/// (CVE-2025-6032).
pub fn redirect(base: &Uri, location: &str) -> Result<Uri> {
    let shown = || location.chars().take(200).collect::<String>();
    let (scheme, authority) = (base.scheme_str().unwrap_or("https"), base.authority().map_or("", |a| a.as_str()));
    let location = location.trim();
    let text = if location.contains("://") {
        location.to_string()
    } else if let Some(rest) = location.strip_prefix("//") {
        format!("{scheme}://{rest}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else if location.starts_with('?') {
        format!("{scheme}://{authority}{}{location}", base.path())
    } else {
        let directory = base.path().rfind('/').map_or("/", |slash| &base.path()[..=slash]);
        format!("{scheme}://{authority}{directory}{location}")
    };
    let text = text.split('#').next().unwrap_or_default();
    let uri: Uri = text.parse().with_context(|| format!("redirected to {:?}, which is no address", shown()))?;
    match uri.scheme_str() {
        Some("https") => {}
        Some("http") if scheme == "http" => {}
        Some("http") => bail!("redirected from https to plain http ({:?}): refused", shown()),
        _ => bail!("redirected to {:?}: neither http nor https", shown()),
    }
    if uri.host().is_none_or(str::is_empty) {
        bail!("redirected to {:?}, which names no host", shown());
    }
    Ok(uri)
}

/// Whether both are the same scheme, host and port: only there may what proves who we are be sent on (CVE-2020-15157).
pub fn same_origin(a: &Uri, b: &Uri) -> bool {
    let port = |uri: &Uri| uri.port_u16().unwrap_or(if uri.scheme_str() == Some("http") { 80 } else { 443 });
    let host = |uri: &Uri| uri.host().unwrap_or_default().to_ascii_lowercase();
    (a.scheme_str(), host(a), port(a)) == (b.scheme_str(), host(b), port(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn challenges_are_told_from_their_parameters() {
        let found = challenges(
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push", Basic realm=x"#,
        )
        .unwrap();
        assert_eq!(found.iter().map(|c| c.scheme.as_str()).collect::<Vec<_>>(), ["bearer", "basic"]);
        assert_eq!(found[0].parameter("realm"), Some("https://auth.docker.io/token"));
        assert_eq!(found[0].parameter("scope"), Some("repository:a/b:pull,push"));
        assert_eq!(found[1].parameter("realm"), Some("x"));
        let found = challenges(r#"Negotiate abc==, BASIC Realm = "a\"b\\c" , , Digest"#).unwrap();
        assert_eq!(found.len(), 3);
        assert_eq!(found[1].parameter("realm"), Some("a\"b\\c"));
        assert_eq!(challenges("").unwrap(), []);
    }

    #[test]
    fn a_header_that_is_none_is_refused() {
        for text in
            ["realm=\"x\"", "Bearer realm=\"x", "Bearer realm=\"x\\", "Bearer realm=a,realm=b", "\"", "Bearer a=\"\u{7}\""]
        {
            assert!(challenges(text).is_err(), "{text}");
        }
        assert!(challenges(&"A,".repeat(17)).is_err());
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let seconds = |text, now| retry_after(text, now).map(|d| d.as_secs());
        assert_eq!(seconds(" 120 ", None), Some(120));
        assert_eq!(seconds("99999999999999999999", None), Some(u64::MAX));
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(seconds(date, Some("Sun, 06 Nov 1994 08:49:30 GMT")), Some(7));
        assert_eq!(seconds(date, None), Some(0));
        for text in
            ["", "-1", "1.5", "soon", "Sun, 06 Nov 1994 08:49:37", "Sun, 31 Feb 1994 08:49:37 GMT", "Sun, 6 Nov 1994 8:49:37 GMT"]
        {
            assert_eq!(seconds(text, None), None, "{text}");
        }
    }

    #[test]
    fn a_content_range_says_where_it_begins() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, None)));
        for text in ["bytes */10", "bytes 9-5/10", "bytes 5-10/10", "5-9/10", "bytes 5-/10", "bytes +5-9/10", "bytes 5-9"] {
            assert_eq!(content_range(text), None, "{text}");
        }
    }

    #[test]
    fn a_redirect_is_followed_where_it_may_be() {
        let base: Uri = "https://reg.example:5000/v2/a/blobs/x?y=1".parse().unwrap();
        for (location, target) in [
            ("https://cdn.example/x?sig=1#frag", "https://cdn.example/x?sig=1"),
            ("//cdn.example/x", "https://cdn.example/x"),
            ("/other", "https://reg.example:5000/other"),
            ("other", "https://reg.example:5000/v2/a/blobs/other"),
            ("?z", "https://reg.example:5000/v2/a/blobs/x?z"),
        ] {
            assert_eq!(redirect(&base, location).unwrap().to_string(), target);
        }
        for location in ["http://reg.example/x", "ftp://x/y", "file:///etc/passwd", "https://", "https:// x/"] {
            assert!(redirect(&base, location).is_err(), "{location}");
        }
        assert!(redirect(&"http://a/b".parse().unwrap(), "http://c/d").is_ok());
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let same = |a: &str, b: &str| same_origin(&a.parse().unwrap(), &b.parse().unwrap());
        assert!(same("https://A.example/x", "https://a.example:443/y"));
        assert!(!same("https://a.example/x", "http://a.example/x"));
        assert!(!same("https://a.example/x", "https://a.example:444/x"));
        assert!(!same("https://a.example/x", "https://b.a.example/x"));
    }

    proptest! {
        #[test]
        fn no_header_panics(text in "\\PC{0,60}|[A-Za-z=\", \\\\]{0,60}|(bytes )?[0-9*/-]{0,20}") {
            let _ = (challenges(&text), retry_after(&text, Some(&text)), content_range(&text));
            if let Ok(uri) = redirect(&"https://a/b/c".parse().unwrap(), &text) {
                prop_assert_eq!(uri.scheme_str(), Some("https"));
            }
        }
    }
}
