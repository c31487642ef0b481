//! Init: from a clone of Monitor to the payload.
//!
//! Started by Monitor. Namespaces: user (nested in U), mount, and of its own unless shared with the host: pid, network,
//! ipc, uts, cgroup, time; the network's it makes itself, beside the mounts, and enters. Owns one end of the conversation with Monitor, the payload's streams, and while it builds them the mounts of the root. Waits
//! for its id maps and for the record. Ends in the execve of the payload, by way of the trampoline; under `--init` a child of it does, and it
//! stays as the Reaper. Undumpable throughout: nothing in the container may look into a process that has the host's memory.

use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::{Mode, umask};

use super::config::Config;
use super::stdio::{Stream, Streams};
use super::user::{self, User};
use super::wire::{self, FromInit, ToInit, milestone};
use crate::error::{Advise, EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND, Failure};
use crate::network;
use crate::role::Role;
use crate::rootfs::apply::{Builder, Rootfs};
use crate::rootfs::plan::Plan;
use crate::rootfs::{dev, inroot};
use crate::security::caps::names_to_bits;
use crate::sys::process::{self, Exit, Fork};
use crate::sys::{caps, fs, mount, sock, trampoline, tty};
use crate::userns::idmap::{IdMapping, IdMaps, to_host};

/// What Init inherits from Monitor.
pub struct Init<'a> {
    pub config: &'a Config,
    pub plan: &'a Plan,
    /// The container's directory on the host.
    pub directory: &'a Path,
    /// None with a terminal.
    pub streams: Option<Streams>,
    pub monitor: OwnedFd,
    /// Rows and columns of the terminal that the payload finds from its first moment.
    pub window: Option<(u16, u16)>,
    /// The ids that exist in the container.
    pub maps: &'a IdMaps,
}

/// Lives Init's life: this process becomes the payload or ends.
pub fn run(mut init: Init) -> ! {
    let Err(error) = init.live();
    let _ = wire::send(&init.monitor, &FromInit::InitFailed(Failure::from(&error)), &[]);
    process::exit_now(EXIT_NOT_FOUND)
}

/// The payload, ready but for its execve.
struct Payload {
    path: CString,
    argv: Vec<CString>,
    env: Vec<CString>,
    trampoline: OwnedFd,
}

