//! Where a path is resolved: on the host as the caller's shell would, or in a container beneath its root.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat};

use crate::rootfs::inroot::c_path;
use crate::sys::fs::{CWD, open_in_root};

/// As many symlinks as the kernel follows in one path (path_resolution(7)).
const MAX_LINKS: u32 = 40;

/// One of the two worlds.
pub enum Scope {
    Host,
    /// The container's root, open.
    Container(OwnedFd),
}

/// What a path leads to: a directory, open (O_PATH), or a name in one.
pub enum Place {
    Directory(OwnedFd),
    /// What is there under the name, no symlink; None where nothing is.
    Name {
        parent: OwnedFd,
        name: PathBuf,
        found: Option<FileStat>,
    },
}

impl Scope {
    /// Opens a directory, following symlinks: within the container, where it is one's.
    pub fn directory(&self, path: &Path) -> io::Result<OwnedFd> {
        let flags = libc::O_PATH | libc::O_DIRECTORY;
        match self {
            Scope::Host => {
                let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
                let flags = OFlag::from_bits_truncate(flags) | OFlag::O_CLOEXEC;
                Ok(openat(CWD, c_path(path)?.as_c_str(), flags, Mode::empty())?)
            }
            Scope::Container(root) => {
                let path = Path::new("/").join(path);
                open_in_root(root.as_fd(), &c_path(&path)?, flags, 0)
            }
        }
    }

    /// What is at `path`. A symlink at its end is followed if `follow`, and wherever the path ends with a slash.
    pub fn find(&self, path: &Path, follow: bool) -> Result<Place> {
        let mut path = path.to_path_buf();
        for _ in 0..MAX_LINKS {
            let slash = has_slash(&path);
            let (parent, name) = match (path.parent(), path.file_name()) {
                (Some(parent), Some(name)) => (parent.to_path_buf(), PathBuf::from(name)),
                // `/`, `.`, `..` and what ends with them.
                _ => return self.directory(&path).map(Place::Directory).with_context(|| shown(&path)),
            };
            let opened = self.directory(&parent).with_context(|| shown(&parent))?;
            let found = match fstatat(&opened, c_path(&name)?.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
                Ok(found) => Some(found),
                Err(Errno::ENOENT) => None,
                Err(errno) => return Err(errno).with_context(|| shown(&path)),
            };
            match found.as_ref().map(kind) {
                Some(SFlag::S_IFDIR) => {
                    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                    let directory = openat(&opened, c_path(&name)?.as_c_str(), flags, Mode::empty());
                    return directory.map(Place::Directory).with_context(|| shown(&path));
                }
                Some(SFlag::S_IFLNK) if follow || slash => {
                    let target = readlinkat(&opened, c_path(&name)?.as_c_str()).with_context(|| shown(&path))?;
                    path = parent.join(target);
                    if slash {
                        path.push("");
                    }
                }
                Some(_) if slash => bail!("{}: not a directory", path.display()),
                _ => return Ok(Place::Name { parent: opened, name, found }),
            }
        }
        bail!("{}: too many symlinks", path.display())
    }
}

/// Whether the path says that it is a directory.
pub fn has_slash(path: &Path) -> bool {
    let bytes = path.as_os_str().as_encoded_bytes();
    bytes.ends_with(b"/") || bytes.ends_with(b"/.") || bytes == b"."
}

/// The type in a status.
pub fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

fn shown(path: &Path) -> String {
    if path.as_os_str().is_empty() { "cannot open .".into() } else { format!("cannot open {}", path.display()) }
}
