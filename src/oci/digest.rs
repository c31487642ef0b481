//! Content digests (OCI image-spec, descriptor.md, "Digests"): validated text, and a reader that computes one on the way.

use std::fmt::{self, Write as _};
use std::io::{self, Read};
use std::str::FromStr;

use anyhow::{Error, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256, Sha512};

/// The algorithms that image-spec registers and that may name content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    Sha256,
    Sha512,
}

impl Algorithm {
    /// As in a digest and in `blobs/<name>/`.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
        }
    }

    fn hex_length(self) -> usize {
        match self {
            Algorithm::Sha256 => 64,
            Algorithm::Sha512 => 128,
        }
    }
}

/// A digest that is safe as a file name: a registered algorithm and exactly its number of lower-case hex digits. There is no
/// way to have one that holds `/` or `..` (CVE-2024-3727).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest {
    algorithm: Algorithm,
    hex: String,
}

impl Digest {
    /// The SHA-256 of `bytes`.
    pub fn of(bytes: &[u8]) -> Digest {
        Hasher::new(Algorithm::Sha256).chain(bytes).finish()
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The hexadecimal part.
    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// The first twelve digits: how people are shown a digest.
    pub fn short(&self) -> &str {
        &self.hex[..12]
    }

    /// Whether `bytes` are what this digest names.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        Hasher::new(self.algorithm).chain(bytes).finish() == *self
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Digest> {
        // A digest may come from anywhere: what is printed of a bad one is bounded and escaped.
        let shown = || text.chars().take(100).collect::<String>();
        let Some((algorithm, hex)) = text.split_once(':') else { bail!("{:?} is not a digest (sha256:…)", shown()) };
        let algorithm = match algorithm {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            _ => bail!("digest {:?} has an unknown algorithm (known: sha256, sha512)", shown()),
        };
        if hex.len() != algorithm.hex_length() || !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(anyhow!("digest {:?} is not {} lower-case hex digits", shown(), algorithm.hex_length()));
        }
        Ok(Digest { algorithm, hex: hex.to_string() })
    }
}

impl TryFrom<String> for Digest {
    type Error = Error;

    fn try_from(text: String) -> Result<Digest> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex)
    }
}

/// A digest in the making.
#[derive(Clone)]
pub enum Hasher {
    Sha256(Sha256),
    Sha512(Box<Sha512>),
}

impl Hasher {
    pub fn new(algorithm: Algorithm) -> Hasher {
        match algorithm {
            Algorithm::Sha256 => Hasher::Sha256(Sha256::new()),
            Algorithm::Sha512 => Hasher::Sha512(Box::default()),
        }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(hash) => hash.update(bytes),
            Hasher::Sha512(hash) => hash.update(bytes),
        }
    }

    fn chain(mut self, bytes: &[u8]) -> Hasher {
        self.update(bytes);
        self
    }

    pub fn finish(self) -> Digest {
        match self {
            Hasher::Sha256(hash) => Digest { algorithm: Algorithm::Sha256, hex: hex(&hash.finalize()) },
            Hasher::Sha512(hash) => Digest { algorithm: Algorithm::Sha512, hex: hex(&hash.finalize()) },
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A reader that hashes and counts what passes through it.
pub struct Tee<R> {
    inner: R,
    hasher: Hasher,
    count: u64,
}

impl<R: Read> Tee<R> {
    pub fn new(inner: R, algorithm: Algorithm) -> Tee<R> {
        Tee { inner, hasher: Hasher::new(algorithm), count: 0 }
    }

    /// Bytes so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The digest of what has passed so far.
    pub fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }

    pub fn into_inner(self) -> R {
        self.inner
    }

    /// Reads what is left, then tells the digest and the number of all bytes.
    pub fn finish(mut self) -> io::Result<(Digest, u64)> {
        io::copy(&mut self, &mut io::sink())?;
        Ok((self.hasher.finish(), self.count))
    }
}

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        self.count += n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_digest_is_of_the_bytes_and_prints_as_it_was_written() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        let parsed: Digest = EMPTY.parse().unwrap();
        assert_eq!(parsed, Digest::of(b""));
        assert!(parsed.matches(b"") && !parsed.matches(b"x"));
        assert_eq!(serde_json::to_string(&parsed).unwrap(), format!("\"{EMPTY}\""));
        assert_eq!(parsed.short(), "e3b0c44298fc");
    }

    #[test]
    fn sha512_is_known() {
        let long: Digest = Hasher::new(Algorithm::Sha512).chain(b"abc").finish();
        assert!(long.to_string().starts_with("sha512:ddaf35a193617aba"));
        assert_eq!(long.to_string().parse::<Digest>().unwrap(), long);
    }

    #[test]
    fn what_is_not_a_digest_is_refused() {
        let long = "a".repeat(65);
        let bad = [
            "",
            "sha256",
            "sha256:",
            "sha256:../../x",
            "md5:d41d8cd98f00b204e9800998ecf8427e",
            &EMPTY[..70],
            &EMPTY.to_uppercase(),
            &EMPTY.replace("e3b0", "E3B0"),
            &format!("sha256:{long}"),
            &format!(" {EMPTY}"),
            &format!("{EMPTY}/"),
            &EMPTY.replace("sha256", "sha512"),
        ];
        for text in bad {
            assert!(text.parse::<Digest>().is_err(), "{text:?}");
            assert!(serde_json::from_str::<Digest>(&serde_json::to_string(text).unwrap()).is_err());
        }
    }

    #[test]
    fn a_tee_hashes_all_that_passes_and_all_that_is_left() {
        let mut tee = Tee::new(&b"hello world"[..], Algorithm::Sha256);
        let mut some = [0; 5];
        tee.read_exact(&mut some).unwrap();
        assert_eq!((tee.count(), tee.digest()), (5, Digest::of(b"hello")));
        assert_eq!(tee.finish().unwrap(), (Digest::of(b"hello world"), 11));
    }

    proptest! {
        #[test]
        fn no_parsed_digest_can_leave_its_directory(text in "(sha256|sha512|.{0,8}):?.{0,140}") {
            if let Ok(digest) = text.parse::<Digest>() {
                prop_assert!(digest.hex().bytes().all(|b| b.is_ascii_hexdigit()));
                prop_assert_eq!(digest.to_string(), text);
            }
        }
    }
}
