//! What is known about directories while a layer is unpacked, to be applied when nothing is created in them any more: a new entry
//! changes its directory's mtime, and the mode may forbid it.

use anyhow::{Result, bail};

use crate::image::limits;

/// Owner, mode and time of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    pub uid: u32,
    pub gid: u32,
    pub mode: u32,
    /// Seconds and nanoseconds.
    pub mtime: (i64, u32),
}

/// A directory that nobody describes. Of no time, so that a layer unpacks to the same wherever and whenever.
pub const PLAIN: Attributes = Attributes { uid: 0, gid: 0, mode: 0o755, mtime: (0, 0) };

/// What a layer says about one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// A directory with an entry of its own.
    Listed(Attributes),
    /// A directory only by having something in it.
    Implied,
    Whiteout,
}

/// Notes by path, in bounded memory.
#[derive(Default)]
pub struct Ledger {
    paths: Vec<u8>,
    notes: Vec<(u32, u16, Note)>,
}

impl Ledger {
    pub fn push(&mut self, path: &[u8], note: Note) -> Result<()> {
        let size = self.paths.len() + path.len() + (self.notes.len() + 1) * size_of::<(u32, u16, Note)>();
        if size > limits::LEDGER {
            bail!("a layer with this many directories and whiteouts is refused");
        }
        // Both fit: the limit is below 4 GiB, and a path below 64 KiB.
        self.notes.push((self.paths.len() as u32, path.len() as u16, note));
        self.paths.extend(path);
        Ok(())
    }

    fn path(&self, &(start, length, _): &(u32, u16, Note)) -> &[u8] {
        &self.paths[start as usize..][..length.into()]
    }

    pub fn whiteouts(&self) -> impl Iterator<Item = &[u8]> {
        self.notes.iter().filter(|note| note.2 == Note::Whiteout).map(|note| self.path(note))
    }

    /// The directories, each once and below its parent: with what was listed last, else as implied.
    pub fn directories(&mut self) -> impl Iterator<Item = (&[u8], Note)> {
        let mut notes = std::mem::take(&mut self.notes);
        notes.retain(|note| note.2 != Note::Whiteout);
        // In place, as all this may be large. Notes of one path stay in the order they were made.
        notes.sort_unstable_by(|a, b| self.path(b).cmp(self.path(a)).then(a.0.cmp(&b.0)).then(a.1.cmp(&b.1)));
        notes.dedup_by(|later, kept| {
            let same = self.path(later) == self.path(kept);
            if same && later.2 != Note::Implied {
                *kept = *later;
            }
            same
        });
        self.notes = notes;
        self.notes.iter().map(|note| (self.path(note), note.2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_listing_of_a_directory_counts_and_children_come_first() {
        let mut ledger = Ledger::default();
        let listed = |mode| Note::Listed(Attributes { mode, ..PLAIN });
        for (path, note) in
            [("", Note::Implied), ("a", listed(1)), ("a/b", Note::Implied), ("a", listed(2)), ("a", Note::Implied)]
        {
            ledger.push(path.as_bytes(), note).unwrap();
        }
        ledger.push(b"a/gone", Note::Whiteout).unwrap();
        assert_eq!(ledger.whiteouts().collect::<Vec<_>>(), [b"a/gone"]);
        let all: Vec<_> = ledger.directories().collect();
        assert_eq!(all, [(&b"a/b"[..], Note::Implied), (b"a", listed(2)), (b"", Note::Implied)]);
    }

    #[test]
    fn it_takes_a_bounded_number() {
        let mut ledger = Ledger::default();
        let path = [b'x'; 4000];
        let count = (0..).take_while(|_| ledger.push(&path, Note::Implied).is_ok()).count();
        assert!(count < limits::LEDGER / 4000);
    }
}
