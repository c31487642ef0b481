//! A tree to an archive, by descriptor: no symlink below the source is followed.

use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};

use super::scope::{Place, Scope, has_slash, kind};
use crate::image::path::join;
use crate::image::tar::write::Writer;
use crate::image::tar::{Entry, Kind};
use crate::rootfs::inroot::c_path;
use crate::sys::fs::{get_xattr, list_xattr, mount_id};
use crate::userns::idmap::{IdMapping, IdMaps};

/// A descriptor is held for each level on the way down.
const DEPTH: usize = 400;

/// Whether a source means a directory's contents and not the directory: `dir/.`.
pub fn is_contents(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    bytes == b"." || bytes.ends_with(b"/.")
}

/// Writes what is at `from`, under its own name (`.` for contents), and ends the archive. `maps`: ids are those of the container with these.
pub fn pack(scope: &Scope, from: &Path, follow: bool, to: impl Write, maps: Option<&IdMaps>) -> Result<()> {
    let contents = is_contents(from);
    let top = match from.file_name() {
        Some(name) if !contents => name.as_bytes().to_vec(),
        _ => b".".to_vec(),
    };
    let mut packing = Packing { writer: Writer::new(to), links: HashMap::new(), maps, mounts: None };
    match scope.find(from, follow || has_slash(from))? {
        Place::Directory(directory) => packing.directory(&reopened(directory.as_fd())?, &top, 0)?,
        Place::Name { found: None, .. } => bail!("{}: no such file or directory", from.display()),
        Place::Name { parent, name, found: Some(_) } => packing.entry(parent.as_fd(), &c_path(&name)?, &top, 0)?,
    }
    packing.writer.finish().context("cannot write the archive")?;
    Ok(())
}

/// Writes all that is below `root` and on these mounts, names beginning there, with attributes; any other mount is an empty place.
pub fn pack_whole(root: BorrowedFd, mounts: &HashSet<u64>, to: impl Write, maps: &IdMaps) -> Result<()> {
    let mut packing = Packing { writer: Writer::new(to), links: HashMap::new(), maps: Some(maps), mounts: Some(mounts) };
    packing.directory(&reopened(root)?, b"", 0)?;
    packing.writer.finish().context("cannot write the archive")?;
    Ok(())
}

/// For reading what was opened to be named only.
fn reopened(directory: BorrowedFd) -> Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    openat(directory, c".", flags, Mode::empty()).context("cannot read a directory")
}

struct Packing<'a, W> {
    writer: Writer<W>,
    /// Where the first name of a file with several was put.
    links: HashMap<(u64, u64), Vec<u8>>,
    maps: Option<&'a IdMaps>,
    /// Those whose files are wanted, with their attributes; None: of all mounts, and without.
    mounts: Option<&'a HashSet<u64>>,
}

