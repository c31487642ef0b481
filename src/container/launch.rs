//! Client: from the command line to a running container.
//!
//! Started by the user. Namespaces: all the host's. Owns the caller's terminal and streams, one end of the conversation with Monitor, and
//! until Monitor has it the record's lock. While newuidmap and newgidmap work it does everything that needs no ids of U.
//! Then it attends the container (attend.rs), or leaves it to its Monitor.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signalfd::SignalFd;

use super::attend::{self, Attendance, Company, Outcome};
use super::config::{self, Config, Given};
use super::console::{self, Relays};
use super::events;
use super::monitor::{self, Monitor};
use super::options::Options;
use super::record::{self, Record, State};
use super::restart::RestartPolicy;
use super::sdnotify::{self, Notice};
use super::stdio::{self, Ends, Origin, Streams};
use super::wire::{self, FromClient};
use super::{boot, names, networks, obtain, parse, scope, volume};
use crate::error::Advise;
use crate::host::facts::{Caller, boot_id, kernel};
use crate::host::paths::Paths;
use crate::image::{Hold, Image, Source, Store};
use crate::network::bridge::join::Join;
use crate::network::bridge::leases::{self, Leases};
use crate::network::ports::{self, Published, Wish};
use crate::network::resolv::{self, Dns};
use crate::network::{NetworkMode, driver, ladder};
use crate::oci::image::ContainerConfig;
use crate::rootfs::host_view::{self, View};
use crate::rootfs::mountinfo;
use crate::rootfs::plan::{self, Plan, RootSource, Surroundings};
use crate::sys::failpoint::milestone;
use crate::sys::process::{self, Fork};
use crate::sys::{fs as sys_fs, sock};
use crate::userns::idmap::{IdMaps, to_host};
use crate::userns::shared::Pending;

/// Group `tty` in practically every distribution, and what glibc's grantpt wants.
const TTY_GROUP: u32 = 5;

/// `rl run`: returns the payload's exit code; detached, prints the container's id and returns 0.
pub fn run(options: &Options, company: &Company, paths: &Paths, caller: &Caller, pending: Pending) -> Result<u8> {
    let attached = matches!(company, Company::Attached { .. });
    if attached {
        check_terminal(options.usual.tty && options.usual.interactive)?;
    }
    warn(&pending);
    let (mut config, pending, held) = prepare(options, paths, caller, pending)?;
    let published = publish(options, &mut config)?;
    let published = of_monitor(&config, published);
    // From here on a Ctrl-C is for the payload: it waits in the queue until there is one.
    let signals = attend::catch_signals(company, options.usual.tty)?;
    let (id, name) = (config.id.clone(), config.name.clone());
    let state = State::created(&boot_id());
    let launch = Launch { config, published, state, draft: Draft::New(options, held) };
    let mut started = start(launch, company, paths, pending).with_context(|| format!("cannot start \"{name}\""))?;
    boot::enable(paths, &started.config);
    let end = started.attend(&signals, company);
    if end.is_err() {
        started.take_back(paths, options);
    }
    match end? {
        Outcome::Started => println!("{id}"),
        Outcome::Ended(code) => return Ok(code),
        Outcome::Detached => {}
    }
    Ok(0)
}

/// `rl create`: the record of a container that nobody has started; returns its id.
pub fn create(options: &Options, paths: &Paths, caller: &Caller, pending: Pending) -> Result<String> {
    warn(&pending);
    let (mut config, pending, held) = prepare(options, paths, caller, pending)?;
    // They are free now, and will be bound again at the start.
    publish(options, &mut config)?;
    let plan = pending.plan();
    let overlay = has_overlay(&config, needs_tmpfs(paths)?);
    let draft = make_record(options, paths, &config, plan.maps.root(), overlay)?;
    held.leases.keep();
    record::write_json(&draft.directory, record::STATE, &State::created(&boot_id()))?;
    Ok(config.id)
}

