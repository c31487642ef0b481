//! From image configuration and flags to what a container is: pure, so that every rule of Docker's is a test here.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use super::health::HealthConfig;
use super::log::{self, LogConfig};
use super::options::{Cgroups, Options, Share, Systemd};
use super::parse::{self, MountSource, MountSpec};
use super::resources::block_device;
use super::restart::RestartPolicy;
use super::scope::CgroupConfig;
use super::sdnotify::Sdnotify;
use crate::error::Advise;
use crate::network::NetworkMode;
use crate::network::bridge;
use crate::network::bridge::leases::Attachment;
use crate::network::egress::{Egress, Policy};
use crate::network::embedded::addresses;
use crate::network::ports::PortMapping;
use crate::oci::image::ContainerConfig;
use crate::oci::runtime::{self, Device, Linux, Mount, Process, Resources, Rlimit, Root, Spec};
use crate::rootfs::plan::{RootSource, check_destination, clean};
use crate::security::{MASKED_PATHS, READONLY_PATHS, caps};

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const DEFAULT_UMASK: u32 = 0o022;
/// Seconds.
const STOP_TIMEOUT: u32 = 10;
/// Bytes.
const SHM_SIZE: u64 = 64 << 20;

/// A container as its record keeps it (`config.json`).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    /// 64 hex digits.
    pub id: String,
    pub name: String,
    /// The name was asked for, and so has a link of its own.
    pub named: bool,
    /// RFC 3339.
    pub created: String,
    /// The image as the user named it.
    pub image: String,
    /// Digest of the image's configuration; empty for `rootfs:`.
    pub image_id: String,
    /// Digest of the image's manifest; empty for `rootfs:`.
    pub image_digest: String,
    pub spec: Spec,
    pub root: RootSource,
    pub labels: BTreeMap<String, String>,
    pub stop_signal: i32,
    /// Seconds between that signal and SIGKILL.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stop_timeout: Option<u32>,
    #[serde(default)]
    pub restart: RestartPolicy,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub health: Option<HealthConfig>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sdnotify: Option<Sdnotify>,
    /// The command line that made it.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub create_command: Vec<String>,
    pub network: NetworkMode,
    /// Places on user-defined networks.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub networks: Vec<Attachment>,
    /// How it calls others there.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub links: Vec<(String, String)>,
    /// `/etc/hosts` lines asked for.
    pub add_hosts: Vec<(String, std::net::IpAddr)>,
    pub dns: Vec<std::net::IpAddr>,
    /// For `/etc/resolv.conf`, each instead of the host's.
    #[serde(default)]
    pub dns_search: Vec<String>,
    #[serde(default)]
    pub dns_options: Vec<String>,
    pub exposed_ports: Vec<String>,
    /// What it may reach; None: everything.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub egress: Option<Egress>,
    /// Bound on the host, from just before the start.
    #[serde(default)]
    pub ports: Vec<PortMapping>,
    pub volumes: Vec<VolumeUse>,
    pub interactive: bool,
    pub auto_remove: bool,
    #[serde(default)]
    pub log: LogConfig,
    /// A reaper as PID 1.
    pub init: bool,
    pub privileged: bool,
    #[serde(default)]
    pub cgroup: CgroupConfig,
    /// The payload is a systemd, and its cgroup its own to divide.
    #[serde(default)]
    pub systemd: bool,
    /// The number that the caller keeps under `--userns keep-id`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub keep_id: Option<(u32, u32)>,
}

impl Config {
    /// Milliseconds between the stop signal and SIGKILL, where nobody says otherwise.
    pub fn patience(&self) -> u64 {
        u64::from(self.stop_timeout.unwrap_or(STOP_TIMEOUT)) * 1000
    }
}

/// A volume that the container uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeUse {
    pub name: String,
    /// Goes with the container.
    pub anonymous: bool,
}

