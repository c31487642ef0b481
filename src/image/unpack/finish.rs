//! The end of a layer: what depends on the layers below it, and what must wait until nothing is created any more.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, mknodat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::apply::{NEW, Unpacking, reopen};
use super::attributes::{OPAQUE, Setter};
use super::ledger::{Attributes, Note, PLAIN};
use super::tree::{c_string, file_type, list, status};
use crate::image::path;
use crate::sys::fs::open_beneath;
use crate::sys::xattr;

impl Unpacking {
    /// Settles whiteouts and directories against `lowers`, the layers below, bottom first.
    pub fn finish(mut self, lowers: &[OwnedFd]) -> Result<Setter> {
        if self.root_is_opaque {
            self.hide_everything(lowers)?;
        }
        self.drop_idle_whiteouts(lowers)?;
        self.settle_directories(lowers)?;
        Ok(self.setter)
    }

    /// An opaque root, name by name: overlayfs reads no such mark on the root of a layer.
    fn hide_everything(&mut self, lowers: &[OwnedFd]) -> Result<()> {
        for lower in lowers {
            for (name, _) in list(reopen(lower.as_fd(), b".")?)? {
                let root = self.tree.root();
                match status(root, &name)?.map(|stat| file_type(&stat)) {
                    None => mknodat(root, c_string(&name).as_c_str(), SFlag::S_IFCHR, Mode::empty(), 0)
                        .context("cannot create a whiteout")?,
                    Some(SFlag::S_IFDIR) => self.setter.make_opaque(reopen(root, &name)?)?,
                    Some(_) => {}
                }
            }
        }
        Ok(())
    }

    /// In a directory that overlayfs does not merge with a lower one, a whiteout would show up as a file that cannot be read.
    fn drop_idle_whiteouts(&mut self, lowers: &[OwnedFd]) -> Result<()> {
        let root = self.tree.root();
        for whiteout in self.ledger.whiteouts() {
            let Some((parent, name)) = path::split(whiteout) else { continue };
            let Look { found: Found::Directory(directory), opaque } = look(root, parent)? else { continue };
            let still_there = status(directory.as_fd(), name)?.is_some_and(|stat| is_whiteout(&stat));
            if still_there && (opaque || !exists(lowers, parent, name)?) {
                unlinkat(&directory, c_string(name).as_c_str(), UnlinkatFlags::NoRemoveDir)
                    .context("cannot remove a whiteout")?;
            }
        }
        Ok(())
    }

    fn settle_directories(&mut self, lowers: &[OwnedFd]) -> Result<()> {
        let root = self.tree.root();
        for (path, note) in self.ledger.directories() {
            let name = if path.is_empty() { b"." } else { path };
            let directory = match open_beneath(root, &c_string(name), libc::O_RDONLY | libc::O_DIRECTORY, 0) {
                Ok(directory) => directory,
                // A later entry replaced it.
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP)) => continue,
                Err(error) => return Err(error).with_context(|| format!("directory {}", super::shown(path))),
            };
            let wanted = match note {
                Note::Listed(attributes) => attributes,
                Note::Implied | Note::Whiteout => match inherited(root, lowers, path)? {
                    Some(attributes) => attributes,
                    // It was only made to hold a whiteout that has turned out idle.
                    None if unlinkat(root, c_string(path).as_c_str(), UnlinkatFlags::RemoveDir).is_ok() => continue,
                    None => PLAIN,
                },
            };
            self.setter.set(directory.as_fd(), &wanted, NEW, &[]).with_context(|| format!("directory {}", super::shown(path)))?;
        }
        Ok(())
    }
}

/// What a directory has in the layers below: so that /tmp, which this layer only puts a file into, stays 1777.
fn inherited(root: BorrowedFd, lowers: &[OwnedFd], path: &[u8]) -> Result<Option<Attributes>> {
    // What lies below an opaque directory is new, whatever lower layers have under that name.
    if let Some((parent, _)) = path::split(path)
        && look(root, parent)?.opaque
    {
        return Ok(None);
    }
    for lower in lowers.iter().rev() {
        match look(lower.as_fd(), path)? {
            Look { found: Found::Directory(directory), .. } => return attributes(&fstat(&directory)?).map(Some),
            Look { found: Found::Nothing, opaque: false } => {}
            _ => return Ok(None),
        }
    }
    Ok(None)
}

fn attributes(stat: &FileStat) -> Result<Attributes> {
    let mtime = (stat.st_mtime, u32::try_from(stat.st_mtime_nsec)?);
    Ok(Attributes { uid: stat.st_uid, gid: stat.st_gid, mode: stat.st_mode & 0o7777, mtime })
}

/// Whether the layers below show `name` in the directory `parent`.
fn exists(lowers: &[OwnedFd], parent: &[u8], name: &[u8]) -> Result<bool> {
    for lower in lowers.iter().rev() {
        let Look { found, opaque } = look(lower.as_fd(), parent)?;
        match found {
            Found::Directory(directory) => match status(directory.as_fd(), name)? {
                Some(stat) => return Ok(!is_whiteout(&stat)),
                None if opaque => return Ok(false),
                None => {}
            },
            Found::Nothing if !opaque => {}
            Found::Nothing | Found::Other => return Ok(false),
        }
    }
    Ok(false)
}

fn is_whiteout(stat: &FileStat) -> bool {
    file_type(stat) == SFlag::S_IFCHR && stat.st_rdev == 0
}

/// What one layer has at a path, as overlayfs would look it up.
struct Look {
    found: Found,
    /// A directory on the way, or at its end, hides the layers below.
    opaque: bool,
}

enum Found {
    Directory(OwnedFd),
    /// Something else is there or on the way, which hides the layers below.
    Other,
    Nothing,
}

fn look(layer: BorrowedFd, path: &[u8]) -> Result<Look> {
    let mut here = reopen(layer, b".")?;
    let mut opaque = false;
    for name in path::names(path) {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        here = match openat(&here, c_string(name).as_c_str(), flags, Mode::empty()) {
            Ok(directory) => directory,
            Err(Errno::ENOENT) => return Ok(Look { found: Found::Nothing, opaque }),
            Err(Errno::ENOTDIR | Errno::ELOOP) => return Ok(Look { found: Found::Other, opaque }),
            Err(errno) => return Err(errno).with_context(|| format!("directory {} of a layer below", super::shown(path))),
        };
        opaque |= xattr::is(here.as_fd(), OPAQUE, b"y")?;
    }
    Ok(Look { found: Found::Directory(here), opaque })
}