/// `rl start`: starts a container that there is already; its record is locked by `directory`. Returns as [`run`].
pub fn start_again(record: Record, directory: File, company: &Company, paths: &Paths, pending: Pending) -> Result<u8> {
    let config = record.config;
    let signals = attend::catch_signals(company, config.spec.process.terminal)?;
    let name = config.name.clone();
    let state = State { boot_id: boot_id(), restart_count: 0, stopped: false, ..record.state };
    driver::check(&config.network)?;
    let published = of_monitor(&config, ports::bind(&config.ports.iter().map(Wish::from).collect::<Vec<_>>())?);
    let launch = Launch { config, published, state, draft: Draft::Made(record::Draft { path: record.directory, directory }) };
    let mut started = start(launch, company, paths, pending).with_context(|| format!("cannot start \"{name}\""))?;
    boot::enable(paths, &started.config);
    Ok(match started.attend(&signals, company)? {
        Outcome::Ended(code) => code,
        Outcome::Started | Outcome::Detached => 0,
    })
}

fn warn(pending: &Pending) {
    if let Some((lacking, cure)) = &pending.plan().warning {
        eprintln!("rl: {lacking} (try: {cure})");
    }
}

/// Decides everything and checks what can be checked; only an image's layers are written, where they are not unpacked yet. They are held
/// from being removed until the record names them, as are the places on networks.
fn prepare(options: &Options, paths: &Paths, caller: &Caller, pending: Pending) -> Result<(Config, Pending, Held)> {
    if let Some(cidfile) = options.more.cidfile.as_ref().filter(|file| file.exists()) {
        bail!("the container id file {} exists already", cidfile.display());
    }
    check_sources(options)?;
    let (network, joins) = networks::asked(options, paths)?;
    let network = ladder::choose(network.as_ref(), &paths.runtime)?;
    driver::check(&network)?;
    record::make_store(paths, pending.plan().maps.root())?;
    let source = options.usual.image.parse::<Source>()?;
    if let Source::Rootfs(dir) = &source {
        let root = RootSource::Directory(checked_directory(dir)?);
        let (config, leases) = configure(options, paths, (caller, network, &joins), None, root)?;
        return Ok((config, pending, Held { image: None, leases }));
    }
    let store = Store::new(&paths.store);
    let kept = options.more.userns.kept((caller.uid, caller.gid));
    let (image, mut pending, hold) = obtain::image(&store, &source, options, pending, kept)?;
    let map_id = pending.plan().maps.of_layers(kept).id();
    if !image.missing_layers(&store, &map_id).is_empty() {
        // Unpacking needs U, so there is nothing to overlap with; the second run finds the layers.
        let mut userns = pending.finish()?;
        userns.share()?;
        for warning in image.unpack(&store, &userns.for_layers(kept)?)? {
            eprintln!("rl: {warning}");
        }
        pending = Pending::Ready(userns);
    }
    let root = RootSource::Layers(image.layer_dirs(&store, &map_id));
    let (config, leases) = configure(options, paths, (caller, network, &joins), Some(&image), root)?;
    Ok((config, pending, Held { image: Some(hold), leases }))
}

/// What nobody may take from a container until it has a record.
#[derive(Default)]
struct Held {
    image: Option<Hold>,
    leases: Leases,
}

/// Binds the ports that are to be published, and notes them in the configuration.
fn publish(options: &Options, config: &mut Config) -> Result<Vec<Published>> {
    let mut wishes: Vec<Wish> = options.usual.publish.iter().flat_map(|wishes| wishes.0.clone()).collect();
    if options.more.publish_all {
        wishes.extend(ports::of_exposed(&config.exposed_ports, &wishes)?);
    }
    if !wishes.is_empty() && matches!(config.network, NetworkMode::None | NetworkMode::Host | NetworkMode::Container(_)) {
        return Err(anyhow!("cannot publish ports with --network {}", config.network))
            .hint(|| "leave out --network, or -p: on the host's own network every port is open already");
    }
    if !wishes.is_empty() && !config.networks.is_empty() && config.networks.iter().all(|network| network.internal) {
        return Err(anyhow!("cannot publish ports on the network \"{}\": it is internal", config.network))
            .hint(|| "another --network beside it, or leave out -p");
    }
    let published = bind(&config.network, wishes)?;
    config.ports = published.iter().map(|published| published.mapping.clone()).collect();
    Ok(published)
}

