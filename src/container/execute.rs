//! The last steps of a process that becomes a payload, Init's and Joiner's alike: session, terminal, limits, ids, capabilities, execve.
//!
//! The process is in the container already, its root and namespaces, and undumpable. Everything that can be refused is refused before
//! the trampoline, so that the reason can be told.

use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use nix::errno::Errno;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::stat::{Mode, umask};

use super::user::{self, User};
use crate::error::{Advise, EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND, Failure};
use crate::oci::runtime::Process;
use crate::rootfs::inroot;
use crate::security::caps::names_to_bits;
use crate::sys::failpoint::milestone;
use crate::sys::{caps, fs, process, sock, trampoline, tty};
use crate::userns::idmap::{IdMapping, IdMaps, to_host};

/// A payload to be.
pub struct Payload<'a> {
    pub process: &'a Process,
    pub user: User,
    pub streams: [OwnedFd; 3],
    /// Where it begins.
    pub cwd: OwnedFd,
    /// Whether its user namespace has more ids than root's.
    pub has_ranges: bool,
    /// The conversation with Monitor: the trampoline reports a failed execve there, and EOF tells that it succeeded.
    pub monitor: OwnedFd,
    /// Where a test may kill it.
    pub milestone: &'static str,
}

impl Payload<'_> {
    /// Becomes the payload; returns only why not.
    pub fn execute(self) -> Result<Infallible> {
        let process = self.process;
        nix::unistd::setsid().context("cannot begin a session")?;
        if process.terminal {
            tty::control(self.streams[0].as_fd()).context("cannot take the terminal")?;
        }
        process::reset_signals();
        umask(Mode::from_bits_truncate(process.user.umask.unwrap_or(0o022)));
        let bits = names_to_bits(&process.capabilities)?;
        caps::limit_bounding(bits).context("cannot limit capabilities")?;
        // With a single id groups can be neither set nor looked at as anything but nobody's.
        if self.has_ranges {
            process::set_groups(&self.user.groups).context("cannot set the supplementary groups")?;
        }
        let (uid, gid) = (self.user.uid, self.user.gid);
        // Capabilities that a change of ids would drop are dropped anyway by execve, unless the payload is root.
        process::set_ids(uid, gid).with_context(|| format!("cannot become {uid}:{gid}"))?;
        if process.no_new_privileges {
            process::set_no_new_privs()?;
        }
        nix::unistd::fchdir(&self.cwd).with_context(|| format!("cannot enter the working directory {}", process.cwd))?;
        let command = self.command()?;
        if uid == 0 {
            caps::set(bits).context("cannot set capabilities")?;
        }
        process::set_parent_death_signal(libc::SIGKILL)?;
        if sock::hung_up(&self.monitor) {
            bail!("the monitor died");
        }
        milestone(self.milestone);
        command.execute(self.streams, self.monitor.as_fd())
    }

    /// Finds the command as the user will be able to: with its ids, from its directory, by its PATH.
    fn command(&self) -> Result<Command> {
        let process = self.process;
        let mut env = process.env.clone();
        if !env.iter().any(|entry| entry.starts_with("HOME=")) {
            env.push(format!("HOME={}", self.user.home));
        }
        let path = env.iter().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or_default();
        let path = find_command(&process.args[0], path)?;
        let strings = |words: &[String]| {
            let words = words.iter().map(|word| CString::new(word.as_str()));
            words.collect::<Result<Vec<_>, _>>().context("an argument has a NUL byte")
        };
        Ok(Command { path, argv: strings(&process.args)?, env: strings(&env)?, trampoline: trampoline::program()? })
    }
}

