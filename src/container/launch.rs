//! Client: from the command line to a running container, and beside it until it ends.
//!
//! Started by the user. Namespaces: all the host's. Owns the caller's terminal and streams, one end of the conversation with Monitor, and
//! until Monitor has it the record's lock. While newuidmap and newgidmap work it does everything that needs no ids of U.
//! Waits for signals, Monitor's messages and the streams it relays. Ends with the payload's exit code, right at Monitor's report.

use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::config::{self, Config, Given};
use super::console::{self, RawMode, Relays};
use super::monitor::{self, Monitor};
use super::options::Options;
use super::record::{self, Draft};
use super::stdio::{self, Ends};
use super::wire::{self, FromClient, FromMonitor, milestone};
use super::{names, obtain, parse, volume};
use crate::error::Advise;
use crate::host::facts::{Caller, kernel};
use crate::host::paths::Paths;
use crate::image::{Image, Source, Store};
use crate::network::resolv;
use crate::oci::image::ContainerConfig;
use crate::rootfs::host_view::{self, View};
use crate::rootfs::mountinfo;
use crate::rootfs::plan::{self, Plan, RootSource, Surroundings};
use crate::sys::process::{self, Fork};
use crate::sys::{fs as sys_fs, sock};
use crate::userns::idmap::{IdMaps, to_host};
use crate::userns::shared::Pending;

/// Group `tty` in practically every distribution, and what glibc's grantpt wants.
const TTY_GROUP: u32 = 5;

/// `rl run`: returns the payload's exit code.
pub fn run(options: &Options, paths: &Paths, caller: &Caller, pending: Pending) -> Result<u8> {
    check_terminal(options)?;
    if let Some((lacking, cure)) = &pending.plan().warning {
        eprintln!("rl: {lacking} (try: {cure})");
    }
    let (config, pending) = prepare(options, paths, caller, pending)?;
    // From here on a Ctrl-C is for the payload: it waits in the queue until there is one.
    let signals = catch_signals(options.tty)?;
    let name = config.name.clone();
    let mut started = start(config, options, paths, pending).with_context(|| format!("cannot start \"{name}\""))?;
    let code = attend(&mut started, &signals, options);
    if code.is_err() {
        started.take_back(paths, options);
    }
    code
}

/// Decides everything and checks what can be checked; only an image's layers are written, where they are not unpacked yet.
fn prepare(options: &Options, paths: &Paths, caller: &Caller, pending: Pending) -> Result<(Config, Pending)> {
    if let Some(cidfile) = options.cidfile.as_ref().filter(|file| file.exists()) {
        bail!("the container id file {} exists already", cidfile.display());
    }
    check_sources(options)?;
    record::make_store(paths, pending.plan().maps.root())?;
    let source = options.image.parse::<Source>()?;
    if let Source::Rootfs(dir) = &source {
        let config = configure(options, paths, caller, None, RootSource::Directory(checked_directory(dir)?))?;
        return Ok((config, pending));
    }
    let store = Store::new(&paths.store);
    let kept = options.userns.kept((caller.uid, caller.gid));
    let (image, mut pending) = obtain::image(&store, &source, options, pending, kept)?;
    let map_id = pending.plan().maps.of_layers(kept).id();
    if !image.missing_layers(&store, &map_id).is_empty() {
        // Unpacking needs U, so there is nothing to overlap with; the second run finds the layers.
        let userns = pending.finish()?;
        for warning in image.unpack(&store, &userns.for_layers(kept)?)? {
            eprintln!("rl: {warning}");
        }
        pending = Pending::Ready(userns);
    }
    let root = RootSource::Layers(image.layer_dirs(&store, &map_id));
    Ok((configure(options, paths, caller, Some(&image), root)?, pending))
}

fn check_terminal(options: &Options) -> Result<()> {
    let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stdin());
    if options.tty && options.interactive && !is_terminal {
        return Err(anyhow!("the input device is not a terminal")).hint(|| "leave out -t, or run it from a terminal");
    }
    Ok(())
}

/// A bind's source must exist: Docker's way of making an empty directory hides typing errors.
fn check_sources(options: &Options) -> Result<()> {
    for mount in options.volume.iter().chain(&options.mount) {
        if let parse::MountSource::Host(source) = &mount.source
            && let Err(error) = fs::metadata(source)
        {
            let cure = || format!("mkdir -p {}", source.display());
            return Err(error).with_context(|| format!("cannot mount {}", source.display())).hint(cure);
        }
    }
    Ok(())
}