impl<W: Write> Packing<'_, W> {
    fn directory(&mut self, directory: &OwnedFd, path: &[u8], depth: usize) -> Result<()> {
        if depth > DEPTH {
            bail!("more than {DEPTH} directories deep");
        }
        let stat = fstat(directory)?;
        if !path.is_empty() {
            let mut entry =
                Entry { xattrs: self.attributes(directory.as_fd())?, ..self.described(&stat, path, Kind::Directory, 0) };
            // As tar and Docker write it; what we read ourselves needs none.
            entry.path.extend(self.mounts.map(|_| b'/'));
            self.write(&entry, &mut io::empty())?;
        }
        if !self.wants(directory.as_fd())? {
            return Ok(());
        }
        let mut listing = Dir::from_fd(reopened(directory.as_fd())?).context("cannot read a directory")?;
        let mut names: Vec<CString> = listing.iter().filter_map(|entry| entry.ok().map(|e| e.file_name().to_owned())).collect();
        drop(listing);
        names.retain(|name| !matches!(name.to_bytes(), b"." | b".."));
        names.sort();
        for name in names {
            self.entry(directory.as_fd(), &name, &join(path, name.to_bytes()), depth + 1)?;
        }
        Ok(())
    }

    /// What has vanished meanwhile is not there.
    fn entry(&mut self, parent: BorrowedFd, name: &CString, path: &[u8], depth: usize) -> Result<()> {
        let stat = match fstatat(parent, name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) if depth > 0 => return Ok(()),
            other => other.with_context(|| format!("cannot read {}", shown(path)))?,
        };
        let what = match kind(&stat) {
            SFlag::S_IFREG => return self.file(parent, name, path),
            SFlag::S_IFDIR => {
                let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                let directory = openat(parent, name.as_c_str(), flags, Mode::empty());
                return self.directory(&directory.with_context(|| format!("cannot read {}", shown(path)))?, path, depth);
            }
            SFlag::S_IFLNK => {
                let target = readlinkat(parent, name.as_c_str()).with_context(|| format!("cannot read {}", shown(path)))?;
                Kind::Symlink(target.into_encoded_bytes())
            }
            SFlag::S_IFIFO => Kind::Fifo,
            SFlag::S_IFCHR => Kind::CharDevice(libc::major(stat.st_rdev).into(), libc::minor(stat.st_rdev).into()),
            SFlag::S_IFBLK => Kind::BlockDevice(libc::major(stat.st_rdev).into(), libc::minor(stat.st_rdev).into()),
            // A socket is nobody's without who listens at it.
            _ => return Ok(()),
        };
        self.write(&self.described(&stat, path, what, 0), &mut io::empty())
    }

    /// Opened before it is looked at: what is read is what was found to be a file.
    fn file(&mut self, parent: BorrowedFd, name: &CString, path: &[u8]) -> Result<()> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let fd = openat(parent, name.as_c_str(), flags, Mode::empty()).with_context(|| format!("cannot read {}", shown(path)))?;
        let stat = fstat(&fd)?;
        if kind(&stat) != SFlag::S_IFREG {
            bail!("{} has just been replaced", shown(path));
        }
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) {
                let link = Kind::Hardlink(first.clone());
                return self.write(&self.described(&stat, path, link, 0), &mut io::empty());
            }
            self.links.insert((stat.st_dev, stat.st_ino), path.to_vec());
        }
        let size = if self.wants(fd.as_fd())? { stat.st_size.unsigned_abs() } else { 0 };
        let entry = Entry { xattrs: self.attributes(fd.as_fd())?, ..self.described(&stat, path, Kind::File, size) };
        self.write(&entry, &mut File::from(fd))
    }

    fn wants(&self, fd: BorrowedFd) -> Result<bool> {
        match self.mounts {
            None => Ok(true),
            Some(mounts) => Ok(mounts.contains(&mount_id(fd).context("cannot tell mounts apart")?)),
        }
    }

    /// What an image can hold of them: the users' own, and a program's capabilities.
    fn attributes(&self, fd: BorrowedFd) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut found = Vec::new();
        if self.mounts.is_none() {
            return Ok(found);
        }
        let kept = |name: &CString| name.as_c_str() == c"security.capability" || name.to_bytes().starts_with(b"user.");
        for name in list_xattr(fd).unwrap_or_default().into_iter().filter(kept) {
            if let Some(value) = get_xattr(fd, &name).context("cannot read attributes")? {
                found.push((name.into_bytes(), value));
            }
        }
        Ok(found)
    }

    fn write(&mut self, entry: &Entry, body: &mut dyn io::Read) -> Result<()> {
        self.writer.entry(entry, body).with_context(|| format!("cannot copy {}", shown(&entry.path)))
    }

    fn described(&self, stat: &FileStat, path: &[u8], kind: Kind, size: u64) -> Entry {
        let (uid, gid) = match self.maps {
            Some(maps) => (inside(&maps.uid, stat.st_uid), inside(&maps.gid, stat.st_gid)),
            None => (stat.st_uid, stat.st_gid),
        };
        let mtime = (stat.st_mtime, stat.st_mtime_nsec as u32);
        Entry {
            path: path.into(),
            kind,
            mode: stat.st_mode & 0o7777,
            uid,
            gid,
            mtime,
            size,
            xattrs: Vec::new(),
            pieces: Vec::new(),
        }
    }
}

/// The container's number of an id in U; what it does not have is nobody's.
fn inside(map: &[IdMapping], id: u32) -> u32 {
    const NOBODY: u32 = 65_534;
    let line = map.iter().find(|line| id >= line.host_id && id - line.host_id < line.size);
    line.map_or(NOBODY, |line| line.container_id + (id - line.host_id))
}

fn shown(path: &[u8]) -> String {
    crate::image::tar::shown(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::userns::idmap::to_host;

    #[test]
    fn ids_of_u_become_the_containers() {
        let map = [IdMapping { container_id: 0, host_id: 1, size: 1000 }, IdMapping { container_id: 1000, host_id: 0, size: 1 }];
        assert_eq!((inside(&map, 1), inside(&map, 0), inside(&map, 5000)), (0, 1000, 65_534));
        assert_eq!(to_host(&map, 1000), Some(0));
    }

    #[test]
    fn a_dot_at_the_end_means_the_contents() {
        for (path, contents) in [("a/.", true), (".", true), ("a/", false), ("a", false), ("a/b.", false), ("/.", true)] {
            assert_eq!(is_contents(Path::new(path)), contents, "{path}");
        }
    }
}
