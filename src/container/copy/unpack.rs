//! An archive to a tree, by descriptor: nothing is created through a symlink that the archive, or the container, has put in the way.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, fchmod, fstatat, futimens, mkdirat, mknodat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, fchownat, linkat, symlinkat, unlinkat};

use super::scope::{Place, Scope, has_slash, kind};
use crate::image::path::{join, normal, split};
use crate::image::tar::{Archive, Entry, Kind, shown};
use crate::rootfs::inroot::c_path;
use crate::sys::fs::open_beneath;
use crate::userns::idmap::{IdMaps, to_host};

/// Whose the copies are.
#[derive(Debug, Clone)]
pub enum Owners {
    /// The caller's: on the host. What sets an id does not: it would be the caller's.
    Callers,
    /// As in the archive, as far as the caller may.
    Kept,
    /// Container root's, or where `kept` as in the archive, in the container with these maps.
    Mapped { maps: IdMaps, kept: bool },
}

/// Unpacks what `pack` wrote to where `to` says, by Docker's rules: into a directory that is there, else under that name. `contents`: a
/// directory's contents go into a directory that is there, not itself.
pub fn unpack(archive: &mut impl Read, scope: &Scope, to: &Path, contents: bool, owners: &Owners) -> Result<u64> {
    let mut archive = Archive::new(archive);
    // An archive that ends at once: the other side has failed, and says why.
    let Some(first) = archive.next().context("Broken pipe")? else { bail!("Broken pipe") };
    let place = scope.find(to, true)?;
    let is_directory = first.kind == Kind::Directory;
    let own_name = first.path.clone();
    let (parent, name) = match place {
        Place::Directory(directory) if is_directory && contents => (directory, Vec::new()),
        Place::Directory(directory) => (directory, own_name.clone()),
        Place::Name { found: Some(_), .. } if is_directory => bail!("cannot copy a directory over the file {}", to.display()),
        Place::Name { found: None, .. } if !is_directory && has_slash(to) => bail!("{}: no such directory", to.display()),
        Place::Name { parent, name, .. } => (parent, name.as_os_str().as_bytes().to_vec()),
    };
    let mut unpacking = Unpacking::new(parent, owners, (own_name, name));
    unpacking.entry(&first, &mut archive)?;
    unpacking.all(&mut archive)?;
    unpacking.finish()
}

/// Unpacks any archive into the directory `to`.
pub fn unpack_into(archive: &mut impl Read, scope: &Scope, to: &Path, owners: &Owners) -> Result<u64> {
    let directory = match scope.find(to, true)? {
        Place::Directory(directory) => directory,
        Place::Name { .. } => bail!("{}: not a directory", to.display()),
    };
    let mut archive = Archive::new(archive);
    let mut unpacking = Unpacking::new(directory, owners, (Vec::new(), Vec::new()));
    unpacking.all(&mut archive)?;
    unpacking.finish()
}

struct Unpacking<'a> {
    top: OwnedFd,
    owners: &'a Owners,
    /// The first entry's name, and what it is called here.
    renamed: (Vec<u8>, Vec<u8>),
    /// Directories' modes and times, set last: what is made in one changes them, and may need more than they allow.
    directories: Vec<(Vec<u8>, Entry)>,
    bytes: u64,
}

