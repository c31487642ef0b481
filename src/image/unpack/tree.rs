//! The directory that a layer is unpacked into, entered by descriptor and never by a name that leads through it twice.
//!
//! A layer may hold symlinks before the entries below them: those are followed as if the layer's directory were `/`.

use std::collections::HashMap;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::image::{limits, path};
use crate::sys::fs::open_beneath;

/// A directory of the layer: where it truly is, and open (O_PATH).
pub struct Place {
    pub path: Vec<u8>,
    pub fd: OwnedFd,
}

/// What became of a wish for a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    New,
    /// In place of something else, which hid what lower layers have under this name: it must go on doing so.
    Instead,
    Existing,
}

/// The layer so far.
pub struct Tree {
    root: Rc<Place>,
    /// Directories by the path they were asked for: entries mostly come directory by directory.
    open: HashMap<Vec<u8>, Rc<Place>>,
}

/// Directories that are kept open: more than most archives' depth.
const OPEN: usize = 64;

impl Tree {
    pub fn new(root: OwnedFd) -> Tree {
        Tree { root: Rc::new(Place { path: Vec::new(), fd: root }), open: HashMap::new() }
    }

    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.fd.as_fd()
    }

    /// The root as a place.
    pub fn top(&self) -> Rc<Place> {
        self.root.clone()
    }

    /// Opens the directory `path`; `missing` is told of each one that had to be made on the way.
    pub fn directory(&mut self, path: &[u8], missing: &mut dyn FnMut(&[u8], Made) -> Result<()>) -> Result<Rc<Place>> {
        if path.is_empty() {
            return Ok(self.root.clone());
        }
        if let Some(place) = self.open.get(path) {
            return Ok(place.clone());
        }
        let place = Rc::new(match open_beneath(self.root(), &c_string(path), DIRECTORY, 0) {
            Ok(fd) => Place { path: path.to_vec(), fd },
            Err(_) => self.walk(path, missing)?,
        });
        if self.open.len() == OPEN {
            self.open.clear();
        }
        self.open.insert(path.to_vec(), place.clone());
        Ok(place)
    }

    /// Forgets what is open: something that existed has been removed.
    pub fn forget(&mut self) {
        self.open.clear();
    }

    /// Name by name, since there is a symlink on the way or something is missing.
    fn walk(&self, path: &[u8], missing: &mut dyn FnMut(&[u8], Made) -> Result<()>) -> Result<Place> {
        // As many as the kernel follows (path_resolution(7)).
        const SYMLINKS: usize = 40;
        let mut todo: Vec<Vec<u8>> = path::names(path).rev_owned();
        let mut here = Place { path: Vec::new(), fd: self.root.fd.try_clone()? };
        let mut followed = 0;
        while let Some(name) = todo.pop() {
            match name.as_slice() {
                b"." => continue,
                b".." => here = self.parent(&here)?,
                name => match self.step(&here, name, missing)? {
                    Step::Into(place) => here = place,
                    Step::Symlink(_) if followed == SYMLINKS => bail!("too many symlinks on its way"),
                    Step::Symlink(target) => {
                        followed += 1;
                        if target.starts_with(b"/") {
                            here = Place { path: Vec::new(), fd: self.root.fd.try_clone()? };
                        }
                        todo.extend(path::names(&target).rev_owned());
                    }
                },
            }
        }
        Ok(here)
    }

    fn parent(&self, here: &Place) -> Result<Place> {
        let path = path::split(&here.path).map_or(&b""[..], |(parent, _)| parent);
        let fd = match path {
            b"" => self.root.fd.try_clone()?,
            path => open_beneath(self.root(), &c_string(path), DIRECTORY, 0)?,
        };
        Ok(Place { path: path.to_vec(), fd })
    }

    fn step(&self, here: &Place, name: &[u8], missing: &mut dyn FnMut(&[u8], Made) -> Result<()>) -> Result<Step> {
        let kind = status(here.fd.as_fd(), name)?.map(|stat| file_type(&stat));
        let path = path::join(&here.path, name);
        if kind == Some(SFlag::S_IFLNK) {
            let target = readlinkat(&here.fd, c_string(name).as_c_str()).context("cannot read a symlink")?;
            return Ok(Step::Symlink(target.into_encoded_bytes()));
        }
        if kind.is_none() || kind == Some(SFlag::S_IFCHR) {
            // A symlink's target may be longer than any name in the archive.
            if path.len() > limits::PATH || path::names(&path).count() > limits::DEPTH {
                bail!("deeper than {} directories or {} bytes: refused", limits::DEPTH, limits::PATH);
            }
            missing(&path, make_directory(here.fd.as_fd(), name)?)?;
        } else if kind != Some(SFlag::S_IFDIR) {
            bail!("{} is not a directory", super::shown(&path));
        }
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = openat(&here.fd, c_string(name).as_c_str(), flags, Mode::empty())?;
        Ok(Step::Into(Place { path, fd }))
    }
}

