//! Processes: clone3 with a pidfd, waiting by pidfd, prctl, ids, the title (clone3(2), pidfd_open(2), waitid(2), prctl(2)).

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use super::cvt;

/// A child by number and by descriptor. The pidfd is CLOEXEC.
#[derive(Debug)]
pub struct Child {
    pub pid: i32,
    pub pidfd: OwnedFd,
}

/// How a process ended (waitid(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Code(u8),
    Signal(u8),
}

impl Exit {
    /// As a shell and Docker report it: the code, or 128 + signal.
    pub fn code(self) -> u8 {
        match self {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128u8.wrapping_add(signal),
        }
    }
}

/// CLONE_NEW* flags for [`fork`]; CLONE_NEWTIME works with clone3 only (clone3(2)).
pub mod ns {
    pub const USER: u64 = libc::CLONE_NEWUSER as u64;
    pub const MOUNT: u64 = libc::CLONE_NEWNS as u64;
    pub const PID: u64 = libc::CLONE_NEWPID as u64;
    pub const NET: u64 = libc::CLONE_NEWNET as u64;
    pub const IPC: u64 = libc::CLONE_NEWIPC as u64;
    pub const UTS: u64 = libc::CLONE_NEWUTS as u64;
    pub const CGROUP: u64 = libc::CLONE_NEWCGROUP as u64;
    pub const TIME: u64 = 0x80;
}

/// A flag of [`fork`] beside the namespaces: the child is a sibling, whom our parent reaps and whose end kills it (CLONE_PARENT).
pub const SIBLING: u64 = libc::CLONE_PARENT as u64;

/// `struct clone_args`, size version 0 to 2 (linux/sched.h).
#[repr(C, align(8))]
#[derive(Default)]
pub(super) struct CloneArgs {
    pub(super) flags: u64,
    pub(super) pidfd: u64,
    pub(super) child_tid: u64,
    pub(super) parent_tid: u64,
    pub(super) exit_signal: u64,
    pub(super) stack: u64,
    pub(super) stack_size: u64,
    pub(super) tls: u64,
    pub(super) set_tid: u64,
    pub(super) set_tid_size: u64,
    pub(super) cgroup: u64,
}

/// Which side of [`fork`] this is.
pub enum Fork {
    Parent(Child),
    Child,
}

/// Forks with new namespaces, or as a [`SIBLING`] (clone3(2), CLONE_PIDFD). The child is a copy of this thread.
///
/// # Panics
/// When this process has more than one thread: the copy of a lock held elsewhere would never be released.
pub fn fork(namespaces: u64) -> io::Result<Fork> {
    fork_into(namespaces, None)
}

/// The same, born in a cgroup, by a descriptor of its directory (CLONE_INTO_CGROUP).
pub fn fork_into(namespaces: u64, cgroup: Option<BorrowedFd>) -> io::Result<Fork> {
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    assert!(becomes_single_threaded(), "fork in a process with threads");
    let mut pidfd: RawFd = -1;
    let mut args = CloneArgs {
        flags: namespaces | libc::CLONE_PIDFD as u64 | if cgroup.is_some() { CLONE_INTO_CGROUP } else { 0 },
        cgroup: cgroup.map_or(0, |fd| fd.as_raw_fd() as u64),
        pidfd: &raw mut pidfd as u64,
        // A sibling has ours.
        exit_signal: if namespaces & SIBLING == 0 { libc::SIGCHLD as u64 } else { 0 },
        ..CloneArgs::default()
    };
    // SAFETY: args is a valid clone_args of the size given; no CLONE_VM, so both sides go on with memory of their own; the
    // process is single-threaded (asserted), so no lock is held by a thread that the child lacks.
    let pid = cvt(unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>()) })?;
    if pid == 0 {
        return Ok(Fork::Child);
    }
    // SAFETY: the kernel stored a new descriptor that nobody else owns (CLONE_PIDFD).
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Fork::Parent(Child { pid: pid as i32, pidfd }))
}

