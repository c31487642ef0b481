//! /dev: nodes bound from the host (a user namespace can make none), a devpts of its own, shm and mqueue (devpts(5), mqueue(7)).

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result, bail};
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat, mknodat};

use super::inroot;
use crate::oci::runtime::Device;
use crate::sys::fs::{CWD, open_beneath};
use crate::sys::mount::{self, FsContext, attr};

/// The nodes every container has, with their numbers (runtime-spec, config-linux.md, "Default Devices").
const NODES: [(&CStr, u64, u64); 6] =
    [(c"null", 1, 3), (c"zero", 1, 5), (c"full", 1, 7), (c"random", 1, 8), (c"urandom", 1, 9), (c"tty", 5, 0)];

const LINKS: [(&CStr, &CStr); 5] = [
    (c"ptmx", c"pts/ptmx"),
    (c"fd", c"/proc/self/fd"),
    (c"stdin", c"/proc/self/fd/0"),
    (c"stdout", c"/proc/self/fd/1"),
    (c"stderr", c"/proc/self/fd/2"),
];

/// The container's /dev as mounted, kept to open the console and mask files without a path of the image.
pub struct Dev {
    pub mount: OwnedFd,
    pub pts: OwnedFd,
}

/// What [`setup`] is to make.
pub struct Wanted<'a> {
    pub devices: &'a [Device],
    /// Group 5 exists: terminals belong to it, as grantpt(3) expects.
    pub tty_group: bool,
    /// Bytes; None takes the host's (ipc namespace shared).
    pub shm_size: Option<u64>,
    pub fresh_mqueue: bool,
}