/// What the decision needs beside flags and image: all of it data, none of it read here.
pub struct Given<'a> {
    pub id: String,
    pub name: String,
    pub created: String,
    pub image_id: String,
    pub image_digest: String,
    pub root: RootSource,
    pub image: &'a ContainerConfig,
    /// The host's own name, for `--uts host` and `--network host`.
    pub hostname: String,
    /// uid and gid of the caller.
    pub caller: (u32, u32),
    pub create_command: Vec<String>,
    /// The variables of the caller, for `-e NAME`.
    pub lookup: &'a dyn Fn(&str) -> Option<String>,
    /// Contents of the `--env-file`s, as entries.
    pub env_files: Vec<String>,
    /// The store's `volumes/`.
    pub volumes: &'a Path,
    /// What was asked for, or is the default here.
    pub network: NetworkMode,
    /// Places that were taken for it.
    pub networks: Vec<Attachment>,
    /// Id and host name of the container whose network is to be shared.
    pub peer: Option<(String, String)>,
    /// A fresh name for an anonymous volume.
    pub volume_name: &'a dyn Fn() -> String,
}

/// Applies Docker's rules.
pub fn build(options: &Options, given: Given) -> Result<Config> {
    let network = network(options, &given)?;
    let hostname = hostname(options, &given);
    let (mut mounts, volumes) = mounts(options, &given)?;
    let keep_id = options.more.userns.kept(given.caller);
    let mut process = process(options, &given, &hostname, keep_id)?;
    let systemd = is_systemd(options, &process.args)?;
    if systemd {
        mounts.extend(systemd_mounts(&mounts));
        process.env.extend(["container=rl".to_string(), format!("container_uuid={}", &given.id[..32])]);
    }
    let spec = Spec {
        oci_version: runtime::VERSION.into(),
        process,
        root: Root { readonly: options.usual.read_only },
        hostname,
        mounts,
        linux: linux(options, &network)?,
        annotations: BTreeMap::new(),
    };
    let labels = labels(options, given.image);
    let log = log::Subject {
        id: &given.id,
        name: &given.name,
        image: &options.usual.image,
        image_id: &given.image_id,
        labels: &labels,
        env: &spec.process.env,
    };
    Ok(Config {
        log: LogConfig::new(options.more.log_driver, &options.more.log_opt, &log)?,
        spec,
        volumes,
        keep_id,
        labels,
        stop_signal: stop_signal(options, given.image, systemd)?,
        stop_timeout: options.more.stop_timeout,
        restart: restart(options)?,
        health: options.more.health.over(given.image)?,
        sdnotify: options.more.sdnotify,
        create_command: given.create_command,
        systemd,
        id: given.id,
        name: given.name,
        named: options.usual.name.is_some(),
        created: given.created,
        image: options.usual.image.clone(),
        image_id: given.image_id,
        image_digest: given.image_digest,
        root: given.root,
        egress: egress(options, &network, &given.networks)?,
        add_hosts: add_hosts(options, &network, &given.networks)?,
        network,
        networks: given.networks,
        links: options.more.link.clone(),
        dns: options.more.dns.clone(),
        dns_search: options.more.dns_search.clone(),
        dns_options: options.more.dns_option.clone(),
        exposed_ports: exposed_ports(options, given.image),
        ports: Vec::new(),
        interactive: options.usual.interactive,
        auto_remove: options.usual.rm,
        init: options.usual.init,
        privileged: options.more.privileged,
        cgroup: CgroupConfig::of(options),
    })
}