/// Whether this is the only thread, or soon is: pthread_join(3) returns when a thread has let go of its memory, and the kernel removes it
/// an instant later (`sys::beside`).
fn becomes_single_threaded() -> bool {
    const INSTANT: usize = 10_000;
    (0..INSTANT).any(|_| {
        let alone = single_threaded();
        if !alone {
            std::thread::yield_now();
        }
        alone
    })
}

/// True when this is the only thread: `/proc/self/task` has as many links as threads, plus two.
fn single_threaded() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self/task").map_or(true, |task| task.nlink() <= 3)
}

impl Child {
    /// Waits for the end and reaps (waitid(2) P_PIDFD).
    pub fn wait(&self) -> io::Result<Exit> {
        loop {
            match wait_pidfd(self.pidfd.as_fd(), libc::WEXITED) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other.map(|exit| exit.expect("a blocking wait has a result")),
            }
        }
    }

    /// Whether it has ended, without waiting; then it is reaped.
    pub fn has_ended(&self) -> bool {
        !matches!(wait_pidfd(self.pidfd.as_fd(), libc::WEXITED | libc::WNOHANG), Ok(None))
    }

    /// Signals this very process, never a later one of the same number (pidfd_send_signal(2)).
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        pidfd_signal(self.pidfd.as_fd(), signal)
    }
}

fn wait_pidfd(pidfd: BorrowedFd, options: i32) -> io::Result<Option<Exit>> {
    // SAFETY: siginfo_t is plain data for which zero is a valid value; the kernel fills it.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: info is valid for writing; pidfd is open for the call.
    cvt(unsafe { libc::waitid(libc::P_PIDFD, pidfd.as_raw_fd() as libc::id_t, &raw mut info, options) }.into())?;
    // SAFETY: waitid filled the SIGCHLD members, or left all zero with WNOHANG.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    Ok(match info.si_code {
        _ if pid == 0 => None,
        libc::CLD_EXITED => Some(Exit::Code(status as u8)),
        _ => Some(Exit::Signal(status as u8)),
    })
}

/// Waits for the children that are in a process group, and reaps them (waitid(2) P_PGID).
pub fn reap_group(group: i32) {
    // SAFETY: a null siginfo is allowed: how they ended does not matter.
    while unsafe { libc::waitid(libc::P_PGID, group as libc::id_t, std::ptr::null_mut(), libc::WEXITED) } == 0 {}
}

/// Reaps any child that has ended, without waiting: its pid and how it ended; None when there is none yet.
pub fn reap_any() -> io::Result<Option<(i32, Exit)>> {
    // SAFETY: as in wait_pidfd.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: info is valid for writing.
    cvt(unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, libc::WEXITED | libc::WNOHANG) }.into())?;
    // SAFETY: as in wait_pidfd.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    Ok(match info.si_code {
        _ if pid == 0 => None,
        libc::CLD_EXITED => Some((pid, Exit::Code(status as u8))),
        _ => Some((pid, Exit::Signal(status as u8))),
    })
}

/// A descriptor of a running process (pidfd_open(2)); ESRCH when there is none.
pub fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: no pointers; the result is a new descriptor.
    let fd = cvt(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: nobody else owns the new descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// pidfd_send_signal(2).
pub fn pidfd_signal(pidfd: BorrowedFd, signal: i32) -> io::Result<()> {
    // SAFETY: a null siginfo means the same as kill(2).
    cvt(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, std::ptr::null::<()>(), 0) })?;
    Ok(())
}

/// Enters the namespaces of `kinds` of a process (pidfd) or the one namespace (nsfs file) behind `fd` (setns(2)).
pub fn setns(fd: BorrowedFd, kinds: u64) -> io::Result<()> {
    // SAFETY: no pointers.
    cvt(unsafe { libc::setns(fd.as_raw_fd(), kinds as i32) }.into())?;
    Ok(())
}

