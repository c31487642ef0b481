//! Archives written by hand, so that they can be wrong on purpose.

use super::*;

/// One header block and its body, before the checksum.
#[derive(Debug, Clone)]
pub struct Raw {
    header: [u8; BLOCK],
    body: Vec<u8>,
}

impl Raw {
    pub fn new(kind: u8, name: &str, body: &[u8]) -> Raw {
        let mut header = [0; BLOCK];
        header[156] = kind;
        header[257..265].copy_from_slice(b"ustar\x0000");
        let raw = Raw { header, body: body.to_vec() }.put(0, name.as_bytes());
        raw.put(100, b"0000644\0")
            .put(108, b"0000000\0")
            .put(116, b"0000000\0")
            .put(136, b"00000000000\0")
            .size(body.len() as u64)
    }

    pub fn file(name: &str, body: &str) -> Raw {
        Raw::new(b'0', name, body.as_bytes())
    }

    pub fn dir(name: &str) -> Raw {
        Raw::new(b'5', name, b"").put(100, b"0000755\0")
    }

    pub fn symlink(name: &str, target: &str) -> Raw {
        Raw::new(b'2', name, b"").put(157, target.as_bytes())
    }

    pub fn hardlink(name: &str, target: &str) -> Raw {
        Raw::new(b'1', name, b"").put(157, target.as_bytes())
    }

    pub fn pax(records: &[(&str, &str)]) -> Raw {
        let body: Vec<u8> = records.iter().flat_map(|(key, value)| pax::tests::record(key, value.as_bytes())).collect();
        Raw::new(b'x', "pax", &body)
    }

