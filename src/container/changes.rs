//! What a container has changed in its files (`rl diff`): the upper directories of its overlays, compared with what lies below them.
//!
//! overlayfs keeps in the upper directory whatever was written, whole; what was deleted is a whiteout there, and a directory that was made
//! anew over another one is opaque (Linux, Documentation/filesystems/overlayfs.rst). With `userxattr` it knows no redirects: a directory that
//! is renamed is copied. Everything here is a container's and may change meanwhile: it is opened component by component, following nothing.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use serde::{Deserialize, Serialize};

use super::record::{self, Record};
use super::{launch, monitor};
use crate::host::paths::Paths;
use crate::rootfs::plan::{MountStep, RootSource};
use crate::sys::fs::{CWD, get_xattr};
use crate::userns::shared::Userns;
use crate::userns::spawn;

/// What has become of a path; ordered as Docker numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    Modified,
    Added,
    Deleted,
}

/// One path that is not as the image has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Change {
    /// Absolute in the container.
    pub path: String,
    pub kind: Kind,
}

/// Made by `rl` as places to mount on, whatever the image has there.
const PLACES: [&str; 6] = ["/dev", "/proc", "/sys", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];

/// And in a view of the host's directories, where these are always fresh.
const FRESH: [&str; 2] = ["/run", "/tmp"];

/// A descriptor is held for each level on the way down.
const DEPTH: usize = 200;

/// All changes, by path, of a container that runs or not.
pub fn of(record: &Record, paths: &Paths, userns: &Userns) -> Result<Vec<Change>> {
    let nested = monitor::nested(&record.config, &userns.plan.maps);
    spawn::worker(userns, || {
        let plan = launch::plan_of(&record.config, paths, &nested)?;
        let steps = || plan.staged.iter().chain(&plan.steps);
        if steps().any(|step| *step == MountStep::UpperOnTmpfs) {
            bail!("its changes are on a tmpfs that nobody else can look into");
        }
        let directory = record::open_directory(&record.directory)?;
        let fresh: &[&str] = if matches!(record.config.root, RootSource::Directory(_)) { &FRESH } else { &[] };
        let mut found = Changes { fresh, ..Changes::default() };
        for step in steps() {
            let MountStep::Overlay { at, lowers, upper, optional, .. } = step else { continue };
            let Some(upper) = open(directory.as_fd(), &CString::new(format!("upper.{upper}"))?)? else { continue };
            let lowers =
                lowers.iter().filter_map(|lower| Lower::open(CWD, lower.as_os_str()).transpose()).collect::<Result<Vec<_>>>();
            let lowers = match lowers {
                // A directory of the host's that is closed to us is not in the view.
                Err(_) if *optional => continue,
                other => other?,
            };
            if found.directory(&upper, &lowers, at, 0)? && at != Path::new("/") {
                found.add(Kind::Modified, at);
            }
        }
        found.changes.sort();
        Ok(found.changes)
    })
}

/// A directory of a layer.
struct Lower {
    fd: OwnedFd,
    opacity: Opacity,
}

/// What `user.overlay.opaque` says of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opacity {
    Clear,
    /// `y`: nothing of what lies below shows.
    Opaque,
    /// `x`: files in it may be whiteouts by attribute.
    Marked,
}

fn opacity(directory: BorrowedFd) -> Result<Opacity> {
    let value = get_xattr(directory, c"user.overlay.opaque").context("cannot read attributes")?;
    Ok(match value.as_deref() {
        Some(b"y") => Opacity::Opaque,
        Some(b"x") => Opacity::Marked,
        _ => Opacity::Clear,
    })
}

impl Lower {
    fn open(parent: BorrowedFd, name: &OsStr) -> Result<Option<Lower>> {
        let Some(fd) = open(parent, &CString::new(name.as_bytes())?)? else { return Ok(None) };
        let opacity = opacity(fd.as_fd())?;
        Ok(Some(Lower { fd, opacity }))
    }
}

/// What the layers have under a name.
enum Below {
    Nothing,
    Directory(Vec<Lower>),
    /// Anything else, in the layer with this number.
    File(FileStat, usize),
}

/// As overlayfs looks a name up: from the topmost layer down, until something hides the rest.
fn look_up(lowers: &[Lower], name: &CStr) -> Result<Below> {
    let mut directories = Vec::new();
    for (number, layer) in lowers.iter().enumerate() {
        let Some(stat) = stat(layer.fd.as_fd(), name)? else { continue };
        if is_whiteout(layer.fd.as_fd(), layer.opacity, name, &stat)? {
            break;
        }
        if file_type(&stat) != SFlag::S_IFDIR {
            if directories.is_empty() {
                return Ok(Below::File(stat, number));
            }
            break;
        }
        let Some(directory) = Lower::open(layer.fd.as_fd(), OsStr::from_bytes(name.to_bytes()))? else { continue };
        let hides = directory.opacity == Opacity::Opaque;
        directories.push(directory);
        if hides {
            break;
        }
    }
    Ok(if directories.is_empty() { Below::Nothing } else { Below::Directory(directories) })
}