/// unshare(2).
pub fn unshare(kinds: u64) -> io::Result<()> {
    // SAFETY: no pointers.
    cvt(unsafe { libc::unshare(kinds as i32) }.into())?;
    Ok(())
}

fn prctl(option: i32, value: libc::c_ulong) -> io::Result<i32> {
    // SAFETY: only options that take integers are passed by this module.
    Ok(cvt(unsafe { libc::prctl(option, value, 0, 0, 0) }.into())? as i32)
}

/// The signal this process gets when its parent ends; a later change of ids clears it (PR_SET_PDEATHSIG(2const)).
pub fn set_parent_death_signal(signal: i32) -> io::Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, signal as libc::c_ulong).map(drop)
}

/// Whether others of the same ids may look into this process: its memory, descriptors, exe (PR_SET_DUMPABLE(2const)).
pub fn set_dumpable(dumpable: bool) -> io::Result<()> {
    prctl(libc::PR_SET_DUMPABLE, dumpable.into()).map(drop)
}

/// No gain of privileges by execve, for good (PR_SET_NO_NEW_PRIVS(2const)).
pub fn set_no_new_privs() -> io::Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1).map(drop)
}

/// Real, effective and saved group and user ids, in that order (setresgid(2), setresuid(2)).
pub fn set_ids(uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: no pointers. The raw calls suffice: the process is single-threaded.
    cvt(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) })?;
    // SAFETY: as above.
    cvt(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) })?;
    Ok(())
}

/// The ids by which files are opened and made, and nothing else (setfsgid(2), setfsuid(2)); the capabilities stay. Returns those before.
pub fn set_fs_ids(uid: u32, gid: u32) -> io::Result<(u32, u32)> {
    // SAFETY: no pointers. -1 is no id: it changes nothing and asks. These calls return what was, and cannot say that they were refused.
    let (before, now) = unsafe {
        let before = (libc::syscall(libc::SYS_setfsuid, uid), libc::syscall(libc::SYS_setfsgid, gid));
        (before, (libc::syscall(libc::SYS_setfsuid, -1), libc::syscall(libc::SYS_setfsgid, -1)))
    };
    if now != (uid.into(), gid.into()) {
        return Err(io::Error::from_raw_os_error(libc::EPERM));
    }
    super::caps::raise()?;
    Ok((before.0 as u32, before.1 as u32))
}

/// The supplementary groups, exactly (setgroups(2)).
pub fn set_groups(groups: &[u32]) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `groups`.
    cvt(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) })?;
    Ok(())
}

/// Sets CLOEXEC on every descriptor from `first` on (close_range(2)).
pub fn cloexec_from(first: u32) -> io::Result<()> {
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    // SAFETY: no pointers; no descriptor is closed, so none that is owned changes.
    cvt(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOSE_RANGE_CLOEXEC) })?;
    Ok(())
}

/// A copy of `fd` numbered `lowest` or higher, CLOEXEC (fcntl(2), F_DUPFD_CLOEXEC).
pub fn duplicate_above(fd: BorrowedFd, lowest: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: no pointers; the result is a new descriptor.
    let copy = cvt(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, lowest) }.into())?;
    // SAFETY: nobody else owns the new descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(copy as RawFd) })
}

/// A copy of `fd` at exactly `place`, kept over execve; what was there is closed (dup2(2)). For the last steps before an execve:
/// whatever owned the number `place` must not be used any more.
pub fn put_at(fd: BorrowedFd, place: RawFd) -> io::Result<()> {
    // SAFETY: no pointers; the caller is about to execute and uses no descriptor below `place` again.
    cvt(unsafe { libc::dup2(fd.as_raw_fd(), place) }.into())?;
    Ok(())
}

/// Some of the processors (sched_setaffinity(2)).
pub struct Processors(libc::cpu_set_t);