/// Naming the host as `host-gateway` opens the way there. A network that is another container's takes no settings of its own.
fn network(options: &Options, given: &Given) -> Result<NetworkMode> {
    let names_host = options.more.add_host.iter().any(|(_, address)| *address == addresses::V4.host);
    Ok(match given.network.clone() {
        NetworkMode::Gateway(mut gateway) => {
            gateway.host_loopback |= names_host;
            NetworkMode::Gateway(gateway)
        }
        NetworkMode::Slirp(mut slirp) => {
            slirp.allow_host_loopback |= names_host;
            NetworkMode::Slirp(slirp)
        }
        NetworkMode::Container(name) => {
            let published = !options.usual.publish.is_empty() || options.more.publish_all;
            let resolver = [options.more.dns.is_empty(), options.more.dns_search.is_empty(), options.more.dns_option.is_empty()]
                .contains(&false);
            let settings = [
                (options.usual.hostname.is_some(), "--hostname"),
                (resolver, "--dns and its kin"),
                (!options.more.add_host.is_empty(), "--add-host"),
                (published, "--publish"),
                (!options.more.expose.is_empty(), "--expose"),
            ];
            if let Some((_, flag)) = settings.into_iter().find(|(given, _)| *given) {
                bail!("conflicting options: {flag} and --network container:{name}, whose settings they would be");
            }
            NetworkMode::Container(given.peer.as_ref().map_or(name, |(id, _)| id.clone()))
        }
        other => other,
    })
}

/// With what `host-gateway` is on this network.
fn add_hosts(options: &Options, network: &NetworkMode, networks: &[Attachment]) -> Result<Vec<(String, IpAddr)>> {
    let host: Option<IpAddr> = match network {
        NetworkMode::Slirp(slirp) => Some(slirp.host().into()),
        NetworkMode::Host => Some(Ipv4Addr::LOCALHOST.into()),
        NetworkMode::Gateway { .. } => Some(addresses::V4.host),
        NetworkMode::User(_) => bridge::primary(networks).filter(|first| !first.internal).map(|first| first.v4.gateway),
        NetworkMode::Pasta(_) | NetworkMode::None | NetworkMode::Container(_) => None,
    };
    let entry = |(name, address): &(String, IpAddr)| match host {
        _ if *address != addresses::V4.host => Ok((name.clone(), *address)),
        Some(host) => Ok((name.clone(), host)),
        None => bail!("host-gateway means nothing on the network {network}"),
    };
    options.more.add_host.iter().map(entry).collect()
}

/// Of the flags; only the gateway and the hubs of user-defined networks can tell one destination from another.
fn egress(options: &Options, network: &NetworkMode, networks: &[Attachment]) -> Result<Option<Egress>> {
    let mut hosts = add_hosts(options, network, networks)?;
    if matches!(network, NetworkMode::Gateway { .. }) {
        hosts.extend(["host.containers.internal", "host.docker.internal"].map(|name| (name.to_string(), addresses::V4.host)));
    }
    let deny = options.more.egress.map(|policy| policy == Policy::Deny);
    let egress = Egress::new(deny, &options.more.egress_allow, options.more.egress_log, &hosts)?;
    let asks_others = !options.more.dns.is_empty() && !matches!(network, NetworkMode::User(_));
    if let Some(rule) = egress.as_ref().and_then(Egress::asked).filter(|_| asks_others) {
        // Only of what is asked of the gateway is the answer seen. A hub asks for the container.
        return Err(anyhow!(
            "conflicting options: --dns and --egress-allow {rule}, whose addresses only the host's name servers tell"
        ))
        .hint(|| "leave out --dns, or allow the addresses");
    }
    match network {
        NetworkMode::Gateway { .. } | NetworkMode::User(_) => Ok(egress),
        _ if egress.is_none() => Ok(egress),
        _ => Err(anyhow!("cannot limit what is reached by --network {network}"))
            .hint(|| "--network gateway with --egress, --egress-allow and --egress-log, or without them --network none"),
    }
}

/// The image's, then those of `--expose`.
fn exposed_ports(options: &Options, image: &ContainerConfig) -> Vec<String> {
    let asked = options.more.expose.iter().flat_map(|wishes| &wishes.0);
    let mut all: Vec<String> = image.exposed_ports.iter().cloned().collect();
    for port in asked.map(|wish| format!("{}/{}", wish.container_port, wish.protocol)) {
        if !all.contains(&port) {
            all.push(port);
        }
    }
    all
}

