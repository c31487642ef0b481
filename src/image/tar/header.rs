//! One header block (pax(1), "ustar Interchange Format"; GNU tar manual, "Basic Tar Format").

use anyhow::{Result, bail};

pub const BLOCK: usize = 512;

/// A block whose checksum is right.
pub struct Header<'a>(&'a [u8; BLOCK]);

impl<'a> Header<'a> {
    /// Checks the checksum: the sum of all bytes, with that of the field itself as spaces. Old Unixes summed signed bytes.
    pub fn new(block: &'a [u8; BLOCK]) -> Result<Header<'a>> {
        let bytes = || block[..148].iter().chain(&[b' '; 8]).chain(&block[156..]);
        let unsigned: i64 = bytes().map(|&b| i64::from(b)).sum();
        let signed: i64 = bytes().map(|&b| i64::from(b as i8)).sum();
        match number(&block[148..156]) {
            Ok(sum) if sum == unsigned || sum == signed => Ok(Header(block)),
            _ => bail!("not a tar archive, or a damaged one: wrong header checksum"),
        }
    }

    pub fn kind(&self) -> u8 {
        self.0[156]
    }

    /// The name, with POSIX's prefix. GNU keeps other things where the prefix is, and of headers that are neither some readers take one.
    pub fn name(&self) -> Result<Vec<u8>> {
        let name = until_nul(&self.0[..100]);
        match (until_nul(&self.0[345..500]), &self.0[257..263]) {
            (b"", _) | (_, b"ustar ") => Ok(name.to_vec()),
            (prefix, b"ustar\0") => Ok([prefix, name].join(&b'/')),
            _ => bail!("a name in two parts in a header of an unknown format"),
        }
    }

    pub fn link(&self) -> &'a [u8] {
        until_nul(&self.0[157..257])
    }

    pub fn mode(&self) -> Result<u32> {
        Ok((number(&self.0[100..108])? & 0o7777) as u32)
    }

    pub fn uid(&self) -> Result<i64> {
        number(&self.0[108..116])
    }

    pub fn gid(&self) -> Result<i64> {
        number(&self.0[116..124])
    }

    /// Bytes of the body.
    pub fn size(&self) -> Result<u64> {
        match u64::try_from(number(&self.0[124..136])?) {
            Ok(size) => Ok(size),
            Err(_) => bail!("a negative size"),
        }
    }

    /// Whether the size field could hold any size: its binary form has room, eleven octal digits have not.
    pub fn size_is_binary(&self) -> bool {
        self.0[124] & 0x80 != 0
    }

    pub fn mtime(&self) -> Result<i64> {
        number(&self.0[136..148])
    }

    /// Major and minor number of a device.
    pub fn device(&self) -> Result<(u64, u64)> {
        Ok((number(&self.0[329..337])? as u64, number(&self.0[337..345])? as u64))
    }

    /// The first four pieces of an old GNU sparse file, each offset and length, and whether more blocks of them follow.
    pub fn sparse_pieces(&self) -> (&'a [u8], bool) {
        (&self.0[386..482], self.0[482] != 0)
    }

    /// The size of an old GNU sparse file with its holes.
    pub fn sparse_size(&self) -> Result<u64> {
        Ok(number(&self.0[483..495])? as u64)
    }
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|&b| b == 0).next().unwrap_or_default()
}

/// A numeric field: octal digits between spaces and NULs, empty for 0; or with the first bit set binary, in two's complement.
pub fn number(field: &[u8]) -> Result<i64> {
    if field[0] & 0x80 != 0 {
        return binary(field);
    }
    let blank = |b: &u8| *b == b' ' || *b == 0;
    let start = field.iter().position(|b| !blank(b)).unwrap_or(field.len());
    let end = field.iter().rposition(|b| !blank(b)).map_or(start, |last| last + 1);
    let mut value: i64 = 0;
    for &digit in until_nul(&field[start..end]) {
        if !(b'0'..=b'7').contains(&digit) {
            bail!("a malformed number in a header");
        }
        // At most twelve digits: 36 bits.
        value = value << 3 | i64::from(digit - b'0');
    }
    Ok(value)
}

fn binary(field: &[u8]) -> Result<i64> {
    let negative = field[0] & 0x40 != 0;
    // The flag becomes a copy of the sign bit.
    let first = if negative { field[0] } else { field[0] & 0x7f };
    let mut value: i128 = if negative { -1 } else { 0 };
    for &byte in std::iter::once(&first).chain(&field[1..]) {
        value = value << 8 | i128::from(byte);
    }
    match i64::try_from(value) {
        Ok(value) => Ok(value),
        Err(_) => bail!("a number in a header is too large"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_octal_or_binary() {
        assert_eq!(number(b"0000644\0").unwrap(), 0o644);
        assert_eq!(number(b"   644 \0").unwrap(), 0o644);
        assert_eq!(number(b"\0\0\0\0\0\0\0\0").unwrap(), 0);
        assert_eq!(number(b"77777777").unwrap(), 0o77777777);
        assert_eq!(number(b"\x80\0\0\0\0\0\x01\0").unwrap(), 256);
        assert_eq!(number(b"\xff\xff\xff\xff\xff\xff\xff\xfe").unwrap(), -2);
        assert_eq!(number(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff").unwrap(), i64::MAX);
        for bad in [&b"0000648\0"[..], b"12 34\0\0\0", b"-1\0\0\0\0\0\0", b"\xbf\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"] {
            assert!(number(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_block_with_a_wrong_checksum_is_no_header() {
        assert!(Header::new(&[b'x'; BLOCK]).is_err());
    }

    proptest! {
        #[test]
        fn binary_numbers_come_back(value: i64) {
            let mut field = [if value < 0 { 0xff } else { 0 }; 12];
            field[4..].copy_from_slice(&value.to_be_bytes());
            field[0] |= 0x80;
            prop_assert_eq!(number(&field).unwrap(), value);
        }
    }
}