impl Processors {
    /// Those that this process may run on but for the one that it is on. None where there is no other, or nothing is known. A new process, or
    /// thread, begins on its maker's processor and waits there until the maker sleeps, up to a tick: what is meant to run beside us has
    /// to be sent away.
    pub fn elsewhere() -> Option<Processors> {
        // SAFETY: cpu_set_t is plain data for which zero is valid; the kernel writes at most the size given; the macros bound their index.
        unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            let here = libc::sched_getcpu();
            if here < 0 || libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) < 0 {
                return None;
            }
            libc::CPU_CLR(here as usize, &mut set);
            (libc::CPU_COUNT(&set) > 0).then_some(Processors(set))
        }
    }

    /// Bars a process from all others, for as long as it lives. A hint: it may fail.
    pub fn keep(&self, pid: i32) {
        // SAFETY: the kernel reads at most the size given.
        unsafe { libc::sched_setaffinity(pid, size_of::<libc::cpu_set_t>(), self.raw()) };
    }

    /// As sched_setaffinity(2) takes it.
    pub(super) fn raw(&self) -> *const libc::cpu_set_t {
        &raw const self.0
    }
}

/// Closes every descriptor above 2 but those in `keep`, whoever owns them (close_range(2)). For a clone that starts a life of its own:
/// it must not use, nor drop, what it inherited and did not keep.
pub fn close_all_but(keep: &[RawFd]) -> io::Result<()> {
    let mut keep: Vec<u32> = keep.iter().map(|&fd| fd as u32).filter(|&fd| fd > 2).collect();
    keep.sort_unstable();
    let mut first = 3;
    for fd in keep {
        if first < fd {
            // SAFETY: no pointers; by contract nobody uses these descriptors again.
            cvt(unsafe { libc::syscall(libc::SYS_close_range, first, fd - 1, 0) })?;
        }
        first = fd + 1;
    }
    close_from(first)
}

/// Closes every descriptor from `first` on, whoever owns it (close_range(2)). For a process that goes on with none.
pub fn close_from(first: u32) -> io::Result<()> {
    // SAFETY: no pointers; the caller has no further use for a descriptor.
    cvt(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) })?;
    Ok(())
}

/// The signals that are not at their default action, once [`reset_signals`] has been called here or in a process that this one was forked
/// from: bit n - 1 for signal n.
static CHANGED: AtomicU64 = AtomicU64::new(u64::MAX);

/// Every signal to its default action, nothing blocked: what a payload expects and Rust has changed (SIGPIPE).
pub fn reset_signals() {
    // The kernel's struct sigaction, all zero: SIG_DFL without flags. By system call, because libc refuses its own two signals, which a
    // parent may have ignored all the same.
    let default = [0u64; 4];
    let changed = CHANGED.swap(0, Ordering::Relaxed);
    for signal in (1..=64).filter(|signal| changed >> (signal - 1) & 1 == 1) {
        // SAFETY: SIG_DFL installs no handler; the kernel reads one sigaction with a mask of 8 bytes. It refuses SIGKILL and SIGSTOP.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), std::ptr::null_mut::<u64>(), 8) };
    }
    let _ = nix::sys::signal::SigSet::empty().thread_set_mask();
}