/// Looks a user up in the container's own files, each opened beneath the root and never larger than the limit.
pub fn find_user(root: BorrowedFd, process: &Process, maps: &IdMaps) -> Result<User> {
    let read = |path: &str| {
        let bytes = inroot::read(root, Path::new(path), user::FILE_LIMIT);
        bytes.map(Option::unwrap_or_default).with_context(|| format!("cannot read the container's {path}"))
    };
    let (passwd, group) = (read("/etc/passwd")?, read("/etc/group")?);
    let wanted = &process.user;
    let user = user::resolve(&wanted.username, &wanted.additional_groups, &passwd, &group).context("cannot find the user")?;
    let unmapped = |lines: &[IdMapping], id: &u32| to_host(lines, *id).is_none();
    let groups = if maps.has_ranges() { user.groups.as_slice() } else { &[user.gid] };
    let missing = Some(user.uid).filter(|id| unmapped(&maps.uid, id));
    if let Some(id) = missing.or_else(|| groups.iter().copied().find(|id| unmapped(&maps.gid, id))) {
        return Err(anyhow!("id {id} of user \"{}\" does not exist in the container", wanted.username))
            .hint(|| "rl info shows the ids there are; more come with a larger range in /etc/subuid and /etc/subgid");
    }
    Ok(user)
}

/// A new terminal for the payload: its slave thrice, given to the user, and the master.
pub fn own_terminal(
    (master, slave): (OwnedFd, OwnedFd),
    user: &User,
    window: Option<(u16, u16)>,
) -> Result<(OwnedFd, [OwnedFd; 3])> {
    nix::unistd::fchown(&slave, Some(user.uid.into()), None).context("cannot give the terminal to the user")?;
    if let Some(size) = window {
        tty::set_size(master.as_fd(), size).context("cannot set the terminal's size")?;
    }
    Ok((master, [slave.try_clone()?, slave.try_clone()?, slave]))
}

/// Sets the resource limits that were asked for.
pub fn limit(process: &Process) -> Result<()> {
    for limit in &process.rlimits {
        let resource = resource(&limit.kind).with_context(|| format!("unknown limit {}", limit.kind))?;
        setrlimit(resource, limit.soft, limit.hard)
            .with_context(|| format!("cannot set {} to {}:{}", limit.kind, limit.soft, limit.hard))
            .hint(|| "a limit cannot be raised above your own hard limit: ulimit -Ha")?;
    }
    Ok(())
}

/// A command, ready but for its execve.
struct Command {
    path: CString,
    argv: Vec<CString>,
    env: Vec<CString>,
    trampoline: OwnedFd,
}

impl Command {
    /// Puts the streams on 0 to 2 and the conversation on 3, marks everything else to be closed, and executes.
    fn execute(self, streams: [OwnedFd; 3], monitor: BorrowedFd) -> Result<Infallible> {
        // Above the places that are about to be taken, or one would overwrite another.
        let high = |fd: BorrowedFd| process::duplicate_above(fd, 10);
        let [stdin, stdout, stderr] = streams;
        let trampoline = high(self.trampoline.as_fd())?;
        let placed = [high(stdin.as_fd())?, high(stdout.as_fd())?, high(stderr.as_fd())?, high(monitor)?];
        for (place, fd) in placed.iter().enumerate() {
            process::put_at(fd.as_fd(), place as i32).context("cannot place a stream")?;
        }
        process::cloexec_from(trampoline::REPORT_FD as u32 + 1).context("cannot close what is not the payload's")?;
        let mut argv = vec![c"rl-exec".to_owned(), self.path];
        argv.extend(self.argv);
        Err(anyhow::Error::new(process::exec_fd(trampoline.as_fd(), &argv, &self.env)).context("cannot execute the trampoline"))
    }
}