    pub fn put(mut self, at: usize, bytes: &[u8]) -> Raw {
        self.header[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    pub fn size(self, size: u64) -> Raw {
        self.put(124, format!("{size:011o}\0").as_bytes())
    }

    pub fn mode(self, mode: u32) -> Raw {
        self.put(100, format!("{mode:07o}\0").as_bytes())
    }

    pub fn owner(self, uid: u32, gid: u32) -> Raw {
        self.put(108, format!("{uid:07o}\0").as_bytes()).put(116, format!("{gid:07o}\0").as_bytes())
    }

    fn bytes(mut self) -> Vec<u8> {
        self.header[148..156].fill(b' ');
        let sum: u32 = self.header.iter().map(|&b| u32::from(b)).sum();
        let mut bytes = self.put(148, format!("{sum:06o}\0 ").as_bytes());
        let filled = bytes.body.len().next_multiple_of(BLOCK);
        bytes.body.resize(filled, 0);
        [&bytes.header[..], &bytes.body].concat()
    }
}

pub fn archive(entries: &[Raw]) -> Vec<u8> {
    let mut bytes: Vec<u8> = entries.iter().cloned().flat_map(Raw::bytes).collect();
    bytes.resize(bytes.len() + 2 * BLOCK, 0);
    bytes
}

/// The entries with their bodies, holes filled in.
fn read(bytes: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>> {
    let mut archive = Archive::new(bytes);
    let mut all = Vec::new();
    while let Some(entry) = archive.next()? {
        let mut contents = vec![0; usize::try_from(entry.size)?];
        for piece in &entry.pieces {
            let start = piece.offset as usize;
            archive.body().take(piece.length).read_exact(&mut contents[start..start + piece.length as usize])?;
        }
        all.push((entry, contents));
    }
    Ok(all)
}

fn one(entries: &[Raw]) -> Result<(Entry, Vec<u8>)> {
    let mut all = read(&archive(entries))?;
    assert_eq!(all.len(), 1);
    Ok(all.remove(0))
}

fn refused(entries: &[Raw]) -> String {
    format!("{:#}", read(&archive(entries)).map(|entries| entries.len()).unwrap_err())
}

#[test]
fn each_kind_of_entry_is_read() {
    let entries = [
        Raw::file("a/file", "hello").mode(0o104_755).owner(7, 8),
        Raw::dir("a/dir/"),
        Raw::symlink("s", "/etc"),
        Raw::hardlink("h", "a/file"),
        Raw::new(b'6', "fifo", b""),
        Raw::new(b'3', "null", b"").put(329, b"0000001\0").put(337, b"0000003\0"),
        Raw::new(0, "old/", b""),
        Raw::new(b'0', "name", b"").put(345, b"pre/fix"),
    ];
    let all = read(&archive(&entries)).unwrap();
    let kinds: Vec<Kind> = all.iter().map(|(entry, _)| entry.kind.clone()).collect();
    assert_eq!(kinds[2..4], [Kind::Symlink(b"/etc".to_vec()), Kind::Hardlink(b"a/file".to_vec())]);
    assert_eq!(kinds[4..7], [Kind::Fifo, Kind::CharDevice(1, 3), Kind::Directory]);
    assert_eq!((&all[0].1[..], all[0].0.mode, all[0].0.uid, all[0].0.gid), (&b"hello"[..], 0o4755, 7, 8));
    assert_eq!(all[7].0.path, b"pre/fix/name");
}

#[test]
fn long_names_come_from_gnu_or_pax() {
    let long = format!("{}end", "long/".repeat(60));
    let gnu = [
        Raw::new(b'L', "././@LongLink", format!("{long}\0").as_bytes()),
        Raw::new(b'K', "x", b"to\0"),
        Raw::symlink("cut", "cut"),
    ];
    let (entry, _) = one(&gnu).unwrap();
    assert_eq!((entry.path, entry.kind), (long.clone().into_bytes(), Kind::Symlink(b"to".to_vec())));
    let pax = [
        Raw::pax(&[("path", &long), ("mtime", "1.25"), ("uid", "3000000"), ("SCHILY.xattr.user.x", "y")]),
        Raw::file("cut", "z"),
    ];
    let (entry, contents) = one(&pax).unwrap();
    assert_eq!((entry.path, entry.mtime, entry.uid, contents), (long.into_bytes(), (1, 250_000_000), 3_000_000, b"z".to_vec()));
    assert_eq!(entry.xattrs, [(b"user.x".to_vec(), b"y".to_vec())]);
}

#[test]
fn an_archive_that_two_readers_could_take_differently_is_refused() {
    let hidden = Raw::pax(&[("size", "1024")]);
    assert!(refused(&[hidden.clone(), Raw::new(b'0', "x", &[b'y'; 512])]).contains("PAX header says 1024"));
    assert!(refused(&[Raw::pax(&[("size", "0")]), Raw::file("x", "hello")]).contains("PAX header says 0"));
    assert!(refused(&[Raw::pax(&[("path", "a")]), Raw::new(b'L', "l", b"b\0"), Raw::file("x", "")]).contains("two names"));
    assert!(refused(&[hidden.clone(), hidden, Raw::file("x", "")]).contains("two extended headers"));
    assert!(refused(&[Raw::new(b'5', "dir", b"contents")]).contains("only a file"));
    assert!(refused(&[Raw::hardlink("x", "y").size(512)]).contains("only a file"));
    assert!(refused(&[Raw::new(b'g', "g", &pax::tests::record("path", b"x")), Raw::file("y", "")]).contains("global PAX"));
    assert!(refused(&[Raw::file("x/", "")]).contains("slash"));
    assert!(refused(&[Raw::file("", "")]).contains("no name"));
    assert!(refused(&[Raw::new(b'L', "l", b"long"), Raw::file("x", "")]).contains("without an end"));
    assert!(refused(&[Raw::pax(&[("GNU.sparse.size", "9")]), Raw::file("x", "")]).contains("no map"));
    assert!(refused(&[Raw::pax(&[("GNU.sparse.map", "0,0")]), Raw::dir("x")]).contains("only a file"));
    assert!(refused(&[Raw::new(b'Z', "x", b"")]).contains("unknown type 'Z'"));
}

#[test]
fn a_size_that_eleven_digits_cannot_hold_comes_from_pax() {
    // Python and Go write 0 there; the body is missing here, so reading must want it.
    let mut reader = archive(&[Raw::pax(&[("size", "8589934592")]), Raw::file("big", "")]);
    reader.truncate(3 * BLOCK);
    let mut archive = Archive::new(&reader[..]);
    assert_eq!(archive.next().unwrap().unwrap().size, 1 << 33);
    assert!(archive.next().unwrap_err().to_string().contains("ends within"));
}

#[test]
fn truncated_and_damaged_archives_are_refused() {
    let whole = archive(&[Raw::file("a", &"x".repeat(700)), Raw::file("b", "y")]);
    let entries = |length: usize| read(&whole[..length]).map(|entries| entries.len());
    for (length, expected) in [(whole.len(), 2), (whole.len() - 512, 2), (whole.len() - 1024, 2), (1536, 1), (0, 0)] {
        assert_eq!(entries(length).unwrap(), expected, "{length}");
    }
    for length in [1, 511, 513, 1400, 2048, whole.len() - 1] {
        assert!(entries(length).is_err(), "{length}");
    }
    let mut damaged = whole.clone();
    damaged[0] ^= 1;
    assert!(read(&damaged).unwrap_err().to_string().contains("checksum"));
    let lone = [&whole[..1536], &[0; 512], &whole[1536..]].concat();
    assert!(read(&lone).unwrap_err().to_string().contains("lone block"));
    assert!(read(&archive(&[Raw::pax(&[("path", "x")])])).unwrap_err().to_string().contains("should follow"));
}

#[test]
fn ids_that_chown_would_take_for_something_else_are_refused() {
    for id in ["4294967295", "4294967296"] {
        assert!(refused(&[Raw::pax(&[("uid", id)]), Raw::file("x", "")]).contains("not a user or group id"));
    }
}

fn old_sparse() -> Raw {
    let raw = Raw::new(b'S', "holes", b"abcdef").put(257, b"ustar  \0");
    let number = |n: u64| format!("{n:011o}\0").into_bytes();
    raw.put(386, &number(0))
        .put(398, &number(3))
        .put(410, &number(1000))
        .put(422, &number(3))
        .put(434, &number(2000))
        .put(446, &number(0))
        .put(483, &number(2000))
}

fn with_holes() -> Vec<u8> {
    let mut contents = vec![0; 2000];
    contents[..3].copy_from_slice(b"abc");
    contents[1000..1003].copy_from_slice(b"def");
    contents
}

#[test]
fn sparse_files_of_every_format_have_the_same_contents() {
    let size = ("GNU.sparse.size", "2000");
    let v00 = [
        size,
        ("GNU.sparse.numblocks", "2"),
        ("GNU.sparse.offset", "0"),
        ("GNU.sparse.numbytes", "3"),
        ("GNU.sparse.offset", "1000"),
        ("GNU.sparse.numbytes", "3"),
    ];
    let v01 = [size, ("GNU.sparse.numblocks", "3"), ("GNU.sparse.map", "0,3,1000,3,2000,0"), ("GNU.sparse.name", "holes")];
    let v10 =
        [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "2000"), ("GNU.sparse.name", "holes")];
    let mut map = b"3\n0\n3\n1000\n3\n2000\n0\n".to_vec();
    map.resize(BLOCK, 0);
    map.extend(b"abcdef");
    for entries in [
        vec![old_sparse()],
        vec![Raw::pax(&v00), Raw::file("holes", "abcdef")],
        vec![Raw::pax(&v01), Raw::file("GNUSparseFile.1/holes", "abcdef")],
        vec![Raw::pax(&v10), Raw::new(b'0', "GNUSparseFile.1/holes", &map)],
    ] {
        let (entry, contents) = one(&entries).unwrap();
        assert_eq!((entry.path, entry.size), (b"holes".to_vec(), 2000));
        assert_eq!(contents, with_holes());
    }
}

#[test]
fn malformed_and_giant_sparse_files_are_refused() {
    assert!(refused(&[old_sparse().put(410, b"00000000001\0")]).contains("overlap"));
    assert!(refused(&[old_sparse().put(483, b"00000000017\0")]).contains("not its size"));
    assert!(refused(&[old_sparse().size(5)]).contains("not its size"));
    assert!(refused(&[Raw { body: vec![b'9'; BLOCK], ..old_sparse().put(482, b"\x01") }]).contains("malformed number"));
    let v10 = |count: &str| {
        let records = [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "9")];
        refused(&[Raw::pax(&records), Raw::new(b'0', "x", format!("{count}\n").as_bytes())])
    };
    assert!(v10("99999999999").contains("cut off"));
    assert!(v10("999999999999999999999").contains("too long"));
    assert!(v10("-1").contains("malformed"));
    let map: Vec<String> = (0..=2 * limits::SPARSE_PIECES).map(|n| n.to_string()).collect();
    assert!(
        refused(&[Raw::pax(&[("GNU.sparse.map", &map.join(",")), ("GNU.sparse.size", "9")]), Raw::file("x", "")])
            .contains("another length")
    );
    assert!(
        refused(&[Raw::pax(&[("GNU.sparse.major", "2"), ("GNU.sparse.size", "9")]), Raw::file("x", "")]).contains("format 2.0")
    );
}

#[test]
fn bombs_are_refused_by_their_headers() {
    let huge = [
        Raw::pax(&[("GNU.sparse.numblocks", "1"), ("GNU.sparse.map", "0,0"), ("GNU.sparse.size", "10995116277760")]),
        Raw::file("x", ""),
    ];
    assert!(refused(&huge).contains("1024 GiB"));
    assert!(refused(&[Raw::new(b'x', "pax", b"").size(limits::EXTENSION + 1)]).contains("1024 KiB"));
    assert!(refused(&[Raw::new(b'L', "long", b"").size(u64::from(u32::MAX))]).contains("1024 KiB"));
    assert!(refused(&[Raw::file("x", "").put(124, b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff")]).contains("GiB"));
}

mod differential;

mod never_panics {
    use super::*;
    use proptest::prelude::*;

    fn seeds() -> Vec<Vec<u8>> {
        let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let seeds = std::fs::read_dir(std::path::Path::new(&package).join("fuzz/seeds/tar")).unwrap();
        let mut seeds: Vec<_> = seeds.map(|seed| seed.unwrap().path()).collect();
        seeds.sort();
        seeds.iter().map(|seed| std::fs::read(seed).unwrap()).collect()
    }

    #[test]
    fn the_fuzzers_seeds_are_good_archives() {
        let seeds = seeds();
        assert!(seeds.len() >= 7);
        for seed in seeds {
            assert!(!read(&seed).unwrap().is_empty());
        }
    }

    proptest! {
        #[test]
        fn however_a_seed_is_damaged(seed: usize, damage: Vec<(usize, u8)>, cut: usize, mend: bool) {
            let mut seeds = seeds();
            let mut bytes = seeds.swap_remove(seed % seeds.len());
            for (at, byte) in damage {
                let at = at % bytes.len();
                bytes[at] = byte;
                if mend {
                    // So that what comes after the checksum is reached.
                    let start = at / BLOCK * BLOCK;
                    let header = &mut bytes[start..start + BLOCK];
                    header[148..156].fill(b' ');
                    let sum: u32 = header.iter().map(|&b| u32::from(b)).sum();
                    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
                }
            }
            bytes.truncate(bytes.len() - cut % (bytes.len() / 4));
            let mut archive = Archive::new(&bytes[..]);
            while let Ok(Some(entry)) = archive.next() {
                prop_assert!(entry.size <= limits::SIZE);
                let _ = io::copy(&mut archive.body(), &mut io::sink());
            }
        }

        #[test]
        fn whatever_the_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
            let _ = read(&bytes);
        }

        #[test]
        fn whatever_the_header(kind: u8, at in 100usize..512, junk: Vec<u8>, body: Vec<u8>) {
            let junk = &junk[..junk.len().min(BLOCK - at)];
            let raw = Raw::new(kind, "name", &body).put(at, junk);
            // Sizes that memory could not hold are the unpacker's to bound, not this test's to allocate.
            let bytes = archive(&[raw, Raw::file("next", "x")]);
            let mut archive = Archive::new(&bytes[..]);
            while let Ok(Some(entry)) = archive.next() {
                let _ = io::copy(&mut archive.body(), &mut io::sink());
                prop_assert!(entry.pieces.len() <= limits::SPARSE_PIECES);
            }
        }
    }
}
