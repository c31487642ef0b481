//! The one place where paths from an image or a flag are opened: beneath the container's root, once, by descriptor.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::readlinkat;
use nix::sys::stat::{Mode, SFlag, mkdirat};

use crate::sys::fs::{open_beneath, open_in_root};

/// As many symlinks as the kernel follows in one path (path_resolution(7)).
const MAX_LINKS: u32 = 40;

const O_PATH_DIR: i32 = libc::O_PATH | libc::O_DIRECTORY;

/// A path as the kernel takes it; a NUL byte is an error, not a panic.
pub fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "path has a NUL byte"))
}

/// The directory at `path`, made with its missing parents (0755, container root's).
pub fn directory(root: BorrowedFd, path: &Path) -> io::Result<OwnedFd> {
    match open_in_root(root, &c_path(path)?, O_PATH_DIR, 0) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => make_directories(root, path, MAX_LINKS),
        other => other,
    }
}

/// Walks by prefix: each is resolved in the root as a whole, so a symlink on the way leads where it leads inside, and a missing
/// name is made in the very directory that was opened. A dangling symlink's target is made, inside too, as Docker does.
fn make_directories(root: BorrowedFd, path: &Path, links: u32) -> io::Result<OwnedFd> {
    let mut at = root.try_clone_to_owned()?;
    let mut prefix = PathBuf::from("/");
    let mut parts = path.components();
    while let Some(part) = parts.next() {
        let name = match part {
            Component::Normal(name) => name,
            Component::ParentDir => {
                prefix.pop();
                at = open_in_root(root, &c_path(&prefix)?, O_PATH_DIR, 0)?;
                continue;
            }
            _ => continue,
        };
        let parent = prefix.clone();
        prefix.push(name);
        at = match open_in_root(root, &c_path(&prefix)?, O_PATH_DIR, 0) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => match readlinkat(&at, name) {
                Ok(_) if links == 0 => return Err(io::Error::from_raw_os_error(libc::ELOOP)),
                Ok(target) => return make_directories(root, &parent.join(target).join(parts.as_path()), links - 1),
                Err(_) => make_one(at.as_fd(), name)?,
            },
            other => other?,
        };
    }
    Ok(at)
}

fn make_one(parent: BorrowedFd, name: &OsStr) -> io::Result<OwnedFd> {
    let name = c_path(Path::new(name))?;
    match mkdirat(parent, name.as_c_str(), Mode::from_bits_truncate(0o755)) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno.into()),
    }
    // What came in its place meanwhile is not followed.
    open_beneath(parent, &name, O_PATH_DIR, 0)
}

/// The file at `path`, made empty (0644) where it is missing: a place to mount a file on. A dangling symlink is replaced.
pub fn file(root: BorrowedFd, path: &Path) -> io::Result<OwnedFd> {
    let c = c_path(path)?;
    match open_in_root(root, &c, libc::O_PATH, 0) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
        other => return other,
    }
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let parent = directory(root, path.parent().unwrap_or(Path::new("/")))?;
    let name = c_path(Path::new(name))?;
    let create = libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY | libc::O_NOFOLLOW;
    match open_beneath(parent.as_fd(), &name, create, 0o644) {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
            nix::unistd::unlinkat(&parent, name.as_c_str(), nix::unistd::UnlinkatFlags::NoRemoveDir)?;
            open_beneath(parent.as_fd(), &name, create, 0o644)?;
        }
        other => drop(other?),
    }
    open_beneath(parent.as_fd(), &name, libc::O_PATH, 0)
}

/// A regular file's contents for reading: never blocks on a FIFO, never leaves the root, at most `limit` bytes.
/// None where there is no such file.
pub fn read(root: BorrowedFd, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    use std::io::Read;
    let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY;
    let fd = match open_in_root(root, &c_path(path)?, flags, 0) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let stat = nix::sys::stat::fstat(&fd)?;
    if SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) != SFlag::S_IFREG {
        return Err(io::Error::other(format!("{} is not a regular file", path.display())));
    }
    let too_large = || Err(io::Error::other(format!("{} is larger than {limit} bytes", path.display())));
    if stat.st_size as u64 > limit {
        return too_large();
    }
    // With room for more, for the end shows in the read after the last.
    let mut bytes = Vec::with_capacity(stat.st_size as usize + 32);
    std::fs::File::from(fd).take(limit + 1).read_to_end(&mut bytes)?;
    // A file of /proc's has no size, and any may have grown.
    if bytes.len() as u64 > limit { too_large() } else { Ok(Some(bytes)) }
}

/// The type of what is open.
pub fn file_type(fd: BorrowedFd) -> io::Result<SFlag> {
    let mode = nix::sys::stat::fstat(fd)?.st_mode;
    Ok(SFlag::from_bits_truncate(mode & SFlag::S_IFMT.bits()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn root() -> (tempfile::TempDir, fs::File) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("root")).unwrap();
        let root = fs::File::open(dir.path().join("root")).unwrap();
        (dir, root)
    }

    #[test]
    fn an_absolute_symlink_stays_inside() {
        let (dir, root) = root();
        symlink("/outside", dir.path().join("root/link")).unwrap();
        fs::create_dir(dir.path().join("root/outside")).unwrap();
        directory(root.as_fd(), Path::new("/link/made/here")).unwrap();
        assert!(dir.path().join("root/outside/made/here").is_dir());
    }

    #[test]
    fn dots_cannot_leave() {
        let (dir, root) = root();
        symlink("../../..", dir.path().join("root/up")).unwrap();
        directory(root.as_fd(), Path::new("/up/made")).unwrap();
        assert!(dir.path().join("root/made").is_dir());
        directory(root.as_fd(), Path::new("/missing/../../x")).unwrap();
        assert!(dir.path().join("root/x").is_dir() && !dir.path().join("x").exists());
    }

    #[test]
    fn the_target_of_a_dangling_symlink_is_made_inside_and_a_circle_ends() {
        let (dir, root) = root();
        symlink("/some/missing", dir.path().join("root/abs")).unwrap();
        symlink("../up", dir.path().join("root/rel")).unwrap();
        symlink("circle", dir.path().join("root/circle")).unwrap();
        directory(root.as_fd(), Path::new("/abs/dir")).unwrap();
        directory(root.as_fd(), Path::new("/rel")).unwrap();
        assert!(dir.path().join("root/some/missing/dir").is_dir() && dir.path().join("root/up").is_dir());
        assert!(directory(root.as_fd(), Path::new("/circle/x")).is_err());
    }

    #[test]
    fn a_dangling_symlink_in_a_files_place_is_replaced_inside() {
        let (dir, root) = root();
        symlink("/run/resolve/stub", dir.path().join("root/resolv.conf")).unwrap();
        file(root.as_fd(), Path::new("/resolv.conf")).unwrap();
        assert!(dir.path().join("root/resolv.conf").symlink_metadata().unwrap().is_file());
    }

    #[test]
    fn a_fifo_is_not_read_and_a_large_file_is_refused() {
        let (dir, root) = root();
        nix::unistd::mkfifo(&dir.path().join("root/fifo"), Mode::S_IRWXU).unwrap();
        assert!(read(root.as_fd(), Path::new("/fifo"), 10).is_err());
        fs::write(dir.path().join("root/large"), vec![b'x'; 11]).unwrap();
        assert!(read(root.as_fd(), Path::new("/large"), 10).is_err());
        assert!(read(root.as_fd(), Path::new("/absent"), 10).unwrap().is_none());
    }
}
