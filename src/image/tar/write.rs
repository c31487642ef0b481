//! Writing tar archives: ustar, and a PAX header where ustar has no room (pax(1), "ustar Interchange Format", "pax Extended Header").

use std::io::{self, Read, Write};

use super::header::BLOCK;
use super::{Entry, Kind};

/// An archive being written.
pub struct Writer<W> {
    output: W,
}

impl<W: Write> Writer<W> {
    pub fn new(output: W) -> Writer<W> {
        Writer { output }
    }

    /// An entry, with what `body` holds: as many bytes as its size, filled up with zeros where it ends early.
    pub fn entry(&mut self, entry: &Entry, body: &mut dyn Read) -> io::Result<()> {
        let link = match &entry.kind {
            Kind::Hardlink(target) | Kind::Symlink(target) => target.as_slice(),
            _ => b"",
        };
        let records = records(entry, link);
        if !records.is_empty() {
            let header = Header { kind: b'x', size: records.len() as u64, ..Header::of(entry) };
            self.output.write_all(&header.block(b"././@PaxHeader", b""))?;
            self.output.write_all(&records)?;
            self.pad(records.len() as u64)?;
        }
        self.output.write_all(&Header::of(entry).block(&entry.path, link))?;
        if entry.kind == Kind::File {
            let copied = io::copy(&mut body.take(entry.size), &mut self.output)?;
            io::copy(&mut io::repeat(0).take(entry.size - copied), &mut self.output)?;
            self.pad(entry.size)?;
        }
        Ok(())
    }

    fn pad(&mut self, length: u64) -> io::Result<()> {
        let missing = length.next_multiple_of(BLOCK as u64) - length;
        self.output.write_all(&[0; BLOCK][..missing as usize])
    }

    /// Ends it.
    pub fn finish(mut self) -> io::Result<W> {
        self.output.write_all(&[0; 2 * BLOCK])?;
        self.output.flush()?;
        Ok(self.output)
    }
}

/// The numbers of a header.
struct Header {
    kind: u8,
    mode: u32,
    uid: u32,
    gid: u32,
    size: u64,
    mtime: i64,
    device: (u64, u64),
}

/// The largest number in eleven octal digits, and in seven.
const ELEVEN: u64 = 0o77_777_777_777;
const SEVEN: u32 = 0o7_777_777;

impl Header {
    fn of(entry: &Entry) -> Header {
        let (kind, device) = match entry.kind {
            Kind::File => (b'0', (0, 0)),
            Kind::Hardlink(_) => (b'1', (0, 0)),
            Kind::Symlink(_) => (b'2', (0, 0)),
            Kind::CharDevice(major, minor) => (b'3', (major, minor)),
            Kind::BlockDevice(major, minor) => (b'4', (major, minor)),
            Kind::Directory => (b'5', (0, 0)),
            Kind::Fifo => (b'6', (0, 0)),
        };
        let (mode, uid, gid, mtime) = (entry.mode & 0o7777, entry.uid, entry.gid, entry.mtime.0);
        Header { kind, mode, uid, gid, size: entry.size, mtime, device }
    }

    /// What does not fit is cut: the PAX header before it has the whole.
    fn block(&self, path: &[u8], link: &[u8]) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &path[..path.len().min(100)]);
        put(100, format!("{:07o}", self.mode).as_bytes());
        put(108, format!("{:07o}", self.uid.min(SEVEN)).as_bytes());
        put(116, format!("{:07o}", self.gid.min(SEVEN)).as_bytes());
        put(124, format!("{:011o}", self.size.min(ELEVEN)).as_bytes());
        put(136, format!("{:011o}", self.mtime.clamp(0, ELEVEN as i64)).as_bytes());
        put(148, b"        ");
        put(156, &[self.kind]);
        put(157, &link[..link.len().min(100)]);
        put(257, b"ustar\x0000");
        put(329, format!("{:07o}", self.device.0.min(u64::from(SEVEN))).as_bytes());
        put(337, format!("{:07o}", self.device.1.min(u64::from(SEVEN))).as_bytes());
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }
}