const DIRECTORY: i32 = libc::O_PATH | libc::O_DIRECTORY;

enum Step {
    Into(Place),
    Symlink(Vec<u8>),
}

/// Owned names, last first: a stack to walk down.
trait RevOwned {
    fn rev_owned(self) -> Vec<Vec<u8>>;
}

impl<'a, I: Iterator<Item = &'a [u8]>> RevOwned for I {
    fn rev_owned(self) -> Vec<Vec<u8>> {
        let mut names: Vec<Vec<u8>> = self.map(<[u8]>::to_vec).collect();
        names.reverse();
        names
    }
}

/// Names here have no NUL: `path::normal` refuses them and the kernel's own have none.
pub fn c_string(name: &[u8]) -> CString {
    CString::new(name).unwrap_or_default()
}

/// The status of `name` itself, None where there is nothing.
pub fn status(dir: BorrowedFd, name: &[u8]) -> Result<Option<FileStat>> {
    match fstatat(dir, c_string(name).as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

pub fn file_type(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

/// Makes a directory that only its owner can enter, for as long as the layer is not complete. Whatever else has the name goes.
pub fn make_directory(parent: BorrowedFd, name: &[u8]) -> Result<Made> {
    let mkdir = || mkdirat(parent, c_string(name).as_c_str(), Mode::S_IRWXU);
    match mkdir() {
        Ok(()) => return Ok(Made::New),
        Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno).context("cannot create a directory"),
    }
    if status(parent, name)?.is_some_and(|stat| file_type(&stat) == SFlag::S_IFDIR) {
        return Ok(Made::Existing);
    }
    unlinkat(parent, c_string(name).as_c_str(), UnlinkatFlags::NoRemoveDir).context("cannot replace a file")?;
    mkdir().context("cannot create a directory")?;
    Ok(Made::Instead)
}

/// Removes `name` in `parent` and everything below it.
pub fn remove(parent: BorrowedFd, name: &[u8]) -> Result<()> {
    let name = c_string(name);
    match unlinkat(parent, name.as_c_str(), UnlinkatFlags::NoRemoveDir) {
        Err(Errno::EISDIR) => {}
        other => return other.context("cannot remove a file"),
    }
    clear(open_beneath(parent, &name, libc::O_RDONLY | libc::O_DIRECTORY, 0)?)?;
    unlinkat(parent, name.as_c_str(), UnlinkatFlags::RemoveDir).context("cannot remove a directory")
}

/// Removes everything in `directory`. By paths below it, since a descriptor per level would run out in a deep tree.
pub fn clear(directory: OwnedFd) -> Result<()> {
    let mut todo = vec![(Vec::new(), false)];
    while let Some((path, emptied)) = todo.pop() {
        if emptied {
            unlinkat(&directory, c_string(&path).as_c_str(), UnlinkatFlags::RemoveDir).context("cannot remove a directory")?;
            continue;
        }
        if !path.is_empty() {
            todo.push((path.clone(), true));
        }
        let flags = libc::O_RDONLY | libc::O_DIRECTORY;
        let here = open_beneath(directory.as_fd(), &c_string(if path.is_empty() { b"." } else { &path }), flags, 0)?;
        for (name, kind) in list(here.try_clone()?)? {
            let removed = match kind {
                Some(Type::Directory) => Err(Errno::EISDIR),
                _ => unlinkat(&here, c_string(&name).as_c_str(), UnlinkatFlags::NoRemoveDir),
            };
            match removed {
                Err(Errno::EISDIR) => todo.push((path::join(&path, &name), false)),
                other => other.context("cannot remove a file")?,
            }
        }
    }
    Ok(())
}

/// The names in a directory, without `.` and `..`.
pub fn list(directory: OwnedFd) -> Result<Vec<(Vec<u8>, Option<Type>)>> {
    let mut names = Vec::new();
    for entry in Dir::from_fd(directory)?.iter() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push((name.to_vec(), entry.file_type()));
        }
    }
    Ok(names)
}
