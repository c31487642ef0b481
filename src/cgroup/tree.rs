//! A cgroup by its directory's descriptor: the files of cgroup v2 (kernel documentation, cgroup-v2.rst), kill, freeze, remove.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::UnlinkatFlags;

use super::limits::{Absent, Setting};
use crate::sys::fs as sys_fs;

/// `f_type` of a cgroup v2 file system (statfs(2)).
const CGROUP2_MAGIC: i64 = 0x6367_7270;

/// How long the processes of a killed cgroup may take to end: one that hangs in the kernel is not waited for.
const KILLED_WITHIN: Duration = Duration::from_secs(10);

fn open_file(cgroup: BorrowedFd, name: &str, flags: i32) -> io::Result<File> {
    sys_fs::open_beneath(cgroup, &CString::new(name)?, flags, 0).map(File::from)
}

/// memory.events, where there is one.
pub fn open_events(cgroup: BorrowedFd) -> Option<File> {
    open_file(cgroup, "memory.events", libc::O_RDONLY).ok()
}

/// The cgroup `name` below.
pub fn open_child(cgroup: BorrowedFd, name: &str) -> io::Result<OwnedFd> {
    sys_fs::open_beneath(cgroup, &CString::new(name)?, libc::O_RDONLY | libc::O_DIRECTORY, 0)
}

/// Makes the cgroup `name` below and opens it.
pub fn make_child(cgroup: BorrowedFd, name: &str) -> io::Result<OwnedFd> {
    nix::sys::stat::mkdirat(cgroup, name, nix::sys::stat::Mode::from_bits_truncate(0o755))?;
    open_child(cgroup, name)
}

/// The same, made where it is missing.
pub fn child(cgroup: BorrowedFd, name: &str) -> io::Result<OwnedFd> {
    match make_child(cgroup, name) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => open_child(cgroup, name),
        other => other,
    }
}

/// A whole file.
pub fn read(cgroup: BorrowedFd, file: &str) -> io::Result<String> {
    let mut text = String::new();
    open_file(cgroup, file, libc::O_RDONLY)?.read_to_string(&mut text)?;
    Ok(text)
}

/// One write.
pub fn write(cgroup: BorrowedFd, file: &str, value: &str) -> io::Result<()> {
    open_file(cgroup, file, libc::O_WRONLY)?.write_all(value.as_bytes())
}

/// Writes one setting, or what stands for it where the file does not exist.
pub fn apply(cgroup: BorrowedFd, setting: &Setting) -> Result<()> {
    let (file, value) = (&setting.file, &setting.value);
    let failed = |file: &str, value: &str| format!("cannot set {file} to \"{value}\"");
    match (write(cgroup, file, value), &setting.absent) {
        (Err(error), Absent::Skip) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        (Err(error), Absent::Write { file, value }) if error.kind() == io::ErrorKind::NotFound => {
            write(cgroup, file, value).with_context(|| failed(file, value))
        }
        (other, _) => other.with_context(|| failed(file, value)),
    }
}

/// Names in a file of names: cgroup.controllers, cgroup.subtree_control.
pub fn words(cgroup: BorrowedFd, file: &str) -> Vec<String> {
    read(cgroup, file).unwrap_or_default().split_whitespace().map(String::from).collect()
}

/// Lets the cgroups below use these controllers. The kernel refuses (EBUSY) while a process sits in this cgroup itself.
pub fn enable(cgroup: BorrowedFd, controllers: &[&str]) -> io::Result<()> {
    let enabled = words(cgroup, "cgroup.subtree_control");
    let missing: Vec<String> =
        controllers.iter().filter(|name| !enabled.iter().any(|e| e == *name)).map(|name| format!("+{name}")).collect();
    if missing.is_empty() { Ok(()) } else { write(cgroup, "cgroup.subtree_control", &missing.join(" ")) }
}

/// Moves every process of `cgroup` itself to the cgroup `leaf` below it, which is made where it is missing. What is forked meanwhile
/// is met by the next round; whoever forks faster than that is not served.
pub fn move_all_to(cgroup: BorrowedFd, leaf: &str) -> Result<()> {
    for _ in 0..16 {
        let pids = read(cgroup, "cgroup.procs").context("cannot read the processes of the cgroup")?;
        if pids.is_empty() {
            return Ok(());
        }
        let to = child(cgroup, leaf).with_context(|| format!("cannot make the cgroup {leaf}"))?;
        for pid in pids.lines() {
            match write(to.as_fd(), "cgroup.procs", pid) {
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                other => other.with_context(|| format!("cannot move process {pid} to the cgroup {leaf}"))?,
            }
        }
    }
    bail!("the processes of the cgroup multiply faster than they can be moved")
}

/// Kills every process in the cgroup and below (cgroup.kill, since Linux 5.14; before that one by one) and waits for their end.
pub fn kill(cgroup: BorrowedFd) -> Result<()> {
    if !populated(cgroup)? {
        return Ok(());
    }
    match write(cgroup, "cgroup.kill", "1") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => kill_each(cgroup, 0)?,
        other => other.context("cannot kill the cgroup")?,
    }
    wait_for(cgroup, "populated 0", KILLED_WITHIN)
}

