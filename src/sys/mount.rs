//! The file-descriptor mount interface (fsopen(2), fsconfig(2), fsmount(2), open_tree(2), move_mount(2), mount_setattr(2)).

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::cvt;

/// MOUNT_ATTR_* (mount_setattr(2)).
pub mod attr {
    pub const RDONLY: u64 = 1;
    pub const NOSUID: u64 = 2;
    pub const NODEV: u64 = 4;
    pub const NOEXEC: u64 = 8;
}

/// Propagation for [`set_attr`] (mount_namespaces(7)).
pub mod propagation {
    pub const PRIVATE: u64 = libc::MS_PRIVATE;
    pub const SLAVE: u64 = libc::MS_SLAVE;
    pub const SHARED: u64 = libc::MS_SHARED;
}

const AT_RECURSIVE: u32 = 0x8000;
const EMPTY_PATH: u32 = libc::AT_EMPTY_PATH as u32;

/// A file system being configured (fsopen(2)); [`FsContext::mount`] makes it a detached mount.
pub struct FsContext(OwnedFd, CString);

impl FsContext {
    /// A new instance of file system type `kind`.
    pub fn open(kind: &CStr) -> io::Result<FsContext> {
        const FSOPEN_CLOEXEC: u32 = 1;
        // SAFETY: a valid string; the result is a new descriptor.
        let fd = cvt(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC) })?;
        // SAFETY: nobody else owns the new descriptor.
        Ok(FsContext(unsafe { OwnedFd::from_raw_fd(fd as RawFd) }, kind.to_owned()))
    }

    fn config(&self, command: u32, key: *const libc::c_char, value: *const libc::c_char, aux: RawFd) -> io::Result<()> {
        // SAFETY: callers below pass null or valid strings, as the command demands.
        cvt(unsafe { libc::syscall(libc::SYS_fsconfig, self.0.as_raw_fd(), command, key, value, aux) })
            .map(drop)
            .map_err(|error| self.explain(error))
    }

    /// `key` without a value.
    pub fn flag(&self, key: &CStr) -> io::Result<()> {
        self.config(0, key.as_ptr(), std::ptr::null(), 0)
    }

    /// `key=value`.
    pub fn string(&self, key: &CStr, value: &CStr) -> io::Result<()> {
        self.config(1, key.as_ptr(), value.as_ptr(), 0)
    }

    /// Creates the superblock and a detached mount of it with MOUNT_ATTR_* `attrs`.
    pub fn mount(&self, attrs: u64) -> io::Result<OwnedFd> {
        const FSMOUNT_CLOEXEC: u32 = 1;
        // What mount(8) and df(1) show as the device.
        self.string(c"source", &self.1)?;
        self.config(6, std::ptr::null(), std::ptr::null(), 0)?;
        // SAFETY: no pointers; the result is a new descriptor.
        let fd = cvt(unsafe { libc::syscall(libc::SYS_fsmount, self.0.as_raw_fd(), FSMOUNT_CLOEXEC, attrs as u32) })
            .map_err(|error| self.explain(error))?;
        // SAFETY: nobody else owns the new descriptor.
        Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
    }

    /// The kernel's own words beside errno, where the file system left some on the context (fsopen(2), "e …" lines).
    fn explain(&self, error: io::Error) -> io::Error {
        let mut buffer = [0u8; 512];
        match nix::unistd::read(&self.0, &mut buffer) {
            Ok(n) if n > 2 => {
                let text = String::from_utf8_lossy(&buffer[2..n]);
                io::Error::new(error.kind(), format!("{error} ({})", text.trim()))
            }
            _ => error,
        }
    }
}

/// Attaches the mount behind `mount` on the directory or file behind `target` (move_mount(2), both by descriptor).
pub fn attach(mount: BorrowedFd, target: BorrowedFd) -> io::Result<()> {
    const F_EMPTY_PATH: u32 = 0x4;
    const T_EMPTY_PATH: u32 = 0x40;
    move_mount(mount, target, c"", F_EMPTY_PATH | T_EMPTY_PATH)
}

/// Attaches the mount behind `mount` at `path` below `dir`. A symlink at the end is followed by nobody (move_mount(2)).
pub fn attach_at(mount: BorrowedFd, dir: BorrowedFd, path: &CStr) -> io::Result<()> {
    const F_EMPTY_PATH: u32 = 0x4;
    move_mount(mount, dir, path, F_EMPTY_PATH)
}

fn move_mount(mount: BorrowedFd, dir: BorrowedFd, path: &CStr, flags: u32) -> io::Result<()> {
    // SAFETY: valid strings, open descriptors.
    cvt(unsafe { libc::syscall(libc::SYS_move_mount, mount.as_raw_fd(), c"".as_ptr(), dir.as_raw_fd(), path.as_ptr(), flags) })?;
    Ok(())
}

/// A detached copy of the mount at `path` below `dir` (of `dir` itself when empty): open_tree(2) with OPEN_TREE_CLONE.
/// `recursive` takes the mounts below along.
pub fn clone_tree(dir: BorrowedFd, path: &CStr, recursive: bool) -> io::Result<OwnedFd> {
    const OPEN_TREE_CLONE: u32 = 1;
    let mut flags = OPEN_TREE_CLONE | libc::O_CLOEXEC as u32 | libc::AT_SYMLINK_NOFOLLOW as u32;
    if recursive {
        flags |= AT_RECURSIVE;
    }
    if path.is_empty() {
        flags |= EMPTY_PATH;
    }
    // SAFETY: a valid string and an open descriptor.
    let fd = cvt(unsafe { libc::syscall(libc::SYS_open_tree, dir.as_raw_fd(), path.as_ptr(), flags) })?;
    // SAFETY: nobody else owns the new descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// `struct mount_attr` (mount_setattr(2)).
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns: u64,
}

/// Sets MOUNT_ATTR_* `set` and, unless 0, the propagation, on the mount behind `mount`; `recursive` on all below too.
pub fn set_attr(mount: BorrowedFd, set: u64, propagation: u64, recursive: bool) -> io::Result<()> {
    let attr = MountAttr { set, clear: 0, propagation, userns: 0 };
    let flags = if recursive { EMPTY_PATH | AT_RECURSIVE } else { EMPTY_PATH };
    // SAFETY: attr is a valid mount_attr of the size given.
    cvt(unsafe {
        libc::syscall(libc::SYS_mount_setattr, mount.as_raw_fd(), c"".as_ptr(), flags, &raw const attr, size_of::<MountAttr>())
    })?;
    Ok(())
}

/// Makes the current directory, which must be a mount, the root; the old one lies on top of it (pivot_root(2), "." ".").
pub fn pivot_here() -> io::Result<()> {
    // SAFETY: valid strings.
    cvt(unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) })?;
    Ok(())
}

/// Detaches what lies on the current directory (umount2(2), MNT_DETACH).
pub fn umount_here() -> io::Result<()> {
    // SAFETY: a valid string.
    cvt(unsafe { libc::umount2(c".".as_ptr(), libc::MNT_DETACH) }.into())?;
    Ok(())
}
