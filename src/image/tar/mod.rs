//! Reading tar archives from a hostile source: ustar, PAX, GNU long names and sparse files (pax(1); GNU tar manual).
//!
//! Written for this and nothing more: every length is bounded before memory is taken for it, and where readers are known to
//! disagree about what an archive holds, it is refused instead of read one way (CVE-2025-62518, RUSTSEC-2026-0112).

mod header;
mod pax;
mod sparse;
pub mod write;

use std::io::{self, Read};

use anyhow::{Context, Result, bail};

use self::header::{BLOCK, Header};
use self::pax::Pax;
pub use self::sparse::Piece;
use super::limits;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    File,
    /// A further name for an earlier entry.
    Hardlink(Vec<u8>),
    Symlink(Vec<u8>),
    Directory,
    Fifo,
    CharDevice(u64, u64),
    BlockDevice(u64, u64),
}

/// One entry. The path is as written: not yet safe for anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub path: Vec<u8>,
    pub kind: Kind,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Seconds and nanoseconds.
    pub mtime: (i64, u32),
    /// Of a file, holes counted.
    pub size: u64,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where the bytes of the body belong; for most files one piece.
    pub pieces: Vec<Piece>,
}

/// A path as people are shown it: escaped, and cut where it is absurd.
pub fn shown(path: &[u8]) -> String {
    let text = String::from_utf8_lossy(path);
    let cut: String = text.chars().take(200).collect();
    if cut.len() < text.len() { format!("{cut:?}…") } else { format!("{cut:?}") }
}

/// An archive, entry by entry.
pub struct Archive<R> {
    input: R,
    /// Bytes of the current entry that nobody has read yet, and the padding after them.
    body: u64,
    padding: u64,
    entries: u64,
    bytes: u64,
}

/// What stands before an entry and belongs to it.
#[derive(Default)]
struct Before {
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    pax: Option<Pax>,
}

impl<R: Read> Archive<R> {
    pub fn new(input: R) -> Archive<R> {
        Archive { input, body: 0, padding: 0, entries: 0, bytes: 0 }
    }

    pub fn into_inner(self) -> R {
        self.input
    }

    /// The next entry; what was not read of the last one's body is skipped.
    pub fn next(&mut self) -> Result<Option<Entry>> {
        let mut before = Before::default();
        loop {
            self.skip_body()?;
            let Some(block) = self.block()? else {
                if before.is_empty() {
                    return Ok(None);
                }
                bail!("the archive ends where an entry should follow");
            };
            let header = Header::new(&block)?;
            match header.kind() {
                b'L' => set_once(&mut before.long_name, self.name(&header)?)?,
                b'K' => set_once(&mut before.long_link, self.name(&header)?)?,
                b'x' => set_once(&mut before.pax, Pax::parse(&self.extension(&header)?)?)?,
                b'g' => pax::check_global(&self.extension(&header)?)?,
                _ => return self.entry(&header, before).map(Some),
            }
        }
    }

    fn entry(&mut self, header: &Header, mut before: Before) -> Result<Entry> {
        let path = before.path(header)?;
        let entry = self.entry_of(header, before, path.clone()).with_context(|| format!("entry {}", shown(&path)))?;
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(entry.size);
        if self.entries > limits::ENTRIES {
            bail!("an archive of more than {} entries is refused", limits::ENTRIES);
        }
        if self.bytes > limits::SIZE {
            bail!("an archive of more than {} GiB is refused: entry {}", limits::SIZE >> 30, shown(&path));
        }
        Ok(entry)
    }

    fn entry_of(&mut self, header: &Header, mut before: Before, path: Vec<u8>) -> Result<Entry> {
        let link = before.link(header)?;
        let pax = before.pax.unwrap_or_default();
        let size = size(header, &pax)?;
        let kind = kind(header, &path, link)?;
        if kind != Kind::File && (size != 0 || pax.sparse.is_some()) {
            // Some readers skip such a body, some take it for the next headers.
            bail!("only a file may have contents");
        }
        if path.is_empty() {
            bail!("no name");
        }
        self.expect_body(size)?;
        let (size, pieces) = match (&kind, header.kind(), pax.sparse) {
            (Kind::File, b'S', None) => self.old_sparse(header, size)?,
            (Kind::File, b'S', Some(_)) => bail!("malformed sparse file: of two formats"),
            (Kind::File, _, Some(sparse)) => self.pax_sparse(sparse)?,
            (Kind::File, _, None) => (size, vec![Piece { offset: 0, length: size }]),
            _ => (0, Vec::new()),
        };
        Ok(Entry {
            path,
            kind,
            mode: header.mode()?,
            uid: id(pax.uid.map_or_else(|| header.uid(), Ok)?)?,
            gid: id(pax.gid.map_or_else(|| header.gid(), Ok)?)?,
            mtime: pax.mtime.map_or_else(|| Ok::<_, anyhow::Error>((header.mtime()?, 0)), Ok)?,
            size,
            xattrs: pax.xattrs.into_iter().collect(),
            pieces,
        })
    }