fn checked_directory(dir: &Path) -> Result<PathBuf> {
    let dir = dir.canonicalize().with_context(|| format!("cannot use {} as a root file system", dir.display()))?;
    if !dir.is_dir() {
        bail!("cannot use {} as a root file system: not a directory", dir.display());
    }
    fs::read_dir(&dir).with_context(|| format!("cannot use {} as a root file system", dir.display()))?;
    Ok(dir)
}

fn configure(options: &Options, paths: &Paths, caller: &Caller, image: Option<&Image>, root: RootSource) -> Result<Config> {
    let id = random_id()?;
    let name = options.name.clone().unwrap_or_else(|| names::from_id(&id));
    let none = ContainerConfig::default();
    let mut env_files = Vec::new();
    for file in &options.env_file {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read env file {}", file.display()))?;
        env_files.extend(parse::env_file(&text).with_context(|| format!("bad env file {}", file.display()))?);
    }
    config::build(
        options,
        Given {
            id,
            name,
            created: record::now(),
            image_id: image.map(|image| image.id.to_string()).unwrap_or_default(),
            image_digest: image.map(|image| image.manifest.to_string()).unwrap_or_default(),
            root,
            image: image.and_then(|image| image.config.config.as_ref()).unwrap_or(&none),
            hostname: nix::unistd::gethostname().map(|h| h.to_string_lossy().into_owned()).unwrap_or_default(),
            caller: (caller.uid, caller.gid),
            lookup: &|name| std::env::var(name).ok(),
            env_files,
            volumes: &paths.volumes(),
            volume_name: &|| random_id().unwrap_or_default(),
        },
    )
}