/// The PAX records that the entry needs.
fn records(entry: &Entry, link: &[u8]) -> Vec<u8> {
    let mut records = Vec::new();
    let mut add = |key: &[u8], value: &[u8]| {
        // The length counts its own digits.
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length = rest + length.to_string().len();
        }
        records.extend_from_slice(length.to_string().as_bytes());
        records.push(b' ');
        records.extend_from_slice(key);
        records.push(b'=');
        records.extend_from_slice(value);
        records.push(b'\n');
    };
    if entry.path.len() > 100 || !entry.path.is_ascii() {
        add(b"path", &entry.path);
    }
    if link.len() > 100 || !link.is_ascii() {
        add(b"linkpath", link);
    }
    for (key, id) in [(&b"uid"[..], entry.uid), (b"gid", entry.gid)] {
        if id > SEVEN {
            add(key, id.to_string().as_bytes());
        }
    }
    if entry.size > ELEVEN {
        add(b"size", entry.size.to_string().as_bytes());
    }
    if entry.mtime.1 != 0 || !(0..=ELEVEN as i64).contains(&entry.mtime.0) {
        add(b"mtime", time(entry.mtime).as_bytes());
    }
    for (name, value) in &entry.xattrs {
        add(&[b"SCHILY.xattr.", name.as_slice()].concat(), value);
    }
    records
}

/// Decimal seconds; before 1970 the fraction counts down.
fn time((seconds, nanos): (i64, u32)) -> String {
    match (seconds, nanos) {
        (_, 0) => seconds.to_string(),
        (0.., _) => format!("{seconds}.{nanos:09}"),
        _ if seconds == -1 => format!("-0.{:09}", 1_000_000_000 - nanos),
        _ => format!("{}.{:09}", seconds + 1, 1_000_000_000 - nanos),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Archive, Piece};
    use super::*;
    use proptest::prelude::*;

    fn entry(path: &[u8], kind: Kind, size: u64) -> Entry {
        let pieces = if kind == Kind::File { vec![Piece { offset: 0, length: size }] } else { Vec::new() };
        Entry {
            path: path.into(),
            kind,
            mode: 0o644,
            uid: 0,
            gid: 5,
            mtime: (1_800_000_000, 0),
            size,
            xattrs: Vec::new(),
            pieces,
        }
    }

    fn read_back(entries: &[(Entry, Vec<u8>)]) -> Vec<(Entry, Vec<u8>)> {
        let mut writer = Writer::new(Vec::new());
        for (entry, body) in entries {
            writer.entry(entry, &mut body.as_slice()).unwrap();
        }
        let bytes = writer.finish().unwrap();
        assert_eq!(bytes.len() % BLOCK, 0);
        let mut archive = Archive::new(bytes.as_slice());
        let mut found = Vec::new();
        while let Some(entry) = archive.next().unwrap() {
            let mut body = Vec::new();
            archive.body().read_to_end(&mut body).unwrap();
            found.push((entry, body));
        }
        found
    }

    #[test]
    fn every_kind_comes_back() {
        let long = "d/".repeat(80) + "é";
        let entries = [
            (entry(b"dir", Kind::Directory, 0), Vec::new()),
            (entry(b"dir/file", Kind::File, 5), b"hello".to_vec()),
            (entry(long.as_bytes(), Kind::File, 600), vec![7; 600]),
            (entry(b"link", Kind::Symlink(long.clone().into_bytes()), 0), Vec::new()),
            (entry(b"same", Kind::Hardlink(b"dir/file".to_vec()), 0), Vec::new()),
            (entry(b"pipe", Kind::Fifo, 0), Vec::new()),
            (Entry { uid: 4_000_000_000, gid: 3_000_000, mtime: (-5, 250_000_000), ..entry(b"odd", Kind::File, 0) }, Vec::new()),
        ];
        assert_eq!(read_back(&entries), entries);
    }

    #[test]
    fn a_body_that_ends_early_is_filled_up() {
        let short = [(entry(b"a", Kind::File, 4), b"hi".to_vec()), (entry(b"b", Kind::Directory, 0), Vec::new())];
        assert_eq!(read_back(&short)[0].1, b"hi\0\0");
        assert_eq!(read_back(&short)[1].0.path, b"b");
    }

    proptest! {
        #[test]
        fn any_file_comes_back(path in "[a-zé/]{1,150}", body in prop::collection::vec(any::<u8>(), 0..1200), seconds in 0i64..1 << 40, nanos in 0u32..1_000_000_000) {
            prop_assume!(!path.ends_with('/'));
            let entry = Entry { mtime: (seconds, nanos), ..entry(path.as_bytes(), Kind::File, body.len() as u64) };
            prop_assert_eq!(read_back(&[(entry.clone(), body.clone())]), [(entry, body)]);
        }
    }
}
