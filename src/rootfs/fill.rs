//! The first use of a volume: it takes the contents, owner and mode of the image's directory at that place, as Docker has it.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag, readlinkat};
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, fchmod, fstat, mkdirat, mknodat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchownat, symlinkat};

use crate::sys::fs::{CWD, get_xattr, list_xattr, open_beneath, proc_path, set_xattr};

/// Copies `image` (a directory below the root) into `volume` where the volume is still empty.
pub fn from_image(image: BorrowedFd, volume: BorrowedFd) -> io::Result<()> {
    let volume = reopen(volume)?;
    // Two containers that use a new volume at once: one fills it, the other finds it filled.
    let lock = std::fs::File::from(volume.try_clone()?);
    lock.lock()?;
    if !is_empty(volume.as_fd())? {
        return Ok(());
    }
    let image = reopen(image)?;
    copy_children(image.as_fd(), volume.as_fd())?;
    copy_metadata(image.as_fd(), volume.as_fd())
}

fn reopen(fd: BorrowedFd) -> io::Result<OwnedFd> {
    open_beneath(fd, c".", libc::O_RDONLY | libc::O_DIRECTORY, 0)
}

fn is_empty(dir: BorrowedFd) -> io::Result<bool> {
    Ok(names(dir)?.is_empty())
}

fn names(dir: BorrowedFd) -> io::Result<Vec<std::ffi::CString>> {
    let mut dir = Dir::openat(dir, c".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut names = Vec::new();
    for entry in dir.iter() {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

fn copy_children(from: BorrowedFd, to: BorrowedFd) -> io::Result<()> {
    for name in names(from)? {
        copy_one(from, to, &name)?;
    }
    Ok(())
}

fn copy_one(from: BorrowedFd, to: BorrowedFd, name: &CStr) -> io::Result<()> {
    let source = open_beneath(from, name, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
    let mode = fstat(&source)?.st_mode;
    match SFlag::from_bits_truncate(mode & SFlag::S_IFMT.bits()) {
        SFlag::S_IFDIR => {
            mkdirat(to, name, Mode::S_IRWXU)?;
            let (inner, made) = (reopen(source.as_fd())?, open_beneath(to, name, libc::O_RDONLY | libc::O_DIRECTORY, 0)?);
            copy_children(inner.as_fd(), made.as_fd())?;
            copy_metadata(source.as_fd(), made.as_fd())
        }
        SFlag::S_IFREG => {
            let flags = libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY;
            let made = open_beneath(to, name, flags, 0o600)?;
            let mut reader = std::fs::File::from(open_beneath(from, name, libc::O_RDONLY | libc::O_NOFOLLOW, 0)?);
            let mut writer = std::fs::File::from(made.try_clone()?);
            io::copy(&mut reader, &mut writer)?;
            copy_metadata(source.as_fd(), made.as_fd())
        }
        SFlag::S_IFLNK => {
            let target = readlinkat(&source, c"")?;
            symlinkat(target.as_os_str(), to, name)?;
            copy_owner_and_times(source.as_fd(), to, name)
        }
        SFlag::S_IFIFO => {
            mknodat(to, name, SFlag::S_IFIFO, Mode::from_bits_truncate(mode & 0o7777), 0)?;
            copy_owner_and_times(source.as_fd(), to, name)
        }
        // Sockets and devices mean nothing in a new place.
        _ => Ok(()),
    }
}

fn copy_owner_and_times(from: BorrowedFd, dir: BorrowedFd, name: &CStr) -> io::Result<()> {
    let stat = fstat(from)?;
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    fchownat(dir, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)?;
    let time = |seconds, nanoseconds| TimeSpec::new(seconds, nanoseconds);
    let (accessed, modified) = (time(stat.st_atime, stat.st_atime_nsec), time(stat.st_mtime, stat.st_mtime_nsec));
    utimensat(dir, name, &accessed, &modified, UtimensatFlags::NoFollowSymlink)?;
    Ok(())
}

/// Owner before mode (a change of owner clears set-id bits), times last.
fn copy_metadata(from: BorrowedFd, to: BorrowedFd) -> io::Result<()> {
    let stat = fstat(from)?;
    for name in list_xattr(from)? {
        if !name.to_bytes().starts_with(b"user.overlay.")
            && let Some(value) = get_xattr(from, &name)?
        {
            set_xattr(to, &name, &value)
                .or_else(|error| if error.raw_os_error() == Some(libc::EPERM) { Ok(()) } else { Err(error) })?;
        }
    }
    nix::unistd::fchown(to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    fchmod(to, Mode::from_bits_truncate(stat.st_mode & 0o7777))?;
    let path = proc_path(to);
    let time = |seconds, nanoseconds| TimeSpec::new(seconds, nanoseconds);
    let (accessed, modified) = (time(stat.st_atime, stat.st_atime_nsec), time(stat.st_mtime, stat.st_mtime_nsec));
    utimensat(CWD, path.as_c_str(), &accessed, &modified, UtimensatFlags::FollowSymlink)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    #[test]
    fn an_empty_volume_takes_contents_and_mode_and_a_used_one_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (image, volume) = (dir.path().join("image"), dir.path().join("volume"));
        fs::create_dir_all(image.join("sub")).unwrap();
        fs::create_dir(&volume).unwrap();
        fs::write(image.join("sub/file"), "data").unwrap();
        symlink("/etc/passwd", image.join("link")).unwrap();
        fs::set_permissions(&image, PermissionsExt::from_mode(0o1770)).unwrap();
        let open = |path| fs::File::open(path).unwrap();
        from_image(open(&image).as_fd(), open(&volume).as_fd()).unwrap();
        assert_eq!(fs::read(volume.join("sub/file")).unwrap(), b"data");
        assert_eq!(fs::read_link(volume.join("link")).unwrap().to_str(), Some("/etc/passwd"));
        assert_eq!(fs::metadata(&volume).unwrap().mode() & 0o7777, 0o1770);
        fs::write(image.join("later"), "x").unwrap();
        from_image(open(&image).as_fd(), open(&volume).as_fd()).unwrap();
        assert!(!volume.join("later").exists());
    }
}