/// Binds the ports that are to be published on a network.
pub fn bind(mode: &NetworkMode, mut wishes: Vec<Wish>) -> Result<Vec<Published>> {
    if matches!(mode, NetworkMode::Slirp(_)) {
        wishes.iter_mut().try_for_each(ports::only_ipv4)?;
    }
    ports::bind(&wishes)
}

/// What of the published ports is Monitor's: a driver binds them itself, so nobody else may.
fn of_monitor(config: &Config, mut published: Vec<Published>) -> Vec<Published> {
    if !matches!(config.network, NetworkMode::Gateway { .. } | NetworkMode::User(_)) {
        published.clear();
    }
    published
}

/// A terminal can only take what is typed on one.
pub fn check_terminal(needed: bool) -> Result<()> {
    if needed && !std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        return Err(anyhow!("the input device is not a terminal")).hint(|| "leave out -t, or run it from a terminal");
    }
    Ok(())
}

/// A bind's source must exist: Docker's way of making an empty directory hides typing errors.
fn check_sources(options: &Options) -> Result<()> {
    for mount in options.usual.volume.iter().chain(&options.usual.mount) {
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

fn configure(
    options: &Options,
    paths: &Paths,
    (caller, network, joins): (&Caller, NetworkMode, &[Join]),
    image: Option<&Image>,
    root: RootSource,
) -> Result<(Config, Leases)> {
    let id = random_id()?;
    let (networks, leases) = networks::take(paths, joins, &id)?;
    let name = options.usual.name.clone().unwrap_or_else(|| names::from_id(&id));
    let none = ContainerConfig::default();
    let peer = match &network {
        NetworkMode::Container(name) => {
            let peer = record::find(paths, name).with_context(|| format!("cannot share the network of \"{name}\""))?;
            Some((peer.config.id, peer.config.spec.hostname))
        }
        _ => None,
    };
    let config = config::build(
        options,
        Given {
            network,
            networks,
            peer,
            id,
            name,
            created: record::now(),
            image_id: image.map(|image| image.id.to_string()).unwrap_or_default(),
            image_digest: image.map(|image| image.manifest.to_string()).unwrap_or_default(),
            root,
            image: image.and_then(|image| image.config.config.as_ref()).unwrap_or(&none),
            hostname: nix::unistd::gethostname().map(|h| h.to_string_lossy().into_owned()).unwrap_or_default(),
            caller: (caller.uid, caller.gid),
            create_command: std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect(),
            lookup: &|name| std::env::var(name).ok(),
            env_files: env_files(&options.usual.env_file)?,
            volumes: &paths.volumes(),
            volume_name: &|| random_id().unwrap_or_default(),
        },
    )?;
    Ok((config, leases))
}

/// The entries of `--env-file`s.
pub fn env_files(files: &[PathBuf]) -> Result<Vec<String>> {
    let mut entries = Vec::new();
    for file in files {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read env file {}", file.display()))?;
        entries.extend(parse::env_file(&text).with_context(|| format!("bad env file {}", file.display()))?);
    }
    Ok(entries)
}

/// 64 hex digits.
pub fn random_id() -> Result<String> {
    let mut id = [0; 32];
    fs::File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut id)).context("cannot read /dev/urandom")?;
    Ok(id.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What is to be started.
struct Launch<'a> {
    config: Config,
    published: Vec<Published>,
    state: State,
    draft: Draft<'a>,
}

/// The record of what is to be started.
enum Draft<'a> {
    /// Is yet to be made; until then what it will need is held.
    New(&'a Options, Held),
    /// Is there, and locked.
    Made(record::Draft),
}

/// A container that runs, or is about to.
struct Started {
    monitor: process::Child,
    conversation: OwnedFd,
    config: Config,
    relays: Relays,
    /// Where Monitor writes the payload's output for us, when it is not ours to relay.
    outputs: Option<Ends>,
}

impl Started {
    /// Stays with it as long as the caller wants.
    fn attend(&mut self, signals: &Option<SignalFd>, company: &Company) -> Result<Outcome> {
        let (relays, outputs) = (std::mem::take(&mut self.relays), self.outputs.take());
        let terminal = self.config.spec.process.terminal;
        let notice = Notice::of(&self.config, matches!(company, Company::None).then_some(self.monitor.pid));
        let attendance = Attendance { conversation: &self.conversation, signals, company, terminal, relays, outputs, notice };
        let name = &self.config.name;
        match attendance.run().with_context(|| format!("cannot start \"{name}\""))? {
            Some(outcome) => Ok(outcome),
            None => {
                let exit = self.monitor.wait();
                bail!("the monitor of \"{}\" died ({}): the container is ended, its exit code unknown", name, ended(exit));
            }
        }
    }

    /// Discards the record of a container that never came to life, where Monitor could not say so in it.
    fn take_back(&self, paths: &Paths, options: &Options) {
        let _ = self.monitor.wait();
        let path = paths.containers().join(&self.config.id);
        if !path.join(record::STATE).exists() {
            discard(paths, &path, &self.config, options);
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

/// Clones Monitor, which enters U as soon as it is there, and makes what it waits for then: the record.
fn start(launch: Launch, company: &Company, paths: &Paths, pending: Pending) -> Result<Started> {
    let Launch { mut config, published, state, draft } = launch;
    sdnotify::pass(&mut config);
    let owner = pending.plan().maps.root();
    let on_tmpfs = needs_tmpfs(paths)?;
    let nested = monitor::nested(&config, &pending.plan().maps);
    let plan = plan_mounts(&config, paths, &nested, on_tmpfs)?;
    let handed = streams(&config, company, &draft, owner)?;
    let kept = handed.is_none();
    let mut cgroup = scope::begin(&config, paths, owner)?;
    let (conversation, monitors_end) = sock::pair().context("cannot create a socket pair")?;
    let store = record::open_directory(&paths.store)?;
    let monitor = match process::fork(0).context("cannot start the monitor")? {
        Fork::Child => {
            drop(conversation);
            let (path, runtime) = (paths.containers().join(&config.id), paths.runtime.clone());
            let origin = handed.map_or(Origin::Monitor, |(streams, ends)| Origin::Client(streams, ends));
            monitor::run(
                Monitor {
                    resolvers: networks::resolvers(&config),
                    config,
                    plan,
                    origin,
                    published,
                    client: monitors_end,
                    scoped: cgroup.is_some(),
                    store,
                    path,
                    runtime,
                    window: console::size(),
                    state,
                },
                pending.into_prospect(),
            )
        }
        Fork::Parent(child) => child,
    };
    drop((monitors_end, published));
    let ends = handed.map(|(_, ends)| ends).unwrap_or_default();
    cgroup.ask(monitor.pid);
    milestone("client-cloned");
    // Monitor has the longer way.
    std::thread::yield_now();
    let overlay = has_overlay(&config, on_tmpfs);
    let (draft, options, held) = match draft {
        Draft::Made(draft) => (draft, None, Held::default()),
        Draft::New(options, held) => (make_record(options, paths, &config, owner, overlay)?, Some(options), held),
    };
    let take_back = |draft: &record::Draft| options.iter().for_each(|options| discard(paths, &draft.path, &config, options));
    let _made = pending.left_to_child().inspect_err(|_| take_back(&draft))?;
    // The record names the layers. Unlocked and not merely closed, for Monitor has a copy.
    drop(held.image);
    held.leases.keep();
    scope::hand_over(cgroup, monitor.pid, owner, &conversation).inspect_err(|_| take_back(&draft))?;
    let outputs = match (kept, company) {
        (true, Company::Attached { .. }) => Some(attend::ask(&conversation, config.spec.process.terminal)?),
        _ => None,
    };
    milestone("client-recorded");
    // A Monitor that died is noticed in attend, by the end of the conversation.
    let _ = wire::send(&conversation, &FromClient::ClientRecorded, &[draft.directory.as_fd()]);
    milestone("client-started");
    Ok(Started { monitor, conversation, config, relays: Relays::of_pipes(ends)?, outputs })
}

/// A new container's streams go straight to the caller who waits for it, unless it may be started again and again. Then, and detached:
/// None, and they are Monitor's.
fn streams(config: &Config, company: &Company, draft: &Draft, owner: (u32, u32)) -> Result<Option<(Option<Streams>, Ends)>> {
    let straight = matches!((company, draft), (Company::Attached { .. }, Draft::New(..))) && config.restart == RestartPolicy::No;
    if !straight {
        return Ok(None);
    }
    if config.spec.process.terminal {
        return Ok(Some((None, Ends::default())));
    }
    let (streams, ends) = stdio::prepare(
        config.interactive,
        stdio::owned_by_payload(&config.spec.process.user.username, config.keep_id, owner),
        owner,
    )?;
    Ok(Some((Some(streams), ends)))
}

/// Under keep-id the overlay's directories belong to an id that only Init has.
fn has_overlay(config: &Config, on_tmpfs: bool) -> bool {
    matches!(config.root, RootSource::Layers(_)) && !on_tmpfs && config.keep_id.is_none()
}

/// The record, then what it names: volumes and the container id file. Interrupted between, the record tells what there may be.
fn make_record(options: &Options, paths: &Paths, config: &Config, owner: (u32, u32), overlay: bool) -> Result<record::Draft> {
    let draft = record::create(paths, config, owner, overlay)?;
    let made = make_volumes(paths, config, owner).and_then(|()| match &options.more.cidfile {
        Some(file) => fs::File::create_new(file)
            .and_then(|mut file| std::io::Write::write_all(&mut file, config.id.as_bytes()))
            .with_context(|| format!("cannot write the container id file {}", file.display())),
        None => Ok(()),
    });
    match made {
        Ok(()) => {
            if let Ok(store) = record::open_directory(&paths.store) {
                events::tell(store.as_fd(), &[events::Event::of_container(config, "create", &[])]);
            }
            Ok(draft)
        }
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
    if let Some(cidfile) = &options.more.cidfile {
        let _ = fs::remove_file(cidfile);
    }
    let _ = fs::remove_dir_all(path);
    if let Ok(store) = record::open_directory(&paths.store) {
        config.networks.iter().for_each(|place| leases::release(store.as_fd(), &config.id, place));
    }
}

/// The mounts of a container that does not run.
pub fn plan_of(config: &Config, paths: &Paths, nested: &IdMaps) -> Result<Plan> {
    plan_mounts(config, paths, nested, needs_tmpfs(paths)?)
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
    let shown = whose_network(config, paths);
    let dns = Dns { servers: &shown.dns, search: &shown.dns_search, options: &shown.dns_options };
    let etc = vec![
        ("hosts", resolv::hosts(&shown.network, &shown.networks, &shown.spec.hostname, &shown.add_hosts)),
        ("hostname", format!("{hostname}\n")),
        ("resolv.conf", resolv::resolv_conf(&shown.network, &shown.networks, &dns)),
    ];
    let tty_group = to_host(&nested.gid, TTY_GROUP).is_some();
    plan::plan(&config.spec, Surroundings { root, etc, tty_group, upper_on_tmpfs, delegated: config.systemd })
}

/// The container whose network this one's is: itself, mostly. Where that is gone, too: it cannot be started, but looked into.
fn whose_network<'a>(config: &'a Config, paths: &Paths) -> Cow<'a, Config> {
    let mut shown = Cow::Borrowed(config);
    while let NetworkMode::Container(id) = &shown.network {
        // Each was made after the one it names, so this ends.
        let Ok(peer) = record::find(paths, id) else { break };
        shown = Cow::Owned(peer.config);
    }
    shown
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