fn hostname(options: &Options, given: &Given) -> String {
    let shares_name = options.more.uts == Share::Host || given.network == NetworkMode::Host;
    match &options.usual.hostname {
        Some(name) => name.clone(),
        None if options.more.uts == Share::Private && given.peer.is_some() => {
            given.peer.as_ref().map(|(_, hostname)| hostname.clone()).unwrap_or_default()
        }
        None if shares_name => given.hostname.clone(),
        None => given.id[..12].to_string(),
    }
}

fn process(options: &Options, given: &Given, hostname: &str, keep_id: Option<(u32, u32)>) -> Result<Process> {
    let image = given.image;
    let cwd = options.usual.workdir.clone().or_else(|| Some(image.working_dir.clone()).filter(|d| !d.is_empty()));
    let cwd = cwd.unwrap_or_else(|| "/".into());
    if !cwd.starts_with('/') {
        bail!("the working directory \"{cwd}\" is invalid: it must be an absolute path");
    }
    // keep-id means to be oneself inside, unless the flags say otherwise.
    let kept = keep_id.map(|(uid, gid)| format!("{uid}:{gid}"));
    let username = options.usual.user.clone().or(kept).unwrap_or_else(|| image.user.clone());
    Ok(Process {
        terminal: options.usual.tty,
        user: runtime::User {
            username,
            additional_groups: options.more.group_add.clone(),
            umask: Some(options.more.umask.unwrap_or(DEFAULT_UMASK)),
        },
        args: command(options, image)?,
        env: environment(options, given, hostname),
        cwd,
        capabilities: caps::wanted(options.more.privileged, &options.more.cap_add, &options.more.cap_drop)?,
        rlimits: options
            .more
            .ulimit
            .iter()
            .map(|u| Rlimit { kind: format!("RLIMIT_{}", u.name.to_uppercase()), soft: u.soft, hard: u.hard })
            .collect(),
        no_new_privileges: false,
        oom_score_adj: options.more.oom_score_adj,
    })
}

/// `--entrypoint` takes the image's command along; a command replaces only the image's command.
fn command(options: &Options, image: &ContainerConfig) -> Result<Vec<String>> {
    let mut args = match &options.usual.entrypoint {
        Some(entrypoint) if entrypoint.is_empty() => Vec::new(),
        Some(entrypoint) => vec![entrypoint.clone()],
        None => image.entrypoint.clone(),
    };
    if !options.usual.command.is_empty() {
        args.extend(options.usual.command.iter().cloned());
    } else if options.usual.entrypoint.is_none() {
        args.extend(image.cmd.iter().cloned());
    }
    if args.first().is_none_or(String::is_empty) {
        bail!("no command specified: the image has none, so name one after the image");
    }
    Ok(args)
}

/// The image's variables and ours below those that were asked for. HOME is added by Init, which knows the user.
fn environment(options: &Options, given: &Given, hostname: &str) -> Vec<String> {
    let mut env = Environment::default();
    env.set("PATH", DEFAULT_PATH);
    env.set("HOSTNAME", hostname);
    if options.usual.tty {
        env.set("TERM", "xterm");
    }
    for entry in &given.image.env {
        // An entry without a value or a name means nothing, and never a variable of the host's (CVE-2026-57231).
        if let Some((name, value)) = entry.split_once('=').filter(|(name, _)| !name.is_empty()) {
            env.set(name, value);
        }
    }
    for entry in given.env_files.iter().chain(&options.usual.env) {
        match entry.split_once('=') {
            Some((name, value)) if !name.is_empty() => env.set(name, value),
            Some(_) => {}
            None => match (given.lookup)(entry) {
                Some(value) => env.set(entry, &value),
                None => env.remove(entry),
            },
        }
    }
    env.0.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

#[derive(Default)]
struct Environment(Vec<(String, String)>);

impl Environment {
    fn set(&mut self, name: &str, value: &str) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some(entry) => entry.1 = value.into(),
            None => self.0.push((name.into(), value.into())),
        }
    }

    fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| known != name);
    }
}

