//! PAX extended headers (pax(1), "pax Extended Header"): `LENGTH KEYWORD=VALUE\n`, again and again. Strict: what two readers
//! could take differently is refused (CVE-2025-62518).

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

/// What an extended header says about the entry that follows it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Pax {
    pub path: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub uid: Option<i64>,
    pub gid: Option<i64>,
    /// Seconds and nanoseconds.
    pub mtime: Option<(i64, u32)>,
    /// `SCHILY.xattr.NAME`, as GNU tar, libarchive and Go write them.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub sparse: Option<Sparse>,
}

/// GNU's keywords for sparse files, formats 0.0, 0.1 and 1.0 (GNU tar manual, "PAX Format, Version …").
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sparse {
    pub major: u64,
    pub minor: u64,
    pub name: Option<Vec<u8>>,
    pub size: Option<u64>,
    /// Offset, length, offset, length …; in format 1.0 they stand before the data instead.
    pub pieces: Vec<u64>,
    /// How many pairs there are to be.
    pub count: Option<u64>,
}

impl Pax {
    /// Reads a local header (`x`).
    pub fn parse(bytes: &[u8]) -> Result<Pax> {
        let mut pax = Pax::default();
        for record in records(bytes)? {
            let (key, value) = record;
            pax.take(key, value).with_context(|| format!("malformed PAX header: {}", String::from_utf8_lossy(key)))?;
        }
        Ok(pax)
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            if name.is_empty() || name.contains(&0) {
                bail!("not an attribute's name");
            }
            self.xattrs.insert(name.to_vec(), value.to_vec());
            return Ok(());
        }
        // An empty value would take an earlier one back (pax(1)). Some readers do so, some take a number for 0, GNU tar fails: refused.
        match key {
            b"path" => self.path = Some(name(value)?),
            b"linkpath" => self.link = Some(name(value)?),
            b"size" => self.size = Some(decimal(value)?),
            b"uid" => self.uid = Some(id(value)?),
            b"gid" => self.gid = Some(id(value)?),
            b"mtime" => self.mtime = Some(time(value)?),
            _ => {
                if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
                    self.sparse.get_or_insert_default().take(key, value)?;
                }
            }
        }
        Ok(())
    }
}

impl Sparse {
    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        match key {
            b"major" => self.major = decimal(value)?,
            b"minor" => self.minor = decimal(value)?,
            b"name" => self.name = Some(name(value)?),
            b"size" | b"realsize" => self.size = Some(decimal(value)?),
            b"offset" if self.pieces.len().is_multiple_of(2) => self.pieces.push(decimal(value)?),
            b"numbytes" if !self.pieces.len().is_multiple_of(2) => self.pieces.push(decimal(value)?),
            b"map" => self.pieces = value.split(|&b| b == b',').map(decimal).collect::<Result<_>>()?,
            b"numblocks" => self.count = Some(decimal(value)?),
            _ => bail!("an unknown or misplaced keyword"),
        }
        Ok(())
    }
}

/// Refuses a global header (`g`) that would change entries: readers do not agree on what it does. What git writes, a comment,
/// is fine.
pub fn check_global(bytes: &[u8]) -> Result<()> {
    const HARMLESS: [&[u8]; 6] = [b"comment", b"charset", b"hdrcharset", b"atime", b"ctime", b"mtime"];
    match records(bytes)?.iter().find(|(key, _)| !HARMLESS.contains(key)) {
        Some((key, _)) => bail!("a global PAX header with {} is refused", String::from_utf8_lossy(key)),
        None => Ok(()),
    }
}

type Record<'a> = (&'a [u8], &'a [u8]);

fn records(mut bytes: &[u8]) -> Result<Vec<Record<'_>>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let (record, rest) = first_record(bytes).context("malformed PAX header")?;
        records.push(record);
        bytes = rest;
    }
    Ok(records)
}

fn first_record(bytes: &[u8]) -> Result<(Record<'_>, &[u8])> {
    let space = bytes.iter().take(20).position(|&b| b == b' ').context("a record without a length")?;
    let length = decimal(&bytes[..space]).ok().and_then(|n| usize::try_from(n).ok()).context("a record's length is no number")?;
    if length <= space + 1 || length > bytes.len() || bytes[length - 1] != b'\n' {
        bail!("a record of the wrong length");
    }
    let text = &bytes[space + 1..length - 1];
    match text.iter().position(|&b| b == b'=') {
        Some(equals) if equals > 0 => Ok(((&text[..equals], &text[equals + 1..]), &bytes[length..])),
        _ => bail!("a record without a keyword"),
    }
}

fn name(value: &[u8]) -> Result<Vec<u8>> {
    if value.is_empty() || value.contains(&0) {
        bail!("not a name");
    }
    Ok(value.to_vec())
}

/// Decimal digits and nothing else: no sign, no blanks.
pub fn decimal(value: &[u8]) -> Result<u64> {
    let text = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    text.and_then(|text| text.parse().ok()).context("not a number")
}

fn id(value: &[u8]) -> Result<i64> {
    Ok(i64::try_from(decimal(value)?)?)
}

