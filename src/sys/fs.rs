//! Files below a root that is not trusted: openat2(2) beneath a directory, extended attributes by descriptor, memfd.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::cvt;

/// The current directory for the *at calls.
pub const CWD: BorrowedFd<'static> = {
    // SAFETY: AT_FDCWD is no descriptor but a constant that every *at call accepts; it is never closed.
    unsafe { BorrowedFd::borrow_raw(libc::AT_FDCWD) }
};

/// `struct open_how` (openat2(2)).
#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

const RESOLVE_NO_MAGICLINKS: u64 = 0x02;
const RESOLVE_NO_SYMLINKS: u64 = 0x04;
const RESOLVE_BENEATH: u64 = 0x08;
const RESOLVE_IN_ROOT: u64 = 0x10;

/// Opens `path` as if `root` were `/`: absolute symlinks and `..` stay inside, magic links are refused (ELOOP).
pub fn open_in_root(root: BorrowedFd, path: &CStr, flags: i32, mode: u32) -> io::Result<OwnedFd> {
    openat2(root, path, flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
}

/// Opens `path` below `dir` and nowhere else: no symlink, no `..` out of it.
pub fn open_beneath(dir: BorrowedFd, path: &CStr, flags: i32, mode: u32) -> io::Result<OwnedFd> {
    openat2(dir, path, flags, mode, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
}

/// Opens `path` as any open would, but through no magic link (ELOOP).
pub fn open_no_magic(path: &CStr, flags: i32) -> io::Result<OwnedFd> {
    openat2(CWD, path, flags, 0, RESOLVE_NO_MAGICLINKS)
}

fn openat2(dir: BorrowedFd, path: &CStr, flags: i32, mode: u32, resolve: u64) -> io::Result<OwnedFd> {
    let creates = flags & (libc::O_CREAT | libc::O_TMPFILE) != 0;
    let how = OpenHow { flags: (flags | libc::O_CLOEXEC) as u64, mode: if creates { mode.into() } else { 0 }, resolve };
    loop {
        // SAFETY: a valid string and open_how of the size given.
        let fd =
            unsafe { libc::syscall(libc::SYS_openat2, dir.as_raw_fd(), path.as_ptr(), &raw const how, size_of::<OpenHow>()) };
        match cvt(fd) {
            // SAFETY: nobody else owns the new descriptor.
            Ok(fd) => return Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) }),
            // A rename raced with the walk: the kernel could not tell whether it stayed inside (openat2(2), EAGAIN).
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => {}
            Err(error) => return Err(error),
        }
    }
}

/// `/proc/self/fd/N`, for the calls that have no form by descriptor.
pub fn proc_path(fd: BorrowedFd) -> CString {
    CString::new(format!("/proc/self/fd/{}", fd.as_raw_fd())).expect("no NUL in a number")
}

/// Sets an extended attribute on a file that may be open O_PATH (setxattr(2) through /proc/self/fd).
pub fn set_xattr(fd: BorrowedFd, name: &CStr, value: &[u8]) -> io::Result<()> {
    // SAFETY: valid strings; pointer and length describe `value`.
    cvt(unsafe { libc::setxattr(proc_path(fd).as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) }.into())?;
    Ok(())
}

/// Reads an extended attribute; None where there is none (getxattr(2) through /proc/self/fd).
pub fn get_xattr(fd: BorrowedFd, name: &CStr) -> io::Result<Option<Vec<u8>>> {
    let mut value = vec![0u8; 64 << 10];
    // SAFETY: valid strings; the kernel writes at most value.len() bytes.
    match cvt(
        unsafe { libc::getxattr(proc_path(fd).as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) } as libc::c_long
    ) {
        Ok(length) => {
            value.truncate(length as usize);
            Ok(Some(value))
        }
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENODATA | libc::EOPNOTSUPP)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The names of a file's extended attributes (listxattr(2) through /proc/self/fd).
pub fn list_xattr(fd: BorrowedFd) -> io::Result<Vec<CString>> {
    let mut names = vec![0u8; 64 << 10];
    // SAFETY: a valid string; the kernel writes at most names.len() bytes.
    let length = cvt(unsafe { libc::listxattr(proc_path(fd).as_ptr(), names.as_mut_ptr().cast(), names.len()) } as libc::c_long);
    let length = match length {
        Ok(length) => length as usize,
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => 0,
        Err(error) => return Err(error),
    };
    Ok(names[..length].split(|&b| b == 0).filter(|n| !n.is_empty()).filter_map(|n| CString::new(n).ok()).collect())
}

/// An executable file in memory that nobody can change any more (memfd_create(2), F_ADD_SEALS).
pub fn sealed_memfd(name: &CStr, contents: &[u8]) -> io::Result<OwnedFd> {
    const MFD_EXEC: u32 = 0x10;
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: a valid string.
    let fd = cvt(unsafe { libc::memfd_create(name.as_ptr(), flags | MFD_EXEC) }.into())
        // Kernels before 6.3 do not know MFD_EXEC: there every memfd is executable.
        // SAFETY: as above.
        .or_else(|_| cvt(unsafe { libc::memfd_create(name.as_ptr(), flags) }.into()))?;
    // SAFETY: nobody else owns the new descriptor.
    let file = unsafe { OwnedFd::from_raw_fd(fd as RawFd) };
    nix::unistd::write(&file, contents)?;
    let seals = libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;
    // SAFETY: no pointers.
    cvt(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) }.into())?;
    Ok(file)
}

/// Writes back the file system that `fd` lies on (syncfs(2)).
pub fn sync_fs(fd: BorrowedFd) -> io::Result<()> {
    // SAFETY: no pointers.
    cvt(unsafe { libc::syncfs(fd.as_raw_fd()) }.into())?;
    Ok(())
}

/// The file system's magic number (statfs(2)).
pub fn fs_magic(fd: BorrowedFd) -> io::Result<i64> {
    // SAFETY: statfs is plain data for which zero is valid.
    let mut stat: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: stat is valid for writing.
    cvt(unsafe { libc::fstatfs(fd.as_raw_fd(), &raw mut stat) }.into())?;
    Ok(stat.f_type as i64)
}

/// The number of the mount that `fd` was opened on, unique while it is there (statx(2), STATX_MNT_ID of Linux 5.8).
pub fn mount_id(fd: BorrowedFd) -> io::Result<u64> {
    const STATX_MNT_ID: u32 = 0x1000;
    // SAFETY: statx is plain data for which zero is valid.
    let mut found: libc::statx = unsafe { std::mem::zeroed() };
    // SAFETY: a valid empty string, and found is valid for writing.
    let result = unsafe {
        libc::syscall(libc::SYS_statx, fd.as_raw_fd(), c"".as_ptr(), libc::AT_EMPTY_PATH, STATX_MNT_ID, &raw mut found)
    };
    cvt(result)?;
    if found.stx_mask & STATX_MNT_ID == 0 { Err(io::ErrorKind::Unsupported.into()) } else { Ok(found.stx_mnt_id) }
}