fn linux(options: &Options, network: &NetworkMode) -> Result<Linux> {
    let mut resources = options.more.limits.over(&Resources::default(), &block_device)?;
    resources.unified = options.more.cgroup_conf.iter().cloned().collect();
    let own = |kind: &str, share: Share| (share == Share::Private).then(|| kind.to_string());
    let network = if *network == NetworkMode::Host { Share::Host } else { Share::Private };
    let namespaces = [
        Some("user".to_string()),
        Some("mount".to_string()),
        own("pid", options.more.pid),
        own("network", network),
        own("ipc", options.more.ipc),
        own("uts", options.more.uts),
        own("cgroup", options.more.cgroupns),
        Some("time".to_string()),
    ];
    let paths = |paths: &[&str]| if options.more.privileged { Vec::new() } else { paths.iter().map(|p| p.to_string()).collect() };
    Ok(Linux {
        namespaces: namespaces.into_iter().flatten().collect(),
        devices: options.more.device.iter().map(|d| Device { source: d.source.clone(), path: d.path.clone() }).collect(),
        masked_paths: paths(MASKED_PATHS),
        readonly_paths: paths(READONLY_PATHS),
        shm_size: options.more.shm_size.unwrap_or(SHM_SIZE),
        resources,
    })
}

/// The user's mounts, then the image's volumes where no mount has their place.
fn mounts(options: &Options, given: &Given) -> Result<(Vec<Mount>, Vec<VolumeUse>)> {
    let (mut mounts, mut volumes) = (Vec::<Mount>::new(), Vec::new());
    let of_image = given.image.volumes.iter().map(|target| MountSpec {
        source: MountSource::Anonymous,
        target: PathBuf::from(target),
        options: Vec::new(),
    });
    let asked = options.usual.volume.iter().chain(&options.usual.mount).chain(&options.more.tmpfs);
    let count = asked.clone().count();
    for (index, spec) in asked.cloned().chain(of_image).enumerate() {
        check_destination(&spec.target)?;
        let destination = clean(&spec.target);
        if mounts.iter().any(|m| m.destination == destination) {
            if index < count {
                bail!("duplicate mount point: {}", destination.display());
            }
            continue;
        }
        mounts.push(mount(spec, destination, given, &mut volumes));
    }
    Ok((mounts, volumes))
}

fn mount(spec: MountSpec, destination: PathBuf, given: &Given, volumes: &mut Vec<VolumeUse>) -> Mount {
    let options = spec.options;
    let (name, anonymous) = match spec.source {
        MountSource::Tmpfs => {
            return Mount { destination, kind: "tmpfs".into(), source: "tmpfs".into(), options, volume: None };
        }
        MountSource::Host(source) => return Mount { destination, kind: "bind".into(), source, options, volume: None },
        MountSource::Volume(name) => (name, false),
        MountSource::Anonymous => ((given.volume_name)(), true),
    };
    volumes.push(VolumeUse { name: name.clone(), anonymous });
    Mount { destination, kind: "bind".into(), source: given.volumes.join(&name).join("_data"), options, volume: Some(name) }
}

fn labels(options: &Options, image: &ContainerConfig) -> BTreeMap<String, String> {
    let mut labels = image.labels.clone();
    labels.extend(parse::pairs(&options.usual.label));
    labels
}

fn restart(options: &Options) -> Result<RestartPolicy> {
    if options.usual.rm && options.more.restart != RestartPolicy::No {
        bail!("--rm and --restart {} exclude each other", options.more.restart);
    }
    Ok(options.more.restart)
}

/// Where systemd is found, by itself or as init.
const INITS: [&str; 6] =
    ["/sbin/init", "/usr/sbin/init", "/lib/systemd/systemd", "/usr/lib/systemd/systemd", "/usr/local/sbin/init", "init"];