/// `[-]SECONDS[.FRACTION]`, rounded down to nanoseconds.
fn time(value: &[u8]) -> Result<(i64, u32)> {
    let (negative, value) = value.strip_prefix(b"-").map_or((false, value), |rest| (true, rest));
    let point = value.iter().position(|&b| b == b'.').unwrap_or(value.len());
    let fraction = value.get(point + 1..).unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        bail!("not a time");
    }
    let seconds = i64::try_from(decimal(&value[..point])?)?;
    let digits = fraction.iter().chain(std::iter::repeat(&b'0')).take(9);
    let nanoseconds = digits.fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    let rest = fraction.iter().skip(9).any(|&digit| digit != b'0');
    Ok(match (negative, nanoseconds + u32::from(negative && rest)) {
        (false, nanoseconds) => (seconds, nanoseconds),
        (true, 0) => (-seconds, 0),
        (true, nanoseconds) => (-seconds - 1, 1_000_000_000 - nanoseconds),
    })
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use proptest::prelude::*;

    pub fn record(key: &str, value: &[u8]) -> Vec<u8> {
        let rest = key.len() + value.len() + 3;
        let length = (1..).map(|digits| rest + digits).find(|n| n.to_string().len() + rest == *n).unwrap();
        [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
    }

    fn parse(records: &[(&str, &[u8])]) -> Result<Pax> {
        Pax::parse(&records.iter().flat_map(|(key, value)| record(key, value)).collect::<Vec<_>>())
    }

    #[test]
    fn records_are_read() {
        let pax = parse(&[
            ("path", b"a/b"),
            ("linkpath", b"c"),
            ("size", b"12"),
            ("uid", b"70000"),
            ("mtime", b"1.5"),
            ("SCHILY.xattr.user.x", b"\0=\n"),
            ("uname", b"ann"),
            ("path", b"later"),
        ]);
        let pax = pax.unwrap();
        assert_eq!(pax.path.unwrap(), b"later");
        assert_eq!(
            (pax.link.unwrap(), pax.size, pax.uid, pax.mtime),
            (b"c".to_vec(), Some(12), Some(70000), Some((1, 500_000_000)))
        );
        assert_eq!(pax.xattrs[&b"user.x"[..]], b"\0=\n");
    }

    #[test]
    fn times_round_down_to_nanoseconds() {
        let cases: [(&[u8], (i64, u32)); 6] = [
            (b"0", (0, 0)),
            (b"1700000000.123456789", (1_700_000_000, 123_456_789)),
            (b"1.0000000019", (1, 1)),
            (b"-1.5", (-2, 500_000_000)),
            (b"-1.0000000000", (-1, 0)),
            (b"-0.0000000001", (-1, 999_999_999)),
        ];
        for (text, expected) in cases {
            assert_eq!(time(text).unwrap(), expected, "{}", String::from_utf8_lossy(text));
        }
        for bad in [&b""[..], b"x", b"1.x", b".5", b"+1", b"1e3", b"99999999999999999999"] {
            assert!(time(bad).is_err());
        }
    }

    #[test]
    fn malformed_headers_are_refused() {
        let bad: [&[u8]; 12] = [
            b"x",
            b" ",
            b"6 a=b",
            b"8 a=bc\n",
            b"5 a=b\n",
            b"99999999999999999999 a=b\n",
            b"5 =b\n\n",
            b"4 ab\n",
            b"-6 a=b\n",
            b"+6 a=b\n",
            b"0 a=b\n",
            b"6 a=b\n\0\0",
        ];
        for bytes in bad {
            assert!(Pax::parse(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
        for (key, value) in [
            ("path", &b"a\0b"[..]),
            ("path", b""),
            ("size", b"-1"),
            ("size", b"1x"),
            ("size", b""),
            ("mtime", b""),
            ("SCHILY.xattr.", b"x"),
            ("uid", b"99999999999999999999"),
        ] {
            assert!(parse(&[(key, value)]).is_err(), "{key}");
        }
    }

    #[test]
    fn a_global_header_may_comment_and_nothing_else() {
        check_global(&record("comment", b"0123abc")).unwrap();
        assert!(check_global(&record("path", b"x")).is_err());
        assert!(check_global(&record("size", b"3")).is_err());
    }

    #[test]
    fn sparse_pieces_come_in_pairs() {
        let pieces = parse(&[("GNU.sparse.offset", b"1"), ("GNU.sparse.numbytes", b"2"), ("GNU.sparse.size", b"9")])
            .unwrap()
            .sparse
            .unwrap();
        assert_eq!((pieces.pieces, pieces.size), (vec![1, 2], Some(9)));
        assert!(parse(&[("GNU.sparse.numbytes", b"2")]).is_err());
        assert_eq!(parse(&[("GNU.sparse.map", b"0,1,5,2")]).unwrap().sparse.unwrap().pieces, [0, 1, 5, 2]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_no_input_panics(value: Vec<u8>, junk: Vec<u8>) {
            let pax = parse(&[("SCHILY.xattr.user.x", &value)]).unwrap();
            prop_assert_eq!(&pax.xattrs[&b"user.x"[..]], &value);
            let _ = Pax::parse(&junk);
            let _ = time(&junk);
        }
    }
}