/// 64 hex digits.
fn random_id() -> Result<String> {
    let mut id = [0; 32];
    fs::File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut id)).context("cannot read /dev/urandom")?;
    Ok(id.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A container that runs, or is about to.
struct Started {
    monitor: process::Child,
    conversation: OwnedFd,
    config: Config,
    relays: Relays,
}

impl Started {
    /// Discards the record of a container that never came to life, where Monitor could not say so in it.
    fn take_back(&self, paths: &Paths, options: &Options) {
        let _ = self.monitor.wait();
        let path = paths.containers().join(&self.config.id);
        if !path.join("state.json").exists() {
            discard(paths, &path, &self.config, options);
        }
    }
}

/// Clones Monitor and gives it what it waits for, each as soon as it is there: U while newuidmap works takes longest, else the record.
fn start(config: Config, options: &Options, paths: &Paths, pending: Pending) -> Result<Started> {
    let owner = pending.plan().maps.root();
    let on_tmpfs = needs_tmpfs(paths)?;
    let nested = monitor::nested(&config, &pending.plan().maps);
    let plan = plan_mounts(&config, paths, &nested, on_tmpfs)?;
    let (streams, ends) = match config.spec.process.terminal {
        true => (None, Ends::default()),
        false => stdio::prepare(config.interactive, owns_streams(&config, owner), owner)
            .map(|(streams, ends)| (Some(streams), ends))?,
    };
    let (conversation, monitors_end) = sock::pair().context("cannot create a socket pair")?;
    let store = record::open_directory(&paths.store)?;
    let monitor = match process::fork(0).context("cannot start the monitor")? {
        Fork::Child => {
            drop(conversation);
            let path = paths.containers().join(&config.id);
            let (boot_id, window) = (record::boot_id(), console::size());
            monitor::run(
                Monitor { config, plan, streams, ends, client: monitors_end, store, path, boot_id, window },
                pending.into_prospect(),
            )
        }
        Fork::Parent(child) => child,
    };
    drop((monitors_end, streams));
    milestone("client-cloned");
    // Under keep-id they belong to an id that only Init has.
    let overlay = matches!(config.root, RootSource::Layers(_)) && !on_tmpfs && config.keep_id.is_none();
    let record = || make_record(options, paths, &config, owner, overlay);
    let early = if matches!(pending, Pending::Making { .. }) { Some(record()?) } else { None };
    let userns = match pending.finish() {
        Ok(userns) => userns,
        Err(error) => {
            early.iter().for_each(|draft| discard(paths, &draft.path, &config, options));
            return Err(error);
        }
    };
    // A Monitor that died is noticed in attend, by the end of the conversation.
    let _ = wire::send(&conversation, &FromClient::ClientMapped, &[userns.namespace()]);
    let draft = early.map_or_else(record, Ok)?;
    milestone("client-recorded");
    let _ = wire::send(&conversation, &FromClient::ClientRecorded, &[draft.directory.as_fd()]);
    milestone("client-started");
    Ok(Started { monitor, conversation, config, relays: Relays::of_pipes(ends)? })
}

/// The record, then what it names: volumes and the container id file. Interrupted between, the record tells what there may be.
fn make_record(options: &Options, paths: &Paths, config: &Config, owner: (u32, u32), overlay: bool) -> Result<Draft> {
    let draft = record::create(paths, config, owner, overlay)?;
    let made = make_volumes(paths, config, owner).and_then(|()| match &options.cidfile {
        Some(file) => fs::File::create_new(file)
            .and_then(|mut file| std::io::Write::write_all(&mut file, config.id.as_bytes()))
            .with_context(|| format!("cannot write the container id file {}", file.display())),
        None => Ok(()),
    });
    match made {
        Ok(()) => Ok(draft),
        Err(error) => {
            discard(paths, &draft.path, config, options);
            Err(error)
        }
    }
}

fn make_volumes(paths: &Paths, config: &Config, owner: (u32, u32)) -> Result<()> {
    config.volumes.iter().try_for_each(|v| volume::create(paths, &v.name, Default::default(), v.anonymous, owner).map(drop))
}

/// Takes back a record that nobody has used yet: it holds only what the caller made.
fn discard(paths: &Paths, path: &Path, config: &Config, options: &Options) {
    if config.named {
        let _ = fs::remove_file(paths.names().join(&config.name));
    }
    for volume in config.volumes.iter().filter(|volume| volume.anonymous) {
        let _ = fs::remove_dir_all(paths.volumes().join(&volume.name));
    }
    if let Some(cidfile) = &options.cidfile {
        let _ = fs::remove_file(cidfile);
    }
    let _ = fs::remove_dir_all(path);
}

/// Container root owns what the caller owns; so does the caller's own number under keep-id.
fn owns_streams(config: &Config, root: (u32, u32)) -> bool {
    if root.0 != nix::unistd::geteuid().as_raw() {
        return false;
    }
    let user = config.spec.process.user.username.split(':').next().unwrap_or("");
    match config.keep_id {
        None => matches!(user, "" | "0" | "root"),
        Some((uid, _)) => user == uid.to_string(),
    }
}

fn plan_mounts(config: &Config, paths: &Paths, nested: &IdMaps, upper_on_tmpfs: bool) -> Result<Plan> {
    let volatile = config.auto_remove;
    let root = match &config.root {
        RootSource::Layers(layers) => plan::root_of_layers(layers, volatile),
        RootSource::Directory(dir) => {
            let mounts = mountinfo::read().context("cannot read /proc/self/mountinfo")?;
            let hidden = hidden_in(dir, paths);
            host_view::plan(&View { dir, mounts: &mounts, hidden: &hidden, volatile }, &host_view::list)
        }
    };
    let hostname = &config.spec.hostname;
    let etc = vec![
        ("hosts", resolv::hosts(config.network, hostname, &config.add_hosts)),
        ("hostname", format!("{hostname}\n")),
        ("resolv.conf", resolv::resolv_conf(config.network, &config.dns)),
    ];
    let tty_group = to_host(&nested.gid, TTY_GROUP).is_some();
    plan::plan(&config.spec, Surroundings { root, etc, tty_group, upper_on_tmpfs })
}

/// Of the host's own root: what is always fresh, homes, and what belongs to `rl`. Of any other directory: the store, if it is inside.
fn hidden_in(dir: &Path, paths: &Paths) -> Vec<PathBuf> {
    let mut hidden = vec![paths.store.clone(), paths.runtime.clone()];
    if dir == Path::new("/") {
        hidden.extend(host_view::FRESH.iter().map(PathBuf::from));
        hidden.extend(["/home", "/root"].map(PathBuf::from));
        hidden.extend(std::env::home_dir());
    }
    let mut real: Vec<PathBuf> = hidden.iter().filter_map(|path| path.canonicalize().ok()).collect();
    real.append(&mut hidden);
    real.retain(|path| path.starts_with(dir) && path != dir);
    real
}

/// Whether the store's file system cannot hold an overlay's upper directory: it is an overlay itself, as in another container.
fn needs_tmpfs(paths: &Paths) -> Result<bool> {
    const OVERLAYFS: i64 = 0x794c_7630;
    const FUSE: i64 = 0x6573_5546;
    let opened = record::open_directory(&paths.store)?;
    let unsuitable = matches!(sys_fs::fs_magic(opened.as_fd()).unwrap_or(0), OVERLAYFS | FUSE);
    if unsuitable && kernel() < (6, 6) {
        return Err(anyhow!("the store's file system cannot hold a container's changes, and a tmpfs can from Linux 6.6 on"))
            .hint(|| "rl --root DIR with a directory on ext4, xfs or btrfs");
    }
    Ok(unsuitable)
}

/// Every signal that can be caught and means something to a payload. SIGTSTP and its kin stay the caller's shell's.
fn catch_signals(has_terminal: bool) -> Result<SignalFd> {
    let own = [
        Signal::SIGSEGV,
        Signal::SIGBUS,
        Signal::SIGFPE,
        Signal::SIGILL,
        Signal::SIGTRAP,
        Signal::SIGABRT,
        Signal::SIGKILL,
        Signal::SIGSTOP,
        Signal::SIGTSTP,
        Signal::SIGTTIN,
        Signal::SIGTTOU,
        Signal::SIGPIPE,
        Signal::SIGCHLD,
        Signal::SIGURG,
    ];
    let mut set = SigSet::empty();
    Signal::iterator().filter(|signal| !own.contains(signal)).for_each(|signal| set.add(signal));
    // With a terminal the hang-up is the terminal's end, not a message to the payload: Client goes, the container stays.
    if has_terminal {
        set.remove(Signal::SIGHUP);
    }
    set.thread_block().context("cannot block signals")?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).context("cannot receive signals")
}