impl Init<'_> {
    fn live(&mut self) -> Result<Infallible> {
        process::set_title(&Role::Init.title(&self.config.name), &Role::Init.comm());
        self.close_what_is_monitors()?;
        // What is made on the way has the mode that is written there, whoever calls.
        umask(Mode::empty());
        let network = network::begin(self.config.network).context("cannot create the network")?;
        if wire::receive::<ToInit>(&self.monitor)?.is_none() {
            bail!("the monitor died");
        }
        let caller = self.become_root()?;
        // Not before: Monitor could not have written the maps of an undumpable process.
        process::set_dumpable(false)?;
        if wire::receive::<ToInit>(&self.monitor)?.is_none() {
            bail!("the monitor died");
        }
        let mut builder = Builder::new(self.directory, caller)?;
        let (before, after) = self.plan.at_the_network();
        builder.apply(before)?;
        network.enter().context("cannot bring up the network")?;
        builder.apply(after)?;
        let rootfs = builder.finish()?;
        milestone("init-mounted");
        let user = self.user(&rootfs)?;
        let (master, streams) = self.streams(&rootfs, &user)?;
        self.host_name()?;
        let cwd = self.working_directory(&rootfs)?;
        let master: Vec<BorrowedFd> = master.iter().map(|fd| fd.as_fd()).collect();
        wire::send(&self.monitor, &FromInit::InitRootReady, &master)?;
        milestone("init-root-ready");
        enter(&rootfs)?;
        drop(rootfs);
        self.limits()?;
        if self.config.init {
            self.stay_as_reaper()?;
        }
        self.become_payload(&user, streams, cwd)
    }

    /// What is made from here on is container root's. Returns the caller's own ids in the container, where these are others.
    fn become_root(&self) -> Result<Option<(u32, u32)>> {
        let caller = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        if caller == (0, 0) || !self.maps.has_ranges() {
            return Ok(None);
        }
        process::set_ids(0, 0).context("cannot become root of the container")?;
        Ok(Some(caller))
    }

    /// With Monitor's end of its conversation with Client, say, Monitor's death would go unnoticed.
    fn close_what_is_monitors(&self) -> Result<()> {
        let mut keep = vec![self.monitor.as_raw_fd()];
        if let Some(streams) = &self.streams {
            keep.extend(streams.raw());
        }
        process::close_all_but(&keep).context("cannot close inherited descriptors")
    }

    /// Looks the user up in the container's own files, each opened beneath the root and never larger than the limit.
    fn user(&self, rootfs: &Rootfs) -> Result<User> {
        let read = |path: &str| {
            let bytes = inroot::read(rootfs.root.as_fd(), Path::new(path), user::FILE_LIMIT);
            bytes.map(Option::unwrap_or_default).with_context(|| format!("cannot read the container's {path}"))
        };
        let (passwd, group) = (read("/etc/passwd")?, read("/etc/group")?);
        let wanted = &self.config.spec.process.user;
        let user = user::resolve(&wanted.username, &wanted.additional_groups, &passwd, &group).context("cannot find the user")?;
        let unmapped = |lines: &[IdMapping], id: &u32| to_host(lines, *id).is_none();
        let groups = if self.maps.has_ranges() { user.groups.as_slice() } else { &[user.gid] };
        let missing = Some(user.uid).filter(|id| unmapped(&self.maps.uid, id));
        if let Some(id) = missing.or_else(|| groups.iter().copied().find(|id| unmapped(&self.maps.gid, id))) {
            return Err(anyhow!("id {id} of user \"{}\" does not exist in the container", wanted.username))
                .hint(|| "rl info shows the ids there are; more come with a larger range in /etc/subuid and /etc/subgid");
        }
        Ok(user)
    }

    /// With a terminal its slave thrice, and the master for Monitor; else the streams that Client has prepared.
    fn streams(&mut self, rootfs: &Rootfs, user: &User) -> Result<(Option<OwnedFd>, [OwnedFd; 3])> {
        let own = |fd: &OwnedFd| nix::unistd::fchown(fd, Some(user.uid.into()), None);
        let Some(streams) = self.streams.take() else {
            let (master, slave) = dev::console(&rootfs.dev)?;
            own(&slave).context("cannot give the terminal to the user")?;
            if let Some(size) = self.window {
                tty::set_size(master.as_fd(), size).context("cannot set the terminal's size")?;
            }
            return Ok((Some(master), [slave.try_clone()?, slave.try_clone()?, slave]));
        };
        let take = |stream: Stream| match stream {
            Stream::Direct(fd) => Ok(fd),
            Stream::Pipe(fd) => own(&fd).context("cannot give a stream to the user").map(|()| fd),
            Stream::Null => null(rootfs),
        };
        Ok((None, [take(streams.stdin)?, take(streams.stdout)?, take(streams.stderr)?]))
    }

    fn host_name(&self) -> Result<()> {
        let spec = &self.config.spec;
        if spec.linux.has("uts") {
            nix::unistd::sethostname(&spec.hostname).context("cannot set the host name")?;
        }
        Ok(())
    }

    /// Made if missing, opened once, refused where it leads through a magic link (CVE-2024-21626).
    fn working_directory(&self, rootfs: &Rootfs) -> Result<OwnedFd> {
        let cwd = &self.config.spec.process.cwd;
        inroot::directory(rootfs.root.as_fd(), Path::new(cwd)).with_context(|| format!("cannot use the working directory {cwd}"))
    }

    fn limits(&self) -> Result<()> {
        for limit in &self.config.spec.process.rlimits {
            let resource = resource(&limit.kind).with_context(|| format!("unknown limit {}", limit.kind))?;
            setrlimit(resource, limit.soft, limit.hard)
                .with_context(|| format!("cannot set {} to {}:{}", limit.kind, limit.soft, limit.hard))
                .hint(|| "a limit cannot be raised above your own hard limit: ulimit -Ha")?;
        }
        Ok(())
    }

    /// `--init`: the payload becomes a child, and this process its reaper. Returns in the child.
    fn stay_as_reaper(&mut self) -> Result<()> {
        let child = match process::fork(0).context("cannot start the command under the reaper")? {
            Fork::Child => return Ok(()),
            Fork::Parent(child) => child,
        };
        process::set_title(&Role::Reaper.title(&self.config.name), &Role::Reaper.comm());
        let bits = names_to_bits(&self.config.spec.process.capabilities)?;
        caps::limit_bounding(bits).and_then(|()| caps::set(bits)).context("cannot limit the reaper's capabilities")?;
        reap(child)
    }

    fn become_payload(&self, user: &User, streams: [OwnedFd; 3], cwd: OwnedFd) -> Result<Infallible> {
        let process = &self.config.spec.process;
        nix::unistd::setsid().context("cannot begin a session")?;
        if process.terminal {
            tty::control(streams[0].as_fd()).context("cannot take the terminal")?;
        }
        process::reset_signals();
        umask(Mode::from_bits_truncate(process.user.umask.unwrap_or(0o022)));
        let bits = names_to_bits(&process.capabilities)?;
        caps::limit_bounding(bits).context("cannot limit capabilities")?;
        // With a single id groups can be neither set nor looked at as anything but nobody's.
        if self.maps.has_ranges() {
            process::set_groups(&user.groups).context("cannot set the supplementary groups")?;
        }
        // Capabilities that a change of ids would drop are dropped anyway by execve, unless the payload is root.
        process::set_ids(user.uid, user.gid).with_context(|| format!("cannot become {}:{}", user.uid, user.gid))?;
        if process.no_new_privileges {
            process::set_no_new_privs()?;
        }
        nix::unistd::fchdir(&cwd).with_context(|| format!("cannot enter the working directory {}", process.cwd))?;
        drop(cwd);
        let payload = self.payload(user)?;
        if user.uid == 0 {
            caps::set(bits).context("cannot set capabilities")?;
        }
        process::set_parent_death_signal(libc::SIGKILL)?;
        if sock::hung_up(&self.monitor) {
            bail!("the monitor died");
        }
        milestone("init-exec");
        execute(payload, streams, self.monitor.as_fd())
    }

    /// Finds the command as the user will be able to: with its ids, from its directory, by its PATH.
    fn payload(&self, user: &User) -> Result<Payload> {
        let process = &self.config.spec.process;
        let mut env = process.env.clone();
        if !env.iter().any(|entry| entry.starts_with("HOME=")) {
            env.push(format!("HOME={}", user.home));
        }
        let path = env.iter().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or_default();
        let path = find_command(&process.args[0], path)?;
        let strings = |words: &[String]| {
            words
                .iter()
                .map(|word| CString::new(word.as_str()))
                .collect::<Result<Vec<_>, _>>()
                .context("an argument has a NUL byte")
        };
        Ok(Payload { path, argv: strings(&process.args)?, env: strings(&env)?, trampoline: trampoline::program()? })
    }
}