/// The executable that `command` names (execvp(3)): resolved beneath `/` without magic links, executable by us.
fn find_command(command: &str, path: &str) -> Result<CString> {
    let c = |text: String| CString::new(text).context("the command has a NUL byte");
    if command.contains('/') {
        let command = c(command.into())?;
        return match executable(&command) {
            Ok(()) => Ok(command),
            Err(error) => Err(refused(&command.to_string_lossy(), error)),
        };
    }
    let mut denied = None;
    for dir in path.split(':').filter(|dir| !dir.is_empty()) {
        let candidate = c(format!("{}/{command}", dir.trim_end_matches('/')))?;
        match executable(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => {}
            Err(error) => denied = Some((candidate, error)),
        }
    }
    match denied {
        Some((candidate, error)) => Err(refused(&candidate.to_string_lossy(), error)),
        None => Err(anyhow!("\"{command}\": executable file not found in $PATH")).exit_with(EXIT_NOT_FOUND),
    }
}

fn refused(command: &str, error: std::io::Error) -> anyhow::Error {
    let (why, code) = match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) => ("no such file or directory".to_string(), EXIT_NOT_FOUND),
        Some(libc::EACCES) => ("permission denied".to_string(), EXIT_NOT_EXECUTABLE),
        Some(libc::ELOOP) => ("leads through a link of the kernel's, such as /proc/self/exe".to_string(), EXIT_NOT_EXECUTABLE),
        _ => (error.to_string(), EXIT_NOT_EXECUTABLE),
    };
    Err::<Infallible, _>(anyhow!("cannot execute \"{command}\": {why}")).exit_with(code).unwrap_err()
}

fn executable(path: &CString) -> std::io::Result<()> {
    use nix::sys::stat::SFlag;
    use nix::unistd::{AccessFlags, faccessat};
    let file = fs::open_no_magic(path, libc::O_PATH)?;
    if inroot::file_type(file.as_fd())? != SFlag::S_IFREG {
        return Err(std::io::Error::from_raw_os_error(libc::EACCES));
    }
    faccessat(&file, c"", AccessFlags::X_OK, nix::fcntl::AtFlags::AT_EMPTY_PATH | nix::fcntl::AtFlags::AT_EACCESS)?;
    Ok(())
}

/// getrlimit(2)'s constants by name.
fn resource(kind: &str) -> Option<Resource> {
    Some(match kind {
        "RLIMIT_CORE" => Resource::RLIMIT_CORE,
        "RLIMIT_CPU" => Resource::RLIMIT_CPU,
        "RLIMIT_DATA" => Resource::RLIMIT_DATA,
        "RLIMIT_FSIZE" => Resource::RLIMIT_FSIZE,
        "RLIMIT_LOCKS" => Resource::RLIMIT_LOCKS,
        "RLIMIT_MEMLOCK" => Resource::RLIMIT_MEMLOCK,
        "RLIMIT_MSGQUEUE" => Resource::RLIMIT_MSGQUEUE,
        "RLIMIT_NICE" => Resource::RLIMIT_NICE,
        "RLIMIT_NOFILE" => Resource::RLIMIT_NOFILE,
        "RLIMIT_NPROC" => Resource::RLIMIT_NPROC,
        "RLIMIT_RSS" => Resource::RLIMIT_RSS,
        "RLIMIT_RTPRIO" => Resource::RLIMIT_RTPRIO,
        "RLIMIT_RTTIME" => Resource::RLIMIT_RTTIME,
        "RLIMIT_SIGPENDING" => Resource::RLIMIT_SIGPENDING,
        "RLIMIT_STACK" => Resource::RLIMIT_STACK,
        _ => return None,
    })
}

/// Why a command cannot be run, by what execve says, and Docker's code for it.
pub fn not_executed(command: &str, errno: i32) -> anyhow::Error {
    let missing = errno == libc::ENOENT;
    let why = match errno {
        libc::ENOENT => "its interpreter or loader is not in the container".to_string(),
        libc::ENOEXEC => "not a program for this machine (exec format error)".to_string(),
        errno => Errno::from_raw(errno).desc().to_string(),
    };
    let exit = Some(if missing { EXIT_NOT_FOUND } else { EXIT_NOT_EXECUTABLE });
    Failure { message: format!("cannot execute \"{command}\": {why}"), hint: None, exit }.into()
}