/// Mounts /dev on `target` and fills it.
pub fn setup(target: BorrowedFd, wanted: &Wanted) -> Result<Dev> {
    let context = FsContext::open(c"tmpfs")?;
    context.string(c"mode", c"755")?;
    context.string(c"size", c"64m")?;
    let dev = context.mount(attr::NOSUID).context("cannot mount /dev")?;
    mount::attach(dev.as_fd(), target)?;
    let host = nix::fcntl::open(c"/dev", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    for (name, major, minor) in NODES {
        let node = host_node(host.as_fd(), name, libc::makedev(major as u32, minor as u32))?;
        place(dev.as_fd(), name, node.as_fd()).with_context(|| format!("cannot bind /dev/{}", name.to_string_lossy()))?;
    }
    let pts = subdirectories(dev.as_fd(), wanted)?;
    for (link, aim) in LINKS {
        nix::unistd::symlinkat(aim, &dev, link)?;
    }
    for device in wanted.devices {
        bind_device(dev.as_fd(), device)?;
    }
    Ok(Dev { mount: dev, pts })
}

fn subdirectories(dev: BorrowedFd, wanted: &Wanted) -> Result<OwnedFd> {
    for (name, mode) in [(c"pts", 0o755), (c"shm", 0o1777), (c"mqueue", 0o1777)] {
        mkdirat(dev, name, Mode::from_bits_truncate(mode))?;
    }
    let pts = devpts(wanted.tty_group).context("cannot mount /dev/pts")?;
    mount::attach_at(pts.as_fd(), dev, c"pts")?;
    let shm = match wanted.shm_size {
        Some(size) => shm(size).context("cannot mount /dev/shm")?,
        None => mount::clone_tree(CWD, c"/dev/shm", false).context("cannot share the host's /dev/shm")?,
    };
    mount::attach_at(shm.as_fd(), dev, c"shm")?;
    let mqueue = if wanted.fresh_mqueue {
        FsContext::open(c"mqueue").and_then(|context| context.mount(attr::NOSUID | attr::NODEV | attr::NOEXEC))
    } else {
        mount::clone_tree(CWD, c"/dev/mqueue", false)
    };
    match mqueue {
        Ok(mqueue) => mount::attach_at(mqueue.as_fd(), dev, c"mqueue")?,
        // A kernel without POSIX queues, or a host that mounts none to share.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENOENT | libc::EINVAL)) => {}
        Err(error) => return Err(error).context("cannot mount /dev/mqueue"),
    }
    Ok(pts)
}

fn devpts(tty_group: bool) -> io::Result<OwnedFd> {
    let context = FsContext::open(c"devpts")?;
    context.string(c"ptmxmode", c"0666")?;
    context.string(c"mode", c"0620")?;
    if tty_group {
        context.string(c"gid", c"5")?;
    }
    context.mount(attr::NOSUID | attr::NOEXEC)
}

fn shm(size: u64) -> io::Result<OwnedFd> {
    let context = FsContext::open(c"tmpfs")?;
    context.string(c"mode", c"1777")?;
    context.string(c"size", &std::ffi::CString::new(size.to_string()).expect("digits"))?;
    context.mount(attr::NOSUID | attr::NODEV | attr::NOEXEC)
}

/// The host's node `name`, checked to be the very device (CVE-2025-31133: a mask source that was replaced).
pub fn host_node(host_dev: BorrowedFd, name: &CStr, number: libc::dev_t) -> Result<OwnedFd> {
    let label = || format!("/dev/{}", name.to_string_lossy());
    let node = mount::clone_tree(host_dev, name, false).with_context(|| format!("cannot use the host's {}", label()))?;
    let found = fstat(&node)?;
    if SFlag::from_bits_truncate(found.st_mode & SFlag::S_IFMT.bits()) != SFlag::S_IFCHR || found.st_rdev != number {
        bail!("the host's {} is not the device it should be", label());
    }
    Ok(node)
}

/// /dev/null of the host, to hide files with.
pub fn null() -> Result<OwnedFd> {
    let host = nix::fcntl::open(c"/dev", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    host_node(host.as_fd(), c"null", libc::makedev(1, 3))
}

/// Makes an empty file and mounts `node` on it.
fn place(dev: BorrowedFd, name: &CStr, node: BorrowedFd) -> io::Result<()> {
    mknodat(dev, name, SFlag::S_IFREG, Mode::from_bits_truncate(0o666), 0)?;
    mount::attach_at(node, dev, name)
}

fn bind_device(dev: BorrowedFd, device: &Device) -> Result<()> {
    let inside =
        device.path.strip_prefix("/dev").with_context(|| format!("device {} must lie in /dev", device.path.display()))?;
    let source = inroot::c_path(&device.source)?;
    let node =
        mount::clone_tree(CWD, &source, false).with_context(|| format!("cannot use device {}", device.source.display()))?;
    if !matches!(inroot::file_type(node.as_fd())?, SFlag::S_IFCHR | SFlag::S_IFBLK) {
        bail!("{} is not a device", device.source.display());
    }
    let target = inroot::file(dev, inside).with_context(|| format!("cannot create {}", device.path.display()))?;
    mount::attach(node.as_fd(), target.as_fd()).with_context(|| format!("cannot bind {}", device.path.display()))
}

/// Opens a new terminal in a devpts: master and slave. Nothing of the image lies on the way to either.
pub fn terminal(pts: BorrowedFd) -> Result<(OwnedFd, OwnedFd)> {
    let master = open_beneath(pts, c"ptmx", libc::O_RDWR | libc::O_NOCTTY, 0).context("cannot open a terminal")?;
    crate::sys::tty::unlock(master.as_fd())?;
    let slave = crate::sys::tty::peer(master.as_fd()).context("cannot open the terminal's other end")?;
    Ok((master, slave))
}

/// A new terminal that the container has as /dev/console.
pub fn console(dev: &Dev) -> Result<(OwnedFd, OwnedFd)> {
    let (master, slave) = terminal(dev.pts.as_fd())?;
    let tree = mount::clone_tree(slave.as_fd(), c"", false).context("cannot bind the terminal")?;
    place(dev.mount.as_fd(), c"console", tree.as_fd()).context("cannot bind /dev/console")?;
    Ok((master, slave))
}
