//! Where a layer is unpacked: a process that can reach nothing but the layer's own directory, and the layers below it to look at.
//!
//! It comes with namespaces of its own (userns/spawn.rs, `confined`). Here it loses the rest: the file system but that directory, every
//! descriptor but those it needs, the caller's terminal and environment, and the capabilities that unpacking does not take.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use anyhow::{Context, Result};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{fchdir, fchown};

use super::apply::reopen;
use crate::sys::fs::CWD;
use crate::sys::mount::{self, attr, propagation};
use crate::sys::{caps, process, xattr};

/// CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID, CAP_SETFCAP (linux/capability.h).
const KEPT: u64 = 1 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 31;

/// What there is in confinement.
pub struct Cell {
    /// The layer's directory, which is `/`.
    pub root: OwnedFd,
    /// The layers below, bottom first, read-only.
    pub lowers: Vec<OwnedFd>,
}

/// Enters `root`, a directory below the current one, as are `lowers`. Of all descriptors, only `keep` stay open. `change_ids` is called when
/// no more mounts are made.
pub fn enter(root: &CStr, lowers: &[CString], keep: &[RawFd], change_ids: impl FnOnce() -> Result<()>) -> Result<Cell> {
    let attrs = attr::NOSUID | attr::NODEV | attr::NOEXEC;
    let clone = |name: &CStr, attrs| {
        let tree = mount::clone_tree(CWD, name, false)?;
        mount::set_attr(tree.as_fd(), attrs, propagation::PRIVATE, false).map(|()| tree)
    };
    let named = |name: &CStr| format!("cannot open {}", name.to_string_lossy());
    let lowers: Vec<OwnedFd> =
        lowers.iter().map(|name| clone(name, attrs | attr::RDONLY).with_context(|| named(name))).collect::<Result<_>>()?;
    let tree = clone(root, attrs).with_context(|| named(root))?;
    silence().context("cannot open /dev/null")?;
    mount::attach_at(tree.as_fd(), CWD, root)
        .and_then(|()| Ok(fchdir(&tree)?))
        .and_then(|()| mount::pivot_here())
        .and_then(|()| mount::umount_here())
        .context("cannot confine the worker")?;
    let mut open: Vec<RawFd> = lowers.iter().map(AsRawFd::as_raw_fd).chain(keep.iter().copied()).collect();
    open.push(tree.as_raw_fd());
    process::close_all_but(&open).context("cannot close descriptors")?;
    process::forget_environment();
    change_ids()?;
    let root = reopen(tree.as_fd(), b".")?;
    adopt(root.as_fd())?;
    give_up_capabilities(KEPT)?;
    Ok(Cell { root, lowers })
}

/// The same for somebody who only removes what is in `directory`.
pub fn enter_to_clear(directory: &OwnedFd) -> Result<OwnedFd> {
    fchdir(directory).and_then(|()| nix::unistd::chroot(".")).context("cannot confine the worker")?;
    reopen(directory.as_fd(), b".")
}

/// Standard input, output and error are the caller's, a terminal perhaps.
fn silence() -> Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    for place in 0..=2 {
        process::put_at(null.as_fd(), place)?;
    }
    Ok(())
}

/// Makes the layer's directory what everything in it can inherit from without a change: the store may lie where a setgid bit or a default
/// ACL would be handed on. It was made by root of U, which this process may have left for a namespace nested in U.
fn adopt(root: BorrowedFd) -> Result<()> {
    fchown(root, Some(0.into()), Some(0.into())).context("cannot take over the layer's directory")?;
    for acl in [c"system.posix_acl_default", c"system.posix_acl_access"] {
        xattr::remove(root, acl).context("cannot take the access control list off the layer's directory")?;
    }
    fchmod(root, Mode::S_IRWXU).context("cannot take over the layer's directory")
}

fn give_up_capabilities(kept: u64) -> Result<()> {
    caps::limit_bounding(kept)
        .and_then(|()| caps::set(kept & caps::effective()?))
        .and_then(|()| process::set_no_new_privs())
        .context("cannot give up capabilities")
}