/// Makes the built root this process's root; nothing of the host's tree remains in sight.
fn enter(rootfs: &Rootfs) -> Result<()> {
    nix::unistd::fchdir(&rootfs.root).context("cannot enter the new root")?;
    mount::pivot_here().context("cannot pivot into the new root")?;
    mount::umount_here().context("cannot leave the old root")?;
    nix::unistd::chdir(c"/").context("cannot enter the new root")
}

fn null(rootfs: &Rootfs) -> Result<OwnedFd> {
    fs::open_beneath(rootfs.dev.mount.as_fd(), c"null", libc::O_RDWR, 0).context("cannot open /dev/null")
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

/// Puts the streams on 0 to 2 and the conversation on 3, marks everything else to be closed, and executes.
fn execute(payload: Payload, streams: [OwnedFd; 3], monitor: BorrowedFd) -> Result<Infallible> {
    // Above the places that are about to be taken, or one would overwrite another.
    let high = |fd: BorrowedFd| process::duplicate_above(fd, 10);
    let [stdin, stdout, stderr] = streams;
    let trampoline = high(payload.trampoline.as_fd())?;
    let placed = [high(stdin.as_fd())?, high(stdout.as_fd())?, high(stderr.as_fd())?, high(monitor)?];
    for (place, fd) in placed.iter().enumerate() {
        process::put_at(fd.as_fd(), place as i32).context("cannot place a stream")?;
    }
    process::cloexec_from(trampoline::REPORT_FD as u32 + 1).context("cannot close what is not the payload's")?;
    let mut argv = vec![c"rl-exec".to_owned(), payload.path];
    argv.extend(payload.argv);
    Err(anyhow::Error::new(process::exec_fd(trampoline.as_fd(), &argv, &payload.env)).context("cannot execute the trampoline"))
}

/// PID 1 of the container: passes signals to `child`, reaps all, and ends as `child` does (tini's loop).
fn reap(child: process::Child) -> ! {
    let _ = process::set_parent_death_signal(libc::SIGKILL);
    let _ = process::close_from(0);
    let all = SigSet::all();
    let _ = all.thread_block();
    loop {
        match all.wait() {
            Ok(Signal::SIGCHLD) => {
                while let Ok(Some((pid, exit))) = process::reap_any() {
                    if pid == child.pid {
                        process::exit_now(Exit::code(exit));
                    }
                }
            }
            Ok(signal) => drop(nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.pid), signal)),
            Err(_) => {}
        }
    }
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