/// Stays with the container: forwards signals and streams until Monitor reports the end.
fn attend(started: &mut Started, signals: &SignalFd, options: &Options) -> Result<u8> {
    let Started { monitor, conversation, config, relays } = started;
    let (conversation, name) = (&*conversation, &config.name);
    let mut terminal: Option<(OwnedFd, Option<RawMode>)> = None;
    loop {
        let mut set = vec![PollFd::new(conversation.as_fd(), PollFlags::POLLIN), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        set.extend(relays.interests());
        match poll(&mut set, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => continue,
            other => other.context("cannot wait for the container")?,
        };
        let fired = |fd: &&PollFd| fd.any().unwrap_or(true);
        let ready: Vec<i32> = set.iter().filter(fired).map(|fd| fd.as_fd().as_raw_fd()).collect();
        drop(set);
        if ready.contains(&signals.as_raw_fd()) {
            while let Ok(Some(signal)) = signals.read_signal() {
                forward(signal.ssi_signo as i32, conversation, terminal.as_ref().map(|(master, _)| master));
            }
        }
        if relays.advance(&ready) {
            let _ = wire::send(conversation, &FromClient::ClientOutputBroken, &[]);
        }
        if !ready.contains(&conversation.as_raw_fd()) {
            continue;
        }
        match wire::receive::<FromMonitor>(conversation)? {
            Some((FromMonitor::MonitorStarted, fds)) => {
                if let Some(master) = fds.into_iter().next() {
                    console::copy_size(master.as_fd());
                    *relays = Relays::of_terminal(&master, options.interactive)?;
                    let raw = if options.interactive { RawMode::enter()? } else { None };
                    terminal = Some((master, raw));
                }
            }
            Some((FromMonitor::MonitorEnded { exit_code }, _)) => {
                std::mem::take(relays).drain();
                return Ok(exit_code);
            }
            Some((FromMonitor::MonitorFailed(failure), _)) => {
                return Err(anyhow::Error::new(failure).context(format!("cannot start \"{name}\"")));
            }
            None => {
                drop(terminal);
                let exit = monitor.wait();
                bail!("the monitor of \"{name}\" died ({}): the container is ended, its exit code unknown", ended(exit));
            }
        }
    }
}

fn ended(exit: std::io::Result<process::Exit>) -> String {
    match exit {
        Ok(process::Exit::Signal(signal)) => format!("signal {signal}"),
        Ok(process::Exit::Code(code)) => format!("exit code {code}"),
        Err(error) => error.to_string(),
    }
}

fn forward(signal: i32, conversation: &OwnedFd, terminal: Option<&OwnedFd>) {
    match terminal {
        Some(master) if signal == libc::SIGWINCH => console::copy_size(master.as_fd()),
        _ => drop(wire::send(conversation, &FromClient::ClientSignal(signal), &[])),
    }
}
