//! A blob as a stream: hashed as it lies, then inflated, each stage a reader over the one before.
//!
//! ```text
//! file → Tee (digest) → inflate → ratio limit → [Tee (diff id) → tar: the reader's business]
//! ```

use std::io::{self, BufReader, Chain, Cursor, Read};

use flate2::bufread::MultiGzDecoder;

use super::limits;
use crate::oci::digest::{Algorithm, Digest, Tee};

/// How a blob is compressed: by its first bytes, for media types in the wild lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    Plain,
    Gzip,
    Zstd,
}

impl Compression {
    /// RFC 1952 (2.3.1); RFC 8878 (3.1.1 and, for what zstd:chunked and pzstd begin with, 3.1.2).
    pub fn of(head: &[u8]) -> io::Result<Compression> {
        let unsupported =
            |name| Err(io::Error::new(io::ErrorKind::Unsupported, format!("compressed with {name}, which is not supported")));
        match head {
            [0x1f, 0x8b, ..] => Ok(Compression::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Compression::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => unsupported("xz"),
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, ..] => unsupported("bzip2"),
            _ => Ok(Compression::Plain),
        }
    }
}

/// Bytes that decide about the compression.
pub const HEAD: u64 = 6;

type Hashed<R> = BufReader<Chain<Cursor<Vec<u8>>, Tee<R>>>;

enum Decoder<R: Read> {
    Plain(Hashed<R>),
    // Several members in a row are one stream (RFC 1952, 2.2): pigz and eStargz write them.
    Gzip(Box<MultiGzDecoder<Hashed<R>>>),
    Zstd(zstd::Decoder<'static, Hashed<R>>),
}

/// The inflated content of a blob.
pub struct Inflated<R: Read> {
    decoder: Decoder<R>,
    count: u64,
}

impl<R: Read> Inflated<R> {
    /// Looks at the first bytes of `blob` and inflates accordingly.
    pub fn new(blob: R, algorithm: Algorithm) -> io::Result<Inflated<R>> {
        let mut tee = Tee::new(blob, algorithm);
        let mut head = Vec::new();
        tee.by_ref().take(HEAD).read_to_end(&mut head)?;
        let compression = Compression::of(&head)?;
        let hashed = BufReader::with_capacity(128 << 10, Cursor::new(head).chain(tee));
        let decoder = match compression {
            Compression::Plain => Decoder::Plain(hashed),
            Compression::Gzip => Decoder::Gzip(Box::new(MultiGzDecoder::new(hashed))),
            Compression::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(hashed)?;
                decoder.window_log_max(limits::ZSTD_WINDOW_LOG)?;
                Decoder::Zstd(decoder)
            }
        };
        Ok(Inflated { decoder, count: 0 })
    }

    fn tee(&self) -> &Tee<R> {
        let hashed = match &self.decoder {
            Decoder::Plain(hashed) => hashed,
            Decoder::Gzip(decoder) => decoder.get_ref(),
            Decoder::Zstd(decoder) => decoder.get_ref(),
        };
        hashed.get_ref().get_ref().1
    }

    /// Reads what is left of the blob and tells its digest and size.
    pub fn finish(self) -> io::Result<(Digest, u64)> {
        let hashed = match self.decoder {
            Decoder::Plain(hashed) => hashed,
            Decoder::Gzip(decoder) => decoder.into_inner(),
            Decoder::Zstd(decoder) => decoder.finish(),
        };
        hashed.into_inner().into_inner().1.finish()
    }
}

impl<R: Read> Read for Inflated<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = match &mut self.decoder {
            Decoder::Plain(hashed) => hashed.read(buffer),
            Decoder::Gzip(decoder) => decoder.read(buffer),
            Decoder::Zstd(decoder) => decoder.read(buffer),
        }?;
        self.count += n as u64;
        if self.count > limits::RATIO_FROM && self.count / limits::RATIO > self.tee().count() {
            return Err(io::Error::other(format!("inflates to more than {} times its size: refused", limits::RATIO)));
        }
        if self.count > 2 * limits::SIZE {
            return Err(io::Error::other(format!("inflates to more than {} GiB: refused", limits::SIZE >> 29)));
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn inflate(blob: &[u8]) -> io::Result<(Vec<u8>, Digest)> {
        let mut inflated = Inflated::new(blob, Algorithm::Sha256)?;
        let mut out = Vec::new();
        inflated.read_to_end(&mut out)?;
        let (digest, size) = inflated.finish()?;
        assert_eq!(size, blob.len() as u64);
        Ok((out, digest))
    }

    #[test]
    fn each_compression_is_known_by_its_first_bytes_and_hashed_as_it_lies() {
        let text = b"some text that is the same everywhere".repeat(100);
        let members = [gzip(&text[..99]), gzip(&text[99..])].concat();
        // A skippable frame first, as zstd:chunked and pzstd have them.
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..], &zstd::encode_all(&text[..], 3).unwrap()].concat();
        for blob in [text.clone(), gzip(&text), members, zstd::encode_all(&text[..], 3).unwrap(), skippable] {
            assert_eq!(inflate(&blob).unwrap(), (text.clone(), Digest::of(&blob)));
        }
        assert_eq!(inflate(b"").unwrap().0, b"");
    }

    #[test]
    fn what_cannot_be_inflated_is_named() {
        assert!(inflate(b"\xfd7zXZ\0more").unwrap_err().to_string().contains("xz"));
        assert!(inflate(&gzip(b"some text")[..15]).is_err());
    }

    #[test]
    fn a_blob_that_inflates_a_thousandfold_is_refused() {
        let bomb = zstd::encode_all(io::repeat(0).take(limits::RATIO_FROM + (1 << 20)), 3).unwrap();
        let mut inflated = Inflated::new(&bomb[..], Algorithm::Sha256).unwrap();
        assert!(io::copy(&mut inflated, &mut io::sink()).unwrap_err().to_string().contains("times its size"));
        assert_eq!(inflated.finish().unwrap().0, Digest::of(&bomb));
    }
}
