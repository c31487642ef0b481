//! The flags of a container, shared by every verb that makes one. The doc comments are the help.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::health::flags::HealthFlags;
use super::log::Driver;
use super::obtain::Policy;
use super::parse::{self, DeviceSpec, HostEntry, MountSpec, TmpfsSpec, Ulimit, UsernsMode};
use super::resources::{self, Limits};
use super::restart::RestartPolicy;
use super::sdnotify::Sdnotify;
use crate::cgroup::delegate::Manager;
use crate::image::pull::parse_platform;
use crate::network::bridge::join::{self, Asked};
use crate::network::egress;
use crate::network::ports::{self, Wishes};
use crate::oci::image::Platform;

/// Whether a namespace is the container's own or the host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Share {
    /// A namespace of the container's own
    #[default]
    Private,
    /// The host's
    Host,
}

/// `--cgroups`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Cgroups {
    /// One of its own, where somebody can make it
    #[default]
    Enabled,
    /// None: the container stays in yours
    Disabled,
}

/// `--systemd`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Systemd {
    /// When the command is an init system's
    #[default]
    True,
    False,
    Always,
}

/// All flags of a container.
#[derive(Debug, Clone, Args)]
pub struct Options {
    #[command(flatten)]
    pub usual: Usual,
    #[command(flatten)]
    pub more: More,
}