    fn old_sparse(&mut self, header: &Header, stored: u64) -> Result<(u64, Vec<Piece>)> {
        let mut map = sparse::Map::default();
        let (fields, mut more) = header.sparse_pieces();
        map.push_old(fields)?;
        while more {
            let mut block = [0; BLOCK];
            self.input.read_exact(&mut block).context("the archive ends within a sparse file")?;
            map.push_old(&block[..504])?;
            more = block[504] != 0;
        }
        let size = header.sparse_size()?;
        Ok((size, map.finish(size, stored)?))
    }

    fn pax_sparse(&mut self, sparse: pax::Sparse) -> Result<(u64, Vec<Piece>)> {
        let size = sparse.size.context("malformed sparse file: no size")?;
        let mut map = sparse::Map::default();
        match (sparse.major, sparse.minor) {
            // GNU tar takes a size without a map for the size of the body.
            (0, 0 | 1) if sparse.pieces.is_empty() => bail!("malformed sparse file: no map"),
            // ... and drops what is more than it was told.
            (0, 0 | 1) if sparse.count != Some(sparse.pieces.len() as u64 / 2) => {
                bail!("malformed sparse file: its map has another length than it says")
            }
            (0, 0 | 1) => map.push_pairs(&sparse.pieces)?,
            (1, 0) => {
                let start = self.body;
                for _ in 0..self.decimal_line()? {
                    let (offset, length) = (self.decimal_line()?, self.decimal_line()?);
                    map.push(offset, length)?;
                }
                // The map is filled up to a whole block.
                let rest = (start - self.body).next_multiple_of(BLOCK as u64) - (start - self.body);
                let mut filling = self.body().take(rest);
                io::copy(&mut filling, &mut io::sink())?;
            }
            (major, minor) => bail!("a sparse file in the unknown format {major}.{minor}"),
        }
        Ok((size, map.finish(size, self.body)?))
    }

    /// A number on a line of its own, in the map of sparse format 1.0.
    fn decimal_line(&mut self) -> Result<u64> {
        let mut digits = Vec::new();
        loop {
            let mut byte = [0];
            self.body().read_exact(&mut byte).context("malformed sparse file: its map is cut off")?;
            match byte[0] {
                b'\n' => return pax::decimal(&digits).context("malformed sparse file"),
                _ if digits.len() == 20 => bail!("malformed sparse file: a number is too long"),
                digit => digits.push(digit),
            }
        }
    }

    /// The contents of the current entry, piece after piece.
    pub fn body(&mut self) -> impl Read + '_ {
        Body(self)
    }

    /// A header, or None at the end of the archive: two blocks of zeros, of which tolerant writers leave out one or both.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>> {
        let Some(block) = self.block_or_end()? else { return Ok(None) };
        if block.iter().any(|&b| b != 0) {
            return Ok(Some(block));
        }
        match self.block_or_end()? {
            Some(second) if second.iter().any(|&b| b != 0) => bail!("not a tar archive, or a damaged one: a lone block of zeros"),
            _ => Ok(None),
        }
    }

    fn block_or_end(&mut self) -> Result<Option<[u8; BLOCK]>> {
        let mut block = Vec::with_capacity(BLOCK);
        self.input.by_ref().take(BLOCK as u64).read_to_end(&mut block)?;
        match <[u8; BLOCK]>::try_from(block) {
            Ok(block) => Ok(Some(block)),
            Err(block) if block.is_empty() => Ok(None),
            Err(_) => bail!("not a tar archive, or a truncated one"),
        }
    }

    fn expect_body(&mut self, size: u64) -> Result<()> {
        let Some(whole) = size.checked_next_multiple_of(BLOCK as u64) else { bail!("a file larger than any") };
        self.body = size;
        self.padding = whole - size;
        Ok(())
    }

    fn skip_body(&mut self) -> Result<()> {
        let rest = self.body + self.padding;
        let skipped = io::copy(&mut self.input.by_ref().take(rest), &mut io::sink())?;
        if skipped < rest {
            bail!("the archive ends within an entry");
        }
        (self.body, self.padding) = (0, 0);
        Ok(())
    }

    /// The body of an extension, whole.
    fn extension(&mut self, header: &Header) -> Result<Vec<u8>> {
        let size = header.size()?;
        if size > limits::EXTENSION {
            bail!("an extended header of more than {} KiB is refused", limits::EXTENSION >> 10);
        }
        self.expect_body(size)?;
        let mut bytes = vec![0; size as usize];
        self.body().read_exact(&mut bytes).context("the archive ends within a header")?;
        Ok(bytes)
    }

    /// The body of a GNU long name. GNU tar reads on to the NUL, wherever that is.
    fn name(&mut self, header: &Header) -> Result<Vec<u8>> {
        let mut bytes = self.extension(header)?;
        let length = bytes.iter().position(|&b| b == 0).context("a long name without an end")?;
        bytes.truncate(length);
        Ok(bytes)
    }
}

