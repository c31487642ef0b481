//! The entries of one layer, applied one after another to its directory; what goes into files follows (writer.rs).
//!
//! Whiteouts become what overlayfs reads without privilege (`userxattr`): a character device 0:0 for a removed name, which any
//! user namespace may create since Linux 5.8, and `user.overlay.opaque` on a directory whose lower contents are gone.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, mknodat};
use nix::unistd::{linkat, symlinkat};

use super::attributes::{DEVICE, Setter};
use super::ledger::{Attributes, Ledger, Note, PLAIN};
use super::tree::{self, Made, Place, Tree, c_string, file_type, make_directory, status};
use super::writer::{Last, PIECE, Queue, Step, Target};
use crate::image::path;
use crate::image::tar::{Archive, Entry, Kind, Piece, shown};
use crate::sys::fs::open_in_root;

/// A layer being unpacked.
pub struct Unpacking {
    pub(super) tree: Tree,
    pub(super) ledger: Ledger,
    pub(super) setter: Setter,
    /// `.wh..wh..opq` stood in the root: overlayfs would not look for the mark there.
    pub(super) root_is_opaque: bool,
}

impl Unpacking {
    /// Into `root`, an empty directory.
    pub fn new(root: OwnedFd, setter: Setter) -> Result<Unpacking> {
        let mut ledger = Ledger::default();
        ledger.push(b"", Note::Implied)?;
        Ok(Unpacking { tree: Tree::new(root), ledger, setter, root_is_opaque: false })
    }

    /// Applies every entry of `archive`; what goes into files is left to `queue`.
    pub fn apply_all<R: Read>(&mut self, archive: &mut Archive<R>, queue: &Queue) -> Result<()> {
        while let Some(mut entry) = archive.next()? {
            self.apply(&mut entry, archive, queue).with_context(|| format!("entry {}", shown(&entry.path)))?;
        }
        Ok(())
    }

    fn apply<R: Read>(&mut self, entry: &mut Entry, archive: &mut Archive<R>, queue: &Queue) -> Result<()> {
        let path = path::normal(&entry.path)?;
        let Some((parent, name)) = path::split(&path) else { return self.root(entry) };
        let mark = mark(parent, name)?;
        if mark == Mark::Ignored {
            return Ok(());
        }
        let (ledger, setter, root) = (&mut self.ledger, &mut self.setter, self.tree.top());
        let place = self.tree.directory(parent, &mut |path, made| implied(ledger, setter, root.fd.as_fd(), path, made))?;
        match mark {
            Mark::Opaque => self.opaque(&place),
            Mark::Whiteout(name) => self.whiteout(&place, name),
            Mark::None | Mark::Ignored if entry.kind == Kind::File => self.file(entry, place.fd.as_fd(), name, archive, queue),
            Mark::None | Mark::Ignored => self.create(entry, &place, name),
        }
    }

    fn root(&mut self, entry: &Entry) -> Result<()> {
        if entry.kind != Kind::Directory {
            bail!("the root is not a directory");
        }
        self.setter.set_xattrs(reopen(self.tree.root(), b".")?.as_fd(), &entry.xattrs)?;
        self.ledger.push(b"", Note::Listed(attributes(entry)))
    }

    fn create(&mut self, entry: &Entry, place: &Place, name: &[u8]) -> Result<()> {
        let parent = place.fd.as_fd();
        match &entry.kind {
            // A file has contents, which the caller has to read.
            Kind::File | Kind::Directory => self.directory(entry, place, name),
            Kind::Symlink(target) => self.symlink(entry, parent, name, target),
            Kind::Hardlink(target) => self.hardlink(parent, name, target),
            Kind::Fifo => {
                self.replace(parent, name, || mknodat(parent, c_string(name).as_c_str(), SFlag::S_IFIFO, Mode::S_IRUSR, 0))?;
                self.setter.set(reopen(parent, name)?.as_fd(), &attributes(entry), NEW, &[])
            }
            Kind::CharDevice(major, minor) => self.placeholder(entry, parent, name, &format!("c {major}:{minor}")),
            Kind::BlockDevice(major, minor) => self.placeholder(entry, parent, name, &format!("b {major}:{minor}")),
        }
    }