/// Those that most command lines are made of. A parser that knows no others is made in a third of the time.
#[derive(Debug, Clone, Args)]
pub struct Usual {
    /// Keep stdin open
    #[arg(short, long)]
    pub interactive: bool,
    /// Give the container a terminal of its own
    #[arg(short, long)]
    pub tty: bool,
    /// Remove the container and its anonymous volumes when it ends
    #[arg(long)]
    pub rm: bool,
    /// Name of the container (default: a pleasant random one)
    #[arg(long, value_parser = parse::name)]
    pub name: Option<String>,
    /// Set an environment variable; without a value it is taken from here
    #[arg(short, long, value_name = "NAME[=VALUE]", value_parser = parse::env)]
    pub env: Vec<String>,
    /// Read environment variables from a file
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// Working directory in the container; made if missing
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// User to run as, by name or number
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,
    /// Replace the image's entrypoint; "" removes it
    #[arg(long, value_name = "COMMAND")]
    pub entrypoint: Option<String>,
    /// Host name in the container (default: its short id)
    #[arg(long, short = 'h', value_name = "NAME", value_parser = parse::hostname)]
    pub hostname: Option<String>,
    /// Attach a label
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    pub label: Vec<String>,
    /// Run a reaper as PID 1 that forwards signals and collects orphans
    #[arg(long)]
    pub init: bool,
    /// Make the container's root file system read-only
    #[arg(long)]
    pub read_only: bool,
    /// Mount a directory or file of the host, or a named volume (made if missing)
    #[arg(short, long, value_name = "[SOURCE:]DIR[:OPTIONS]", value_parser = parse::volume)]
    pub volume: Vec<MountSpec>,
    /// The same in long form: type=bind|volume|tmpfs,source=…,target=…[,readonly][,…]
    #[arg(long, value_name = "KEY=VALUE,…", value_parser = parse::mount)]
    pub mount: Vec<MountSpec>,
    /// Network: one of yours (rl network create), NAME[:ip=IP,ip6=IP,mac=MAC,alias=NAME], also several; gateway[:host-loopback,tproxy|anyip]
    /// for a private one (the default where it works: rl info), the same by pasta[:OPTIONS] or slirp4netns[:OPTIONS], none, host to share the
    /// host's, or container:NAME to share another container's
    #[arg(long, alias = "net", value_name = "MODE")]
    pub network: Vec<Asked>,
    /// Publish a port of the container on the host; without HOST on a free one
    #[arg(short, long, value_name = "[IP:][HOST:]PORT[/udp]", value_parser = ports::parse)]
    pub publish: Vec<Wishes>,
    /// Say nothing of a pull
    #[arg(short, long)]
    pub quiet: bool,
    /// The image: a registry's, such as alpine:3.23 or ghcr.io/ann/tool; or oci:DIR[:TAG], oci-archive:FILE, docker-archive:FILE, or
    /// rootfs:DIR for a copy-on-write view of a directory
    #[arg(value_name = "IMAGE")]
    pub image: String,
    /// The command and its arguments (default: the image's)
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

/// The others. Their default is what the parser makes of none.
#[derive(Debug, Clone, Default, Args)]
pub struct More {
    /// Write the container's id to a file, which must not exist yet
    #[arg(long, value_name = "FILE")]
    pub cidfile: Option<PathBuf>,
    /// Mount a tmpfs
    #[arg(long, value_name = "DIR[:OPTIONS]", value_parser = parse::tmpfs)]
    pub tmpfs: Vec<TmpfsSpec>,
    /// Add a line to /etc/hosts; NAME:host-gateway names the host, and opens its loopback
    #[arg(long, value_name = "NAME:IP", value_parser = parse::add_host)]
    pub add_host: Vec<HostEntry>,
    /// Name server for /etc/resolv.conf
    #[arg(long, value_name = "IP")]
    pub dns: Vec<IpAddr>,
    /// Search domain for /etc/resolv.conf instead of the host's; . for none
    #[arg(long, value_name = "DOMAIN", value_parser = parse::resolver_word)]
    pub dns_search: Vec<String>,
    /// Option for /etc/resolv.conf instead of the host's, such as ndots:2
    #[arg(long, alias = "dns-opt", value_name = "OPTION", value_parser = parse::resolver_word)]
    pub dns_option: Vec<String>,
    /// Address on the network of yours
    #[arg(long, value_name = "IP")]
    pub ip: Option<Ipv4Addr>,
    /// IPv6 address on the network of yours
    #[arg(long, value_name = "IP")]
    pub ip6: Option<Ipv6Addr>,
    /// Another name for others on the networks of yours
    #[arg(long, alias = "net-alias", value_name = "NAME", value_parser = join::alias)]
    pub network_alias: Vec<String>,
    /// Call another container on the networks of yours by a name of your own
    #[arg(long, value_name = "CONTAINER[:ALIAS]", value_parser = join::link)]
    pub link: Vec<(String, String)>,
    /// What the container may reach: deny for nothing but what --egress-allow names. What is refused is refused at once, and noted in
    /// rl logs --egress. Containers on the same network of yours reach each other all the same
    #[arg(long, value_name = "POLICY")]
    pub egress: Option<egress::Policy>,
    /// Let the container reach this and nothing else: HOST[:PORT], *.DOMAIN[:PORT], or ADDRESS[/BITS][:PORT]. HOST stands for the addresses
    /// that name servers give the container for it
    #[arg(long, value_name = "TARGET")]
    pub egress_allow: Vec<egress::Rule>,
    /// Note in rl logs --egress what is let out, too
    #[arg(long)]
    pub egress_log: bool,
    /// Say that the container serves this port, for --publish-all
    #[arg(long, value_name = "PORT[-LAST][/udp]", value_parser = ports::parse_exposed)]
    pub expose: Vec<Wishes>,
    /// Publish every port that the image or --expose names, on free ports
    #[arg(short = 'P', long)]
    pub publish_all: bool,
    /// Set a resource limit
    #[arg(long, value_name = "TYPE=SOFT[:HARD]", value_parser = parse::ulimit)]
    pub ulimit: Vec<Ulimit>,
    /// Size of /dev/shm (default: 64m)
    #[arg(long, value_name = "SIZE", value_parser = parse::size)]
    pub shm_size: Option<u64>,
    /// Where a detached container's output is kept
    #[arg(long, value_name = "DRIVER", default_value = "json-file")]
    pub log_driver: Driver,
    /// Option of the log driver: max-size=10m, max-file=3, tag=…, labels=…, env=…
    #[arg(long, value_name = "KEY=VALUE")]
    pub log_opt: Vec<String>,
    /// Signal that asks the container to end (default: the image's, or TERM)
    #[arg(long, value_name = "SIGNAL", value_parser = parse::signal)]
    pub stop_signal: Option<i32>,
    /// Seconds between that signal and SIGKILL (default: 10)
    #[arg(long, value_name = "SECONDS")]
    pub stop_timeout: Option<u32>,
    /// When to start it again after its end: no, on-failure[:N], always or unless-stopped
    #[arg(long, value_name = "POLICY", default_value = "no")]
    pub restart: RestartPolicy,
    /// Give the container a device node of the host
    #[arg(long, value_name = "HOST[:INSIDE]", value_parser = parse::device)]
    pub device: Vec<DeviceSpec>,
    /// Add a supplementary group, by name or number
    #[arg(long, value_name = "GROUP")]
    pub group_add: Vec<String>,
    /// File mode creation mask, in octal (default: 0022)
    #[arg(long, value_name = "MASK", value_parser = parse::umask)]
    pub umask: Option<u32>,
    /// PID namespace
    #[arg(long, value_name = "MODE", default_value = "private", hide_possible_values = false)]
    pub pid: Share,
    /// IPC namespace: System V IPC, message queues, /dev/shm
    #[arg(long, value_name = "MODE", default_value = "private")]
    pub ipc: Share,
    /// UTS namespace: the host name
    #[arg(long, value_name = "MODE", default_value = "private")]
    pub uts: Share,
    /// Cgroup namespace
    #[arg(long, value_name = "MODE", default_value = "private")]
    pub cgroupns: Share,
    /// Whether the container gets a cgroup of its own
    #[arg(long, value_name = "MODE", default_value = "enabled")]
    pub cgroups: Cgroups,
    /// Who makes it (default: systemd, else rl in a cgroup directory of yours, else nobody)
    #[arg(long, value_name = "MANAGER")]
    pub cgroup_manager: Option<Manager>,
    /// The slice to make it in, or the directory below your own
    #[arg(long, value_name = "SLICE")]
    pub cgroup_parent: Option<String>,
    /// Write a file of the container's cgroup, such as memory.high=1073741824
    #[arg(long, value_name = "FILE=VALUE", value_parser = resources::cgroup_conf, help_heading = "Limits")]
    pub cgroup_conf: Vec<(String, String)>,
    /// How soon the kernel kills it when memory is short: up to 1000 is sooner; less than your own score is not yours to give
    #[arg(long, value_name = "SCORE", value_parser = resources::oom_score_adj, allow_hyphen_values = true, help_heading = "Limits")]
    pub oom_score_adj: Option<i32>,
    /// Who tells systemd that the container is ready, where NOTIFY_SOCKET is set (default: container)
    #[arg(long, value_name = "WHO")]
    pub sdnotify: Option<Sdnotify>,
    #[command(flatten)]
    pub limits: Limits,
    #[command(flatten)]
    pub health: HealthFlags,
    /// Prepare for systemd as the command: a cgroup of its own to divide, tmpfs on /run and /tmp, SIGRTMIN+3 to stop
    #[arg(long, value_name = "WHEN", default_value = "true")]
    pub systemd: Systemd,
    /// Add a capability, or ALL
    #[arg(long, value_name = "NAME")]
    pub cap_add: Vec<String>,
    /// Drop a capability, or ALL
    #[arg(long, value_name = "NAME")]
    pub cap_drop: Vec<String>,
    /// All capabilities within the container's user namespace and nothing hidden in /proc and /sys. On the host the container is
    /// still only you
    #[arg(long)]
    pub privileged: bool,
    /// Who is who: host-user (you are root inside) or keep-id[:uid=N,gid=N] (you keep your own number inside)
    #[arg(long, value_name = "MODE", default_value = "host-user")]
    pub userns: UsernsMode,
    /// When to ask the registry for the image: always, missing, never, or newer
    #[arg(long, value_name = "WHEN", default_value = "missing", hide_possible_values = true)]
    pub pull: Policy,
    /// The platform of the image, where its registry has several (default: this host's)
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = parse_platform)]
    pub platform: Option<Platform>,
}