#[derive(Default)]
struct Changes {
    /// Paths that are ours beside [`PLACES`].
    fresh: &'static [&'static str],
    changes: Vec<Change>,
}

impl Changes {
    fn add(&mut self, kind: Kind, path: &Path) {
        self.changes.push(Change { path: path.to_string_lossy().into_owned(), kind });
    }

    /// What has changed in a directory of an upper; whether anything has. `path` is the container's.
    fn directory(&mut self, upper: &OwnedFd, lowers: &[Lower], path: &Path, depth: usize) -> Result<bool> {
        if depth > DEPTH {
            bail!("more than {DEPTH} directories deep");
        }
        let before = self.changes.len();
        let opacity = opacity(upper.as_fd())?;
        let names = names(upper)?;
        for name in &names {
            self.entry(upper, opacity, name, lowers, &path.join(OsStr::from_bytes(name.to_bytes())), depth)?;
        }
        if opacity == Opacity::Opaque {
            let mut hidden = BTreeSet::new();
            for lower in lowers {
                hidden.extend(self::names(&lower.fd)?);
            }
            for name in hidden.difference(&names) {
                if !matches!(look_up(lowers, name)?, Below::Nothing) {
                    self.add(Kind::Deleted, &path.join(OsStr::from_bytes(name.to_bytes())));
                }
            }
        }
        Ok(self.changes.len() > before)
    }

    fn entry(
        &mut self,
        upper: &OwnedFd,
        opacity: Opacity,
        name: &CStr,
        lowers: &[Lower],
        path: &Path,
        depth: usize,
    ) -> Result<()> {
        // What has vanished meanwhile is not there.
        let Some(found) = stat(upper.as_fd(), name)? else { return Ok(()) };
        if PLACES.iter().chain(self.fresh).any(|place| path == Path::new(place)) {
            return Ok(());
        }
        let below = look_up(lowers, name).with_context(|| format!("cannot read {} of the image", path.display()))?;
        if is_whiteout(upper.as_fd(), opacity, name, &found)? {
            if !matches!(below, Below::Nothing) {
                self.add(Kind::Deleted, path);
            }
            return Ok(());
        }
        if file_type(&found) != SFlag::S_IFDIR {
            match below {
                Below::Nothing => self.add(Kind::Added, path),
                Below::File(old, number) if same_file(&old, &found) && same_capability(&lowers[number].fd, upper, name)? => {}
                Below::File(..) | Below::Directory(_) => self.add(Kind::Modified, path),
            }
            return Ok(());
        }
        let Some(directory) = open(upper.as_fd(), name)? else { return Ok(()) };
        match below {
            Below::Nothing => {
                self.add(Kind::Added, path);
                self.directory(&directory, &[], path, depth + 1).map(drop)
            }
            Below::File(..) => {
                self.add(Kind::Modified, path);
                self.directory(&directory, &[], path, depth + 1).map(drop)
            }
            Below::Directory(lowers) => {
                let old = lowers.first().map(|lower| fstat(&lower.fd)).transpose()?;
                // As Docker: one in which something has changed has changed itself.
                if self.directory(&directory, &lowers, path, depth + 1)?
                    || old.is_some_and(|old| !same_owner_and_mode(&old, &found))
                {
                    self.add(Kind::Modified, path);
                }
                Ok(())
            }
        }
    }
}

fn same_owner_and_mode(old: &FileStat, new: &FileStat) -> bool {
    (old.st_mode, old.st_uid, old.st_gid) == (new.st_mode, new.st_uid, new.st_gid)
}

/// Docker's measure: contents are not compared, but size and time.
fn same_file(old: &FileStat, new: &FileStat) -> bool {
    let of = |stat: &FileStat| (stat.st_rdev, stat.st_size, stat.st_mtime, stat.st_mtime_nsec);
    same_owner_and_mode(old, new) && of(old) == of(new)
}

/// A program's capabilities are an attribute (capabilities(7)).
fn same_capability(old: &OwnedFd, new: &OwnedFd, name: &CStr) -> Result<bool> {
    let of = |parent: &OwnedFd| -> Result<Option<Vec<u8>>> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match openat(parent, name, flags, Mode::empty()) {
            Ok(file) => Ok(get_xattr(file.as_fd(), c"security.capability").unwrap_or(None)),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    };
    Ok(of(old)? == of(new)?)
}