    /// Creates `name`; what already has it, from an earlier entry, goes.
    fn replace<T>(&mut self, parent: BorrowedFd, name: &[u8], create: impl Fn() -> nix::Result<T>) -> Result<T> {
        match create() {
            Err(Errno::EEXIST) => {
                self.tree.forget();
                tree::remove(parent, name).context("cannot replace what an earlier entry made")?;
                Ok(create()?)
            }
            other => Ok(other?),
        }
    }

    fn file<R: Read>(
        &mut self,
        entry: &mut Entry,
        parent: BorrowedFd,
        name: &[u8],
        archive: &mut Archive<R>,
        queue: &Queue,
    ) -> Result<()> {
        let mode = entry.mode & 0o777;
        let file = Arc::new(Target { fd: self.new_file(parent, name, mode)?, path: entry.path.clone() });
        let pieces = std::mem::take(&mut entry.pieces);
        let (mut end, mut next) = (0, Vec::new());
        for Piece { offset, length } in pieces {
            let mut done = 0;
            while done < length {
                // The one before is not the last.
                if !next.is_empty() {
                    queue.push(Step { file: file.clone(), offset: end - next.len() as u64, data: next, last: None })?;
                }
                next = vec![0; usize::try_from(length - done).map_or(PIECE, |rest| rest.min(PIECE))];
                archive.body().read_exact(&mut next)?;
                done += next.len() as u64;
                end = offset + done;
            }
        }
        let last = Last {
            length: (end != entry.size).then_some(entry.size),
            attributes: attributes(entry),
            mode,
            xattrs: std::mem::take(&mut entry.xattrs),
        };
        queue.push(Step { file, offset: end - next.len() as u64, data: next, last: Some(last) })
    }

    fn new_file(&mut self, parent: BorrowedFd, name: &[u8], mode: u32) -> Result<OwnedFd> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        self.replace(parent, name, || openat(parent, c_string(name).as_c_str(), flags, Mode::from_bits_truncate(mode)))
    }

    /// A device node, which no user namespace may create: an empty file that nobody may open and that says what it stands for.
    fn placeholder(&mut self, entry: &Entry, parent: BorrowedFd, name: &[u8], device: &str) -> Result<()> {
        let file = self.new_file(parent, name, 0o600)?;
        // Where the file system has no attributes the note is lost; the node could not be used anyway.
        let _ = crate::sys::xattr::set(file.as_fd(), DEVICE, device.as_bytes());
        self.setter.set(file.as_fd(), &Attributes { mode: 0, ..attributes(entry) }, NEW, &[])
    }

    fn directory(&mut self, entry: &Entry, place: &Place, name: &[u8]) -> Result<()> {
        let made = make_directory(place.fd.as_fd(), name)?;
        if made == Made::Instead || !entry.xattrs.is_empty() {
            let directory = reopen(place.fd.as_fd(), name)?;
            self.setter.set_xattrs(directory.as_fd(), &entry.xattrs)?;
            if made == Made::Instead {
                self.tree.forget();
                self.setter.make_opaque(&directory)?;
            }
        }
        self.ledger.push(&path::join(&place.path, name), Note::Listed(attributes(entry)))
    }

    fn symlink(&mut self, entry: &Entry, parent: BorrowedFd, name: &[u8], target: &[u8]) -> Result<()> {
        if target.is_empty() {
            bail!("a symlink to nothing");
        }
        self.replace(parent, name, || symlinkat(c_string(target).as_c_str(), parent, c_string(name).as_c_str()))?;
        self.setter.set_symlink(parent, name, &attributes(entry))
    }

    /// A further name for a file of this layer. Symlinks on the way to it stay inside; one at its end is itself what is linked.
    fn hardlink(&mut self, parent: BorrowedFd, name: &[u8], target: &[u8]) -> Result<()> {
        let path = path::normal(target).with_context(|| format!("its target {}", shown(target)))?;
        let Some((above, last)) = path::split(&path) else { bail!("a hard link to the root") };
        let above = if above.is_empty() { b"." } else { above };
        let directory = match open_in_root(self.tree.root(), &c_string(above), libc::O_PATH | libc::O_DIRECTORY, 0) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            other => Some(other.with_context(|| format!("its target {}", shown(target)))?),
        };
        let found = directory.as_ref().map(|directory| status(directory.as_fd(), last)).transpose()?.flatten();
        let (Some(directory), Some(found)) = (directory, found) else {
            bail!("its target {} is not in this layer", shown(target));
        };
        match file_type(&found) {
            SFlag::S_IFDIR => bail!("its target {} is a directory", shown(target)),
            SFlag::S_IFCHR => bail!("its target {} is removed by this layer", shown(target)),
            _ => {}
        }
        if status(parent, name)?.is_some_and(|own| (own.st_dev, own.st_ino) == (found.st_dev, found.st_ino)) {
            return Ok(());
        }
        let (last, name_c) = (c_string(last), c_string(name));
        self.replace(parent, name, || linkat(&directory, last.as_c_str(), parent, name_c.as_c_str(), AtFlags::empty()))
    }

    /// A name that lower layers have and this one has not (layer.md, "Whiteouts"). It says nothing about this layer's own.
    fn whiteout(&mut self, place: &Place, name: &[u8]) -> Result<()> {
        match status(place.fd.as_fd(), name)?.map(|stat| file_type(&stat)) {
            None => {
                mknodat(&place.fd, c_string(name).as_c_str(), SFlag::S_IFCHR, Mode::empty(), 0)
                    .context("cannot create a whiteout")?;
                self.ledger.push(&path::join(&place.path, name), Note::Whiteout)
            }
            Some(SFlag::S_IFDIR) => self.setter.make_opaque(reopen(place.fd.as_fd(), name)?),
            Some(_) => Ok(()),
        }
    }

    fn opaque(&mut self, place: &Rc<Place>) -> Result<()> {
        if place.path.is_empty() {
            self.root_is_opaque = true;
            return Ok(());
        }
        self.setter.make_opaque(reopen(place.fd.as_fd(), b".")?)
    }
}