fn is_systemd(options: &Options, args: &[String]) -> Result<bool> {
    let systemd = match options.more.systemd {
        Systemd::False => false,
        Systemd::Always => true,
        Systemd::True => args.first().is_some_and(|command| INITS.contains(&command.as_str())) && !options.usual.init,
    };
    if systemd && options.usual.init {
        bail!("--init is in the way of systemd, which must be the first process itself: leave out one of --init and --systemd");
    }
    if systemd
        && (options.more.cgroups == Cgroups::Disabled || options.more.cgroupns == Share::Host)
        && options.more.systemd == Systemd::Always
    {
        bail!("systemd needs a cgroup of its own: leave out --cgroups disabled and --cgroupns host");
    }
    Ok(systemd)
}

/// What systemd expects to be empty and writable at each boot, where nothing else was mounted.
fn systemd_mounts(mounts: &[Mount]) -> Vec<Mount> {
    let wanted = [("/run", "mode=755"), ("/run/lock", "mode=1777"), ("/tmp", "mode=1777"), ("/var/log/journal", "mode=755")];
    let free = |at: &str| !mounts.iter().any(|mount| mount.destination == Path::new(at));
    let tmpfs = |(at, mode): (&str, &str)| Mount {
        destination: at.into(),
        kind: "tmpfs".into(),
        source: "tmpfs".into(),
        options: ["nosuid", "nodev", mode].map(String::from).into(),
        volume: None,
    };
    wanted.into_iter().filter(|(at, _)| free(at)).map(tmpfs).collect()
}

/// systemd takes SIGTERM for a wish to start anew; SIGRTMIN+3 is its halt (systemd(1)).
const SYSTEMD_STOP: i32 = 37;