impl Before {
    fn is_empty(&self) -> bool {
        self.long_name.is_none() && self.long_link.is_none() && self.pax.is_none()
    }

    fn path(&mut self, header: &Header) -> Result<Vec<u8>> {
        let sparse = self.pax.as_mut().and_then(|pax| pax.sparse.as_mut()).and_then(|sparse| sparse.name.take());
        let pax = self.pax.as_mut().and_then(|pax| pax.path.take());
        // The path beside a sparse file's real name is only what readers without sparse files are to call it.
        Ok(match (sparse, pax, self.long_name.take()) {
            (Some(name), _, _) => name,
            (None, Some(pax), Some(long)) if pax != long => {
                bail!("an entry with two names: {} and {}", shown(&pax), shown(&long))
            }
            (None, pax, long) => pax.or(long).map_or_else(|| header.name(), Ok)?,
        })
    }

    fn link(&mut self, header: &Header) -> Result<Vec<u8>> {
        let pax = self.pax.as_mut().and_then(|pax| pax.link.take());
        Ok(match (pax, self.long_link.take()) {
            (Some(pax), Some(long)) if pax != long => bail!("two link targets: {} and {}", shown(&pax), shown(&long)),
            (pax, long) => pax.or(long).unwrap_or_else(|| header.link().to_vec()),
        })
    }
}

fn set_once<T>(place: &mut Option<T>, value: T) -> Result<()> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => bail!("two extended headers of one kind before one entry"),
    }
}

/// PAX tells the size only where the header's eleven digits cannot; any other disagreement hides entries from some readers.
fn size(header: &Header, pax: &Pax) -> Result<u64> {
    const LARGEST_OCTAL: u64 = 0o77_777_777_777;
    let plain = header.size()?;
    match pax.size {
        Some(told) if told != plain && (told <= LARGEST_OCTAL || header.size_is_binary()) => {
            bail!("its PAX header says {told} bytes and its header {plain}");
        }
        Some(told) => Ok(told),
        None => Ok(plain),
    }
}

fn id(value: i64) -> Result<u32> {
    match u32::try_from(value) {
        // The last one means "unchanged" to chown(2).
        Ok(id) if id != u32::MAX => Ok(id),
        _ => bail!("{value} is not a user or group id"),
    }
}

fn kind(header: &Header, path: &[u8], link: Vec<u8>) -> Result<Kind> {
    let slash = path.last() == Some(&b'/');
    let device = || header.device();
    Ok(match header.kind() {
        // Before ustar a directory was a file whose name ends in a slash.
        0 if slash => Kind::Directory,
        b'0' | b'7' | b'S' if slash => bail!("a file whose name ends in a slash"),
        0 | b'0' | b'7' | b'S' => Kind::File,
        b'1' => Kind::Hardlink(link),
        b'2' => Kind::Symlink(link),
        b'3' => device().map(|(major, minor)| Kind::CharDevice(major, minor))?,
        b'4' => device().map(|(major, minor)| Kind::BlockDevice(major, minor))?,
        b'5' => Kind::Directory,
        b'6' => Kind::Fifo,
        other => bail!("of the unknown type {:?}", char::from(other)),
    })
}

/// Reads within the current entry's body.
struct Body<'a, R>(&'a mut Archive<R>);

impl<R: Read> Read for Body<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Body(archive) = self;
        let most = buffer.len().min(usize::try_from(archive.body).unwrap_or(usize::MAX));
        let n = archive.input.read(&mut buffer[..most])?;
        if n == 0 && most > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive ends within an entry"));
        }
        archive.body -= n as u64;
        Ok(n)
    }
}

#[cfg(test)]
pub mod tests;