/// No mode that anything is to have: it was created with another.
pub(super) const NEW: u32 = u32::MAX;

/// A parent that no entry has described so far.
fn implied(ledger: &mut Ledger, setter: &mut Setter, root: BorrowedFd, path: &[u8], made: Made) -> Result<()> {
    if made == Made::Instead {
        let flags = libc::O_RDONLY | libc::O_DIRECTORY;
        setter.make_opaque(crate::sys::fs::open_beneath(root, &c_string(path), flags, 0)?)?;
        return ledger.push(path, Note::Listed(PLAIN));
    }
    ledger.push(path, Note::Implied)
}

fn attributes(entry: &Entry) -> Attributes {
    Attributes { uid: entry.uid, gid: entry.gid, mode: entry.mode, mtime: entry.mtime }
}

/// Opens for reading what was just made here: never follows, never waits for a fifo's other end.
pub(super) fn reopen(parent: BorrowedFd, name: &[u8]) -> Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    Ok(openat(parent, c_string(name).as_c_str(), flags, Mode::empty())?)
}

/// What a name means apart from itself (layer.md, "Whiteouts").
#[derive(Debug, PartialEq, Eq)]
enum Mark<'a> {
    None,
    Whiteout(&'a [u8]),
    Opaque,
    /// Left by AUFS, on which Docker's first layers were made.
    Ignored,
}

fn mark<'a>(parent: &[u8], name: &'a [u8]) -> Result<Mark<'a>> {
    if name == b".wh..wh..opq" {
        return Ok(Mark::Opaque);
    }
    if path::names(parent).chain([name]).any(|name| name.starts_with(b".wh..wh.")) {
        return Ok(Mark::Ignored);
    }
    if path::names(parent).any(|name| name.starts_with(b".wh.")) {
        bail!("below a whiteout: refused");
    }
    match name.strip_prefix(b".wh.") {
        None => Ok(Mark::None),
        Some(b"" | b"." | b"..") => bail!("a whiteout of nothing: refused"),
        Some(gone) => Ok(Mark::Whiteout(gone)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whiteouts_never_name_their_own_directory_or_the_one_above() {
        assert_eq!(mark(b"a", b".wh.b").unwrap(), Mark::Whiteout(b"b"));
        assert_eq!(mark(b"a", b".wh..wh..opq").unwrap(), Mark::Opaque);
        assert_eq!(mark(b"", b".wh..wh.plnk").unwrap(), Mark::Ignored);
        assert_eq!(mark(b".wh..wh.plnk", b"x").unwrap(), Mark::Ignored);
        assert_eq!(mark(b"a", b"b.wh.c").unwrap(), Mark::None);
        for (parent, name) in [("a", ".wh."), ("a", ".wh.."), ("a", ".wh..."), (".wh.a", "b")] {
            assert!(mark(parent.as_bytes(), name.as_bytes()).is_err(), "{parent}/{name}");
        }
    }
}
