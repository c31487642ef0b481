//! Extended attributes by descriptor, where no /proc is at hand: after chroot (fsetxattr(2), fgetxattr(2)).

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::cvt;

/// Sets an attribute of an open file or directory; O_PATH will not do.
pub fn set(fd: BorrowedFd, name: &CStr, value: &[u8]) -> io::Result<()> {
    // SAFETY: a valid string; pointer and length describe `value`.
    cvt(unsafe { libc::fsetxattr(fd.as_raw_fd(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) }.into())?;
    Ok(())
}

/// Removes an attribute of an open file or directory, where it is there and such attributes are at all.
pub fn remove(fd: BorrowedFd, name: &CStr) -> io::Result<()> {
    // SAFETY: a valid string.
    match cvt(unsafe { libc::fremovexattr(fd.as_raw_fd(), name.as_ptr()) }.into()) {
        Err(error) if !matches!(error.raw_os_error(), Some(libc::ENODATA | libc::EOPNOTSUPP)) => Err(error),
        _ => Ok(()),
    }
}

/// Whether an attribute of an open file or directory has exactly this value.
pub fn is(fd: BorrowedFd, name: &CStr, value: &[u8]) -> io::Result<bool> {
    let mut found = vec![0u8; value.len() + 1];
    // SAFETY: a valid string; the kernel writes at most found.len() bytes.
    match cvt(unsafe { libc::fgetxattr(fd.as_raw_fd(), name.as_ptr(), found.as_mut_ptr().cast(), found.len()) } as libc::c_long) {
        Ok(length) => Ok(found[..length as usize] == *value),
        Err(error) => match error.raw_os_error() {
            Some(libc::ENODATA | libc::EOPNOTSUPP | libc::ERANGE) => Ok(false),
            _ => Err(error),
        },
    }
}
