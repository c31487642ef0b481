//! One line of a log, as each driver writes it and reads it back.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Driver, Stream};

/// A line, or a piece of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// RFC 3339 in UTC with nine decimals: such times sort as text.
    pub time: String,
    pub stream: Stream,
    /// With its newline, unless it is a piece that has none.
    pub text: Vec<u8>,
    pub attributes: BTreeMap<String, String>,
}

/// Appends a line in the driver's format. `text` is without the newline; `whole`: one followed it. `attributes`: JSON, or nothing.
pub fn encode(driver: Driver, to: &mut Vec<u8>, text: &[u8], whole: bool, stream: Stream, time: &str, attributes: &str) {
    if driver == Driver::Local {
        to.extend_from_slice(time.as_bytes());
        to.push(b' ');
        to.extend_from_slice(stream.word().as_bytes());
        to.extend_from_slice(if whole { b" F " } else { b" P " });
        to.extend_from_slice(text);
    } else {
        to.extend_from_slice(b"{\"log\":\"");
        match std::str::from_utf8(text) {
            Ok(text) => escape(text.as_bytes(), to),
            Err(_) => escape(String::from_utf8_lossy(text).as_bytes(), to),
        }
        to.extend_from_slice(if whole { b"\\n\",\"stream\":\"" } else { b"\",\"stream\":\"" });
        to.extend_from_slice(stream.word().as_bytes());
        to.push(b'"');
        if !attributes.is_empty() {
            to.extend_from_slice(b",\"attrs\":");
            to.extend_from_slice(attributes.as_bytes());
        }
        to.extend_from_slice(b",\"time\":\"");
        to.extend_from_slice(time.as_bytes());
        to.extend_from_slice(b"\"}");
    }
    to.push(b'\n');
}

/// What must not stand in a JSON string as it is.
const ESCAPED: [bool; 256] = {
    let mut table = [false; 256];
    let mut at = 0;
    while at < 0x20 {
        table[at] = true;
        at += 1;
    }
    table[b'"' as usize] = true;
    table[b'\\' as usize] = true;
    table
};

fn escape(text: &[u8], to: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| ESCAPED[usize::from(*byte)]) {
        to.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'"' => to.extend_from_slice(b"\\\""),
            b'\\' => to.extend_from_slice(b"\\\\"),
            b'\t' => to.extend_from_slice(b"\\t"),
            b'\r' => to.extend_from_slice(b"\\r"),
            byte => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                to.extend_from_slice(b"\\u00");
                to.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
        }
        rest = &rest[at + 1..];
    }
    to.extend_from_slice(rest);
}

#[derive(Deserialize)]
struct Json {
    log: String,
    stream: String,
    time: String,
    #[serde(default)]
    attrs: BTreeMap<String, String>,
}

/// Reads a line back; None where it is torn: Monitor or the host died while it was written.
pub fn decode(driver: Driver, line: &[u8]) -> Option<Line> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    if driver == Driver::Local {
        let mut parts = line.splitn(4, |byte| *byte == b' ');
        let time = std::str::from_utf8(parts.next()?).ok().filter(|time| time.ends_with('Z'))?;
        let stream = stream(std::str::from_utf8(parts.next()?).ok()?)?;
        let whole = match parts.next()? {
            b"F" => true,
            b"P" => false,
            _ => return None,
        };
        let mut text = parts.next()?.to_vec();
        if whole {
            text.push(b'\n');
        }
        return Some(Line { time: time.into(), stream, text, attributes: BTreeMap::new() });
    }
    let json: Json = serde_json::from_slice(line).ok()?;
    Some(Line { time: json.time, stream: stream(&json.stream)?, text: json.log.into_bytes(), attributes: json.attrs })
}

fn stream(word: &str) -> Option<Stream> {
    [Stream::Stdout, Stream::Stderr].into_iter().find(|stream| stream.word() == word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TIME: &str = "2026-11-22T04:05:06.000000007Z";

    #[test]
    fn json_lines_are_dockers() {
        let mut bytes = Vec::new();
        encode(Driver::JsonFile, &mut bytes, b"a \"b\"\t\x1b\\", true, Stream::Stderr, TIME, "");
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            format!("{{\"log\":\"a \\\"b\\\"\\t\\u001b\\\\\\n\",\"stream\":\"stderr\",\"time\":\"{TIME}\"}}\n")
        );
    }

    #[test]
    fn local_lines_keep_what_is_no_text() {
        let mut bytes = Vec::new();
        encode(Driver::Local, &mut bytes, b"\xff\0 x", true, Stream::Stdout, TIME, "");
        assert_eq!(bytes, [TIME.as_bytes(), b" stdout F \xff\0 x\n"].concat());
        assert_eq!(decode(Driver::Local, &bytes).unwrap().text, b"\xff\0 x\n");
    }

    #[test]
    fn attributes_come_back() {
        let mut bytes = Vec::new();
        encode(Driver::JsonFile, &mut bytes, b"x", false, Stream::Stdout, TIME, r#"{"tag":"web"}"#);
        let line = decode(Driver::JsonFile, &bytes).unwrap();
        assert_eq!((line.text.as_slice(), line.attributes["tag"].as_str()), (&b"x"[..], "web"));
    }

    proptest! {
        #[test]
        fn any_line_comes_back(text in "[^\n]{0,80}", whole: bool, stdout: bool) {
            let stream = if stdout { Stream::Stdout } else { Stream::Stderr };
            let mut wanted = text.clone().into_bytes();
            if whole {
                wanted.push(b'\n');
            }
            for driver in [Driver::JsonFile, Driver::Local] {
                let mut bytes = Vec::new();
                encode(driver, &mut bytes, text.as_bytes(), whole, stream, TIME, "");
                prop_assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 1);
                let line = decode(driver, &bytes).unwrap();
                prop_assert_eq!((&line.text, line.stream, line.time.as_str()), (&wanted, stream, TIME));
            }
        }

        #[test]
        fn no_line_makes_it_panic(bytes: Vec<u8>) {
            let _ = decode(Driver::JsonFile, &bytes);
            let _ = decode(Driver::Local, &bytes);
        }
    }
}