/// Ignores a signal in this process.
pub fn ignore_signal(signal: i32) {
    CHANGED.fetch_or(1 << (signal - 1), Ordering::Relaxed);
    // SAFETY: SIG_IGN installs no handler.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// Overwrites the values of the environment in memory, where they can be secrets. For a forked child, which has no use for them.
pub fn forget_environment() {
    unsafe extern "C" {
        static mut environ: *mut *mut libc::c_char;
    }
    // SAFETY: environ is null or an array of valid strings that ends in null; the process has one thread (callers have just been forked),
    // and nothing here keeps a reference into a string.
    unsafe {
        let mut entry = environ;
        while !entry.is_null() && !(*entry).is_null() {
            std::ptr::write_bytes(*entry, 0, libc::strlen(*entry));
            entry = entry.add(1);
        }
        libc::clearenv();
    }
}

/// Ends this process without running exit handlers of the one it was forked from.
pub fn exit_now(code: u8) -> ! {
    // SAFETY: does not return.
    unsafe { libc::_exit(code.into()) }
}

/// Executes the file behind `file`; returns only the error (execveat(2), AT_EMPTY_PATH).
pub fn exec_fd(file: BorrowedFd, argv: &[CString], env: &[CString]) -> io::Error {
    let argv = pointers(argv);
    let env = pointers(env);
    // SAFETY: both arrays end in null and point to strings that outlive the call.
    unsafe {
        libc::syscall(libc::SYS_execveat, file.as_raw_fd(), c"".as_ptr(), argv.as_ptr(), env.as_ptr(), libc::AT_EMPTY_PATH)
    };
    io::Error::last_os_error()
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|s| s.as_ptr()).chain(std::iter::once(std::ptr::null())).collect()
}

/// A namespace of the process behind a pidfd, as a descriptor that keeps it alive (PIDFD_GET_*_NAMESPACE, linux/pidfd.h).
/// Kernels before 6.11 answer ENOTTY.
pub fn pidfd_namespace(pidfd: BorrowedFd, kind: u64) -> io::Result<OwnedFd> {
    let number: libc::c_ulong = match kind {
        ns::CGROUP => 1,
        ns::IPC => 2,
        ns::MOUNT => 3,
        ns::NET => 4,
        ns::PID => 5,
        ns::TIME => 7,
        ns::USER => 9,
        ns::UTS => 10,
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    };
    // SAFETY: _IO(0xFF, n) takes no argument and returns a new descriptor.
    let fd = cvt(unsafe { libc::ioctl(pidfd.as_raw_fd(), 0xFF00 | number, 0) }.into())?;
    // SAFETY: nobody else owns the new descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

static ARGV: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
static ARGV_SIZE: AtomicUsize = AtomicUsize::new(0);

/// glibc hands argc and argv to the functions of .init_array, before main.
#[used]
#[unsafe(link_section = ".init_array")]
static REMEMBER_ARGV: extern "C" fn(i32, *const *mut u8, *const *mut u8) = {
    extern "C" fn remember(argc: i32, argv: *const *mut u8, _env: *const *mut u8) {
        if argc < 1 || argv.is_null() {
            return;
        }
        // SAFETY: argv has argc valid strings, laid out one after another by the kernel (execve(2)).
        unsafe {
            let first = *argv;
            let last = *argv.add(argc as usize - 1);
            let end = last.add(libc::strlen(last.cast()) + 1);
            ARGV.store(first, Ordering::Relaxed);
            ARGV_SIZE.store(end.offset_from(first).max(0) as usize, Ordering::Relaxed);
        }
    }
    remember
};

/// Names this process in `ps`: the arguments' memory and the thread name. Cut to the room there is.
pub fn set_title(title: &str, comm: &str) {
    let argv = ARGV.load(Ordering::Relaxed);
    let size = ARGV_SIZE.load(Ordering::Relaxed);
    if !argv.is_null() && size > 1 {
        let length = title.len().min(size - 1);
        // SAFETY: the kernel's argument area of `size` bytes is writable and ours; std keeps pointers to it, but every reader
        // in this program reads its arguments before the first fork, and titles are set only after one.
        unsafe {
            std::ptr::write_bytes(argv, 0, size);
            std::ptr::copy_nonoverlapping(title.as_ptr(), argv, length);
        }
    }
    if let Ok(comm) = CString::new(comm) {
        // SAFETY: a valid string; the kernel copies at most 16 bytes.
        unsafe { libc::prctl(libc::PR_SET_NAME, comm.as_ptr()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_reads_as_128_plus_its_number() {
        assert_eq!(Exit::Signal(9).code(), 137);
        assert_eq!(Exit::Code(3).code(), 3);
    }
}
