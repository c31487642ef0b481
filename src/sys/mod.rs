//! The kernel's interfaces that neither std nor nix has, as safe functions. The only place where `unsafe` may stand.

#![allow(unsafe_code)]

pub mod beside;
pub mod caps;
pub mod entry;
pub mod failpoint;
pub mod fs;
pub mod inet;
pub mod mount;
pub mod net;
pub mod packet;
pub mod process;
pub mod sock;
pub mod spawn;
#[cfg(own_start)]
mod start;
pub mod time;
pub mod trampoline;
pub mod tty;
pub mod xattr;

use std::io;

/// A raw return value as a Result with errno.
fn cvt(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