/// A device 0:0; or in a directory that is marked so, an empty file with an attribute.
fn is_whiteout(parent: BorrowedFd, opacity: Opacity, name: &CStr, stat: &FileStat) -> Result<bool> {
    match file_type(stat) {
        SFlag::S_IFCHR => Ok(stat.st_rdev == 0),
        SFlag::S_IFREG if opacity == Opacity::Marked && stat.st_size == 0 => {
            let file = openat(parent, name, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?;
            Ok(get_xattr(file.as_fd(), c"user.overlay.whiteout")?.is_some())
        }
        _ => Ok(false),
    }
}

fn file_type(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

fn stat(parent: BorrowedFd, name: &CStr) -> Result<Option<FileStat>> {
    match fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(errno).with_context(|| format!("cannot read {}", name.to_string_lossy())),
    }
}

/// A directory; None where there is none (any more).
fn open(parent: BorrowedFd, name: &CStr) -> Result<Option<OwnedFd>> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match openat(parent, name, flags, Mode::empty()) {
        Ok(directory) => Ok(Some(directory)),
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(None),
        Err(errno) => Err(errno).with_context(|| format!("cannot read directory {}", name.to_string_lossy())),
    }
}

fn names(directory: &OwnedFd) -> Result<BTreeSet<CString>> {
    let own = openat(directory, c".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut listing = Dir::from_fd(own).context("cannot read a directory")?;
    let mut names = BTreeSet::new();
    for entry in listing.iter() {
        let entry = entry.context("cannot read a directory")?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.insert(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::mknod;
    use std::fs;

    /// Makes a tree: `dir/`, `file=text`, `-gone`.
    fn tree(root: &Path, entries: &[&str]) {
        fs::create_dir_all(root).unwrap();
        for entry in entries {
            if let Some(name) = entry.strip_prefix('-') {
                mknod(&root.join(name), SFlag::S_IFCHR, Mode::S_IRUSR, 0).unwrap();
            } else if let Some((name, text)) = entry.split_once('=') {
                fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
                fs::write(root.join(name), text).unwrap();
            } else {
                fs::create_dir_all(root.join(entry)).unwrap();
            }
        }
    }

    fn changed(upper: &[&str], lowers: &[&[&str]]) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        tree(&dir.path().join("upper"), upper);
        let mut layers = Vec::new();
        for (number, lower) in lowers.iter().enumerate() {
            let path = dir.path().join(number.to_string());
            tree(&path, lower);
            layers.push(Lower::open(CWD, path.as_os_str()).unwrap().unwrap());
        }
        let upper = fs::File::open(dir.path().join("upper")).unwrap().into();
        let mut found = Changes::default();
        found.directory(&upper, &layers, Path::new("/"), 0).unwrap();
        found.changes.sort();
        let letter = |kind: Kind| ["C", "A", "D"][kind as usize];
        found.changes.iter().map(|change| format!("{} {}", letter(change.kind), change.path)).collect()
    }

    #[test]
    fn what_was_written_deleted_and_replaced_is_told_as_docker_does() {
        let image: &[&str] = &["etc/passwd=root", "etc/old=1", "usr/bin/x=1", "srv/f=1"];
        assert_eq!(changed(&["etc/passwd=root2", "etc/new=1"], &[image]), ["C /etc", "A /etc/new", "C /etc/passwd"]);
        assert_eq!(changed(&["etc", "-etc/old"], &[image]), ["C /etc", "D /etc/old"]);
        assert_eq!(changed(&["new/dir/f=1"], &[image]), ["A /new", "A /new/dir", "A /new/dir/f"]);
        assert_eq!(changed(&["etc=now a file"], &[image]), ["C /etc"]);
        assert_eq!(changed(&["srv/f/g=1"], &[image]), ["C /srv", "C /srv/f", "A /srv/f/g"]);
        // Copied up and left as it was, or made by us.
        assert_eq!(changed(&["etc", "usr/bin", "proc", "dev", "-nothing"], &[image]), [] as [&str; 0]);
    }

    #[test]
    fn layers_hide_what_lies_below_them() {
        let lowers: &[&[&str]] = &[&["-gone", "d/top=1", "file=1"], &["gone=1", "d/low=1", "file/x=1"]];
        assert_eq!(
            changed(&["gone=1", "d", "-d/top", "-d/low", "file=22"], lowers),
            ["C /d", "D /d/low", "D /d/top", "C /file", "A /gone"]
        );
    }
}
