//! Terminals: the pty pair of a container, its size, raw mode (pty(7), ioctl_tty(2), termios(3)).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::cvt;

nix::ioctl_read_bad!(get_window, libc::TIOCGWINSZ, libc::winsize);
nix::ioctl_write_ptr_bad!(set_window, libc::TIOCSWINSZ, libc::winsize);

/// The slave of a pty by its master, without a path that something in a container could have replaced (TIOCGPTPEER).
pub fn peer(master: BorrowedFd) -> io::Result<OwnedFd> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: TIOCGPTPEER takes open flags and returns a new descriptor.
    let fd = cvt(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) }.into())?;
    // SAFETY: nobody else owns the new descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Unlocks the slave (TIOCSPTLCK).
pub fn unlock(master: BorrowedFd) -> io::Result<()> {
    let locked: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads an int.
    cvt(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const locked) }.into())?;
    Ok(())
}

/// Makes `tty` the controlling terminal of this session leader (TIOCSCTTY).
pub fn control(tty: BorrowedFd) -> io::Result<()> {
    // SAFETY: takes an integer.
    cvt(unsafe { libc::ioctl(tty.as_raw_fd(), libc::TIOCSCTTY, 0) }.into())?;
    Ok(())
}

/// Rows and columns of a terminal.
pub fn size(tty: BorrowedFd) -> io::Result<(u16, u16)> {
    // SAFETY: winsize is plain data for which zero is valid.
    let mut window: libc::winsize = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel fills a winsize.
    unsafe { get_window(tty.as_raw_fd(), &raw mut window) }?;
    Ok((window.ws_row, window.ws_col))
}

/// Sets rows and columns; the foreground group gets SIGWINCH when they change.
pub fn set_size(tty: BorrowedFd, (rows, columns): (u16, u16)) -> io::Result<()> {
    let window = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel reads a winsize.
    unsafe { set_window(tty.as_raw_fd(), &raw const window) }?;
    Ok(())
}