fn kill_each(cgroup: BorrowedFd, depth: usize) -> Result<()> {
    // What a process forks while this runs is caught by the next round: it is born in the same cgroup.
    for _ in 0..16 {
        let pids = read(cgroup, "cgroup.procs").unwrap_or_default();
        let pids: Vec<i32> = pids.lines().filter_map(|pid| pid.parse().ok()).filter(|pid| *pid > 0).collect();
        if pids.is_empty() {
            break;
        }
        for pid in pids {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
    }
    for child in children(cgroup)?.iter().filter(|_| depth < 32) {
        kill_each(open_child(cgroup, child)?.as_fd(), depth + 1)?;
    }
    Ok(())
}

/// Threads in the cgroup and below, as the pids controller counts them.
pub fn tasks(cgroup: BorrowedFd, depth: usize) -> u64 {
    let here = read(cgroup, "cgroup.threads").map_or(0, |threads| threads.lines().count() as u64);
    let below = children(cgroup).unwrap_or_default();
    let below = below.iter().filter(|_| depth < 32).filter_map(|child| open_child(cgroup, child).ok());
    here + below.map(|child| tasks(child.as_fd(), depth + 1)).sum::<u64>()
}

/// Whether a process lives in the cgroup or below.
pub fn populated(cgroup: BorrowedFd) -> Result<bool> {
    Ok(!read(cgroup, "cgroup.events").context("cannot read cgroup.events")?.lines().any(|line| line == "populated 0"))
}

/// Stops every process in the cgroup and below, or lets them go on; returns once all have.
pub fn freeze(cgroup: BorrowedFd, frozen: bool) -> Result<()> {
    let number = u8::from(frozen);
    write(cgroup, "cgroup.freeze", &number.to_string()).context("cannot write cgroup.freeze")?;
    wait_for(cgroup, &format!("frozen {number}"), KILLED_WITHIN)
}

/// Waits until cgroup.events has this line: the kernel announces each change of the file (POLLPRI).
fn wait_for(cgroup: BorrowedFd, line: &str, within: Duration) -> Result<()> {
    let deadline = Instant::now() + within;
    let mut events = open_file(cgroup, "cgroup.events", libc::O_RDONLY).context("cannot open cgroup.events")?;
    loop {
        let mut text = String::new();
        io::Seek::rewind(&mut events).and_then(|()| events.read_to_string(&mut text)).context("cannot read cgroup.events")?;
        if text.lines().any(|l| l == line) {
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            bail!("the cgroup's processes did not get to \"{line}\" within {} s", within.as_secs());
        }
        let mut set = [PollFd::new(events.as_fd(), PollFlags::POLLPRI)];
        match poll(&mut set, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("cannot wait for the cgroup"),
        }
    }
}

/// Names of the cgroups right below.
fn children(cgroup: BorrowedFd) -> Result<Vec<String>> {
    let mut dir = Dir::from_fd(sys_fs::open_beneath(cgroup, c".", libc::O_RDONLY | libc::O_DIRECTORY, 0)?)?;
    let mut names = Vec::new();
    for entry in dir.iter() {
        let entry = entry?;
        if entry.file_type() == Some(nix::dir::Type::Directory) {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.retain(|name| name != "." && name != "..");
    Ok(names)
}

/// Removes the cgroup `name` and all below it; they must be without processes.
pub fn remove(parent: BorrowedFd, name: &str) -> Result<()> {
    match nix::unistd::unlinkat(parent, name, UnlinkatFlags::RemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => return Ok(()),
        Err(Errno::EBUSY | Errno::ENOTEMPTY) => {}
        Err(error) => return Err(error).with_context(|| format!("cannot remove the cgroup {name}")),
    }
    let cgroup = match open_child(parent, name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.with_context(|| format!("cannot open the cgroup {name}"))?,
    };
    for child in children(cgroup.as_fd())? {
        remove(cgroup.as_fd(), &child)?;
    }
    match nix::unistd::unlinkat(parent, name, UnlinkatFlags::RemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot remove the cgroup {name}")),
    }
}

/// Gives a cgroup to its new owner: the directory and the files that delegation means (cgroup-v2.rst, "Delegation"), not the limits.
pub fn give(cgroup: BorrowedFd, (uid, gid): (u32, u32)) -> Result<()> {
    let owner = |uid: u32, gid: u32| (Some(nix::unistd::Uid::from_raw(uid)), Some(nix::unistd::Gid::from_raw(gid)));
    let (user, group) = owner(uid, gid);
    nix::unistd::fchown(cgroup, user, group).context("cannot give the cgroup away")?;
    for file in ["cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
        nix::unistd::fchownat(cgroup, file, user, group, nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW)
            .with_context(|| format!("cannot give {file} away"))?;
    }
    Ok(())
}

/// Whether the descriptor is of cgroup v2.
pub fn is_cgroup2(directory: BorrowedFd) -> bool {
    sys_fs::fs_magic(directory).is_ok_and(|magic| magic == CGROUP2_MAGIC)
}