impl<'a> Unpacking<'a> {
    fn new(top: OwnedFd, owners: &'a Owners, renamed: (Vec<u8>, Vec<u8>)) -> Unpacking<'a> {
        Unpacking { top, owners, renamed, directories: Vec::new(), bytes: 0 }
    }

    fn all<R: Read>(&mut self, archive: &mut Archive<R>) -> Result<()> {
        while let Some(entry) = archive.next()? {
            self.entry(&entry, archive)?;
        }
        Ok(())
    }

    /// Where an entry of the archive goes.
    fn place(&self, raw: &[u8]) -> Result<Vec<u8>> {
        let path = normal(raw)?;
        let (old, new) = (normal(&self.renamed.0)?, &self.renamed.1);
        if self.renamed.0.is_empty() {
            return Ok(path);
        }
        let rest = match path.strip_prefix(old.as_slice()) {
            Some(rest) if old.is_empty() || rest.is_empty() || rest.starts_with(b"/") => rest.strip_prefix(b"/").unwrap_or(rest),
            _ => bail!("entry {} is not below the first", shown(raw)),
        };
        Ok(if rest.is_empty() { new.clone() } else { join(new, rest) })
    }

    fn entry<R: Read>(&mut self, entry: &Entry, archive: &mut Archive<R>) -> Result<()> {
        let path = self.place(&entry.path)?;
        self.make(entry, &path, archive).with_context(|| format!("cannot copy {}", shown(&path)))
    }

    fn make<R: Read>(&mut self, entry: &Entry, path: &[u8], archive: &mut Archive<R>) -> Result<()> {
        let Some((above, name)) = split(path) else {
            // The contents of a directory, into one that is there: which stays as it is.
            return if entry.kind == Kind::Directory { Ok(()) } else { bail!("it has no name") };
        };
        let parent = self.open(above)?;
        let name_c = c_path(Path::new(std::ffi::OsStr::from_bytes(name)))?;
        let parent = parent.as_fd();
        match &entry.kind {
            Kind::Directory => {
                match mkdirat(parent, name_c.as_c_str(), Mode::S_IRWXU) {
                    Ok(()) => self.directories.push((path.to_vec(), entry.clone())),
                    // One that is there keeps its owner and mode, as with Docker.
                    Err(Errno::EEXIST) if is(parent, &name_c, SFlag::S_IFDIR) => {}
                    Err(Errno::EEXIST) => bail!("cannot copy a directory over a file"),
                    Err(errno) => return Err(errno.into()),
                }
                Ok(())
            }
            Kind::File => self.file(entry, parent, &name_c, archive),
            Kind::Symlink(target) => {
                let target = c_path(Path::new(std::ffi::OsStr::from_bytes(target)))?;
                replaced(parent, &name_c, || symlinkat(target.as_c_str(), parent, name_c.as_c_str()))?;
                if let Some((uid, gid)) = self.owner(entry) {
                    fchownat(parent, name_c.as_c_str(), Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)?;
                }
                let time = time(entry);
                Ok(utimensat(parent, name_c.as_c_str(), &time, &time, UtimensatFlags::NoFollowSymlink)?)
            }
            Kind::Hardlink(target) => {
                let target = self.place(target)?;
                let (above, last) = split(&target).context("a link to nothing")?;
                let directory = self.open(above)?;
                let last = c_path(Path::new(std::ffi::OsStr::from_bytes(last)))?;
                let link = || linkat(&directory, last.as_c_str(), parent, name_c.as_c_str(), AtFlags::empty());
                replaced(parent, &name_c, link)
            }
            Kind::Fifo => {
                replaced(parent, &name_c, || mknodat(parent, name_c.as_c_str(), SFlag::S_IFIFO, Mode::S_IRUSR, 0))?;
                let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                let fifo = openat(parent, name_c.as_c_str(), flags, Mode::empty())?;
                self.attributes(entry, fifo.as_fd())
            }
            Kind::CharDevice(..) | Kind::BlockDevice(..) => {
                eprintln!("rl: left out the device {}", shown(&entry.path));
                Ok(())
            }
        }
    }

    fn file<R: Read>(
        &mut self,
        entry: &Entry,
        parent: BorrowedFd,
        name: &std::ffi::CStr,
        archive: &mut Archive<R>,
    ) -> Result<()> {
        let mut file = self.new_file(parent, name)?;
        for piece in &entry.pieces {
            if piece.offset > 0 {
                io::Seek::seek(&mut file, io::SeekFrom::Start(piece.offset))?;
            }
            self.bytes += io::copy(&mut archive.body().take(piece.length), &mut file)?;
        }
        file.set_len(entry.size)?;
        self.attributes(entry, file.as_fd())
    }

    /// In the place of what is there; into it, where it cannot be removed: something is mounted on it.
    fn new_file(&self, parent: BorrowedFd, name: &std::ffi::CStr) -> Result<File> {
        let flags = OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let create = || openat(parent, name, flags | OFlag::O_CREAT | OFlag::O_EXCL, Mode::S_IRUSR | Mode::S_IWUSR);
        match replaced(parent, name, create) {
            Err(error) if error.downcast_ref() == Some(&Errno::EBUSY) => {
                Ok(openat(parent, name, flags | OFlag::O_TRUNC | OFlag::O_NONBLOCK, Mode::empty())?.into())
            }
            other => Ok(other?.into()),
        }
    }

    fn open(&self, path: &[u8]) -> Result<OwnedFd> {
        let path = c_path(Path::new(std::ffi::OsStr::from_bytes(if path.is_empty() { b"." } else { path })))?;
        Ok(open_beneath(self.top.as_fd(), &path, libc::O_PATH | libc::O_DIRECTORY, 0)?)
    }

    fn owner(&self, entry: &Entry) -> Option<(Uid, Gid)> {
        let (uid, gid) = match self.owners {
            Owners::Callers => return None,
            Owners::Kept => (Some(entry.uid), Some(entry.gid)),
            Owners::Mapped { maps, kept: true } => (to_host(&maps.uid, entry.uid), to_host(&maps.gid, entry.gid)),
            Owners::Mapped { maps, kept: false } => (to_host(&maps.uid, 0), to_host(&maps.gid, 0)),
        };
        Some((Uid::from_raw(uid?), Gid::from_raw(gid?)))
    }

    /// Owner before mode: a change of owner clears the set-id bits (chown(2)).
    fn attributes(&self, entry: &Entry, fd: BorrowedFd) -> Result<()> {
        if let Some((uid, gid)) = self.owner(entry) {
            match fchown(fd, Some(uid), Some(gid)) {
                // Only host root may give files away.
                Err(Errno::EPERM) if matches!(self.owners, Owners::Kept) => {}
                other => other.context("cannot set its owner")?,
            }
        }
        let mode = if matches!(self.owners, Owners::Mapped { .. }) { entry.mode } else { entry.mode & 0o1777 };
        fchmod(fd, Mode::from_bits_truncate(mode)).context("cannot set its mode")?;
        let time = time(entry);
        futimens(fd, &time, &time).context("cannot set its time")
    }

    /// Directories last, the deepest first.
    fn finish(self) -> Result<u64> {
        for (path, entry) in self.directories.iter().rev() {
            let path_c = c_path(Path::new(std::ffi::OsStr::from_bytes(path)))?;
            let directory = open_beneath(self.top.as_fd(), &path_c, libc::O_RDONLY | libc::O_DIRECTORY, 0);
            let set = directory.map_err(anyhow::Error::from).and_then(|directory| self.attributes(entry, directory.as_fd()));
            set.with_context(|| format!("cannot copy {}", shown(path)))?;
        }
        Ok(self.bytes)
    }
}

/// Creates; what already has the name goes, unless it is a directory.
fn replaced<T>(parent: BorrowedFd, name: &std::ffi::CStr, create: impl Fn() -> nix::Result<T>) -> Result<T> {
    match create() {
        Err(Errno::EEXIST) => {
            match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
                Err(Errno::EISDIR | Errno::EPERM) if is(parent, name, SFlag::S_IFDIR) => {
                    bail!("cannot copy a file over a directory")
                }
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => return Err(errno.into()),
            }
            Ok(create()?)
        }
        other => Ok(other?),
    }
}

fn is(parent: BorrowedFd, name: &std::ffi::CStr, wanted: SFlag) -> bool {
    fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok_and(|stat| kind(&stat) == wanted)
}

fn time(entry: &Entry) -> TimeSpec {
    TimeSpec::new(entry.mtime.0, entry.mtime.1.into())
}