fn stop_signal(options: &Options, image: &ContainerConfig, systemd: bool) -> Result<i32> {
    match (options.more.stop_signal, image.stop_signal.as_str()) {
        (Some(signal), _) => Ok(signal),
        (None, _) if systemd => Ok(SYSTEMD_STOP),
        (None, "") => Ok(libc::SIGTERM),
        (None, name) => super::parse::signal(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::bridge::join::Asked;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }

    fn options(args: &[&str]) -> Options {
        Cli::try_parse_from(std::iter::once(&"rl").chain(args)).unwrap().options
    }

    fn try_config(args: &[&str], image: &ContainerConfig) -> Result<Config> {
        let given = Given {
            network: match options(args).usual.network.first() {
                Some(Asked::Mode(mode)) => mode.clone(),
                _ => NetworkMode::Gateway(Default::default()),
            },
            networks: Vec::new(),
            peer: None,
            id: "ab".repeat(32),
            name: "web".into(),
            created: String::new(),
            image_id: String::new(),
            image_digest: String::new(),
            root: RootSource::Layers(vec![]),
            image,
            hostname: "laptop".into(),
            caller: (1000, 100),
            create_command: Vec::new(),
            lookup: &|name| (name == "HERE").then(|| "here".to_string()),
            env_files: vec!["FILE=1".into()],
            volumes: Path::new("/store/volumes"),
            volume_name: &|| "anon".into(),
        };
        build(&options(args), given)
    }

    fn config(args: &[&str], image: &ContainerConfig) -> Config {
        try_config(args, image).unwrap()
    }

    fn image() -> ContainerConfig {
        ContainerConfig {
            entrypoint: vec!["/entry".into()],
            cmd: vec!["serve".into()],
            env: vec!["A=image".into(), "SECRET_CANARY".into(), "=x".into()],
            volumes: ["/data".to_string()].into_iter().collect(),
            user: "app".into(),
            working_dir: "/srv".into(),
            stop_signal: "SIGINT".into(),
            ..ContainerConfig::default()
        }
    }

    #[test]
    fn entrypoint_and_command_combine_as_dockers() {
        let args = |flags: &[&str]| config(flags, &image()).spec.process.args;
        assert_eq!(args(&["img"]), ["/entry", "serve"]);
        assert_eq!(args(&["img", "-x", "--rm"]), ["/entry", "-x", "--rm"]);
        assert_eq!(args(&["--entrypoint", "sh", "img"]), ["sh"]);
        assert_eq!(args(&["--entrypoint", "", "img", "ls"]), ["ls"]);
        assert!(try_config(&["img"], &ContainerConfig::default()).is_err());
    }

    #[test]
    fn the_environment_is_the_images_ours_and_what_was_asked_for() {
        let env = config(&["-t", "-e", "A=flag", "-e", "HERE", "-e", "ABSENT", "img"], &image()).spec.process.env;
        for entry in ["A=flag", "HERE=here", "TERM=xterm", "FILE=1", "HOSTNAME=abababababab"] {
            assert!(env.iter().any(|e| e == entry), "{entry} in {env:?}");
        }
        assert!(!env.iter().any(|e| e.contains("SECRET_CANARY") || e.starts_with("ABSENT") || e.starts_with('=')));
    }

    #[test]
    fn an_images_volume_yields_to_a_mount_in_its_place() {
        let own = config(&["img"], &image());
        assert_eq!(own.volumes, [VolumeUse { name: "anon".into(), anonymous: true }]);
        let bound = config(&["-v", "/src:/data/", "img"], &image());
        assert!(bound.volumes.is_empty());
        assert_eq!(bound.spec.mounts[0].source, Path::new("/src"));
        assert!(try_config(&["-v", "/a:/x", "--tmpfs", "/x", "img"], &image()).is_err());
    }

    #[test]
    fn flags_win_over_the_image() {
        let c = config(&["-u", "7", "-w", "/w", "--stop-signal", "9", "img"], &image());
        assert_eq!((c.spec.process.user.username.as_str(), c.spec.process.cwd.as_str(), c.stop_signal), ("7", "/w", 9));
        let c = config(&["img"], &image());
        assert_eq!((c.spec.process.user.username.as_str(), c.spec.process.cwd.as_str(), c.stop_signal), ("app", "/srv", 2));
        assert!(try_config(&["-w", "rel", "img"], &image()).is_err());
    }

    #[test]
    fn keep_id_runs_as_the_caller() {
        assert_eq!(config(&["--userns", "keep-id", "img"], &image()).spec.process.user.username, "1000:100");
        assert_eq!(config(&["--userns", "keep-id:uid=5", "-u", "0", "img"], &image()).keep_id, Some((5, 100)));
    }

    #[test]
    fn a_systemd_gets_what_it_needs_and_nobody_else_does() {
        let systemd = config(&["img", "/sbin/init"], &ContainerConfig::default());
        assert!(systemd.systemd && systemd.stop_signal == 37);
        let at: Vec<&Path> = systemd.spec.mounts.iter().map(|mount| mount.destination.as_path()).collect();
        assert_eq!(at, ["/run", "/run/lock", "/tmp", "/var/log/journal"].map(Path::new));
        assert!(systemd.spec.process.env.iter().any(|entry| entry == "container=rl"));
        let own = config(&["--tmpfs", "/run", "--stop-signal", "9", "img", "init"], &ContainerConfig::default());
        assert_eq!((own.spec.mounts.len(), own.stop_signal), (4, 9));
        assert!(!config(&["img", "sh"], &image()).systemd && !config(&["--systemd=false", "img", "init"], &image()).systemd);
        assert!(config(&["--systemd=always", "img", "sh"], &image()).systemd);
        assert!(try_config(&["--systemd=always", "--init", "img", "sh"], &image()).is_err());
    }

    #[test]
    fn privileged_hides_nothing_and_shared_namespaces_are_not_the_containers_own() {
        let c = config(&["--privileged", "--pid", "host", "--network", "host", "img"], &image());
        assert!(c.spec.linux.masked_paths.is_empty() && !c.spec.linux.has("pid") && !c.spec.linux.has("network"));
        assert_eq!(c.spec.hostname, "laptop");
    }
}
