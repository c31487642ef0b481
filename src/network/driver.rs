//! Networks by other programs: pasta(1) and slirp4netns(1), each under a process of ours that looks after it.
//!
//! Started by Monitor, a fork without exec, one for each container. Namespaces: user U, network the host's, mount its own: a copy of the
//! host's in which the runtime directory is an empty tmpfs, for pasta wants its namespace by a path and may not follow /proc/PID/ns/net of an
//! undumpable Init. Owns one end of a conversation with Monitor, the program's pidfd and, for slirp4netns, the write end of a pipe whose
//! closing is its end. Waits for the program and for Monitor; each takes the other along, also when killed (PR_SET_PDEATHSIG).

use std::ffi::{CString, OsStr};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, FcntlArg, FdFlag, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::{AccessFlags, faccessat, pipe2};
use serde_json::{Value, json};

use super::carrier::{self, Carrier, Order};
use super::mode::{NetworkMode, Pasta, Slirp};
use super::ports::{PortMapping, Protocol};
use super::slirp_api;
use crate::error::Advise;
use crate::host::facts::tool;
use crate::role::Role;
use crate::sys::mount::{self, FsContext};
use crate::sys::process::{self, Child, Fork, ns};
use crate::sys::{caps, sock};

/// What the container asks of pasta for the host's first name server, as under Podman.
pub const PASTA_DNS: std::net::Ipv4Addr = std::net::Ipv4Addr::new(169, 254, 1, 1);
const TUN: &str = "/dev/net/tun";
/// How long a program may take to set up a network, and slirp4netns to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Name of slirp4netns's socket.
const API: &str = "api";
/// Most that a program may leave in its log.
const LOG_SIZE: &std::ffi::CStr = c"256k";

/// A driver as it is to be run.
enum Program<'a> {
    Pasta(&'a Pasta),
    Slirp(&'a Slirp),
}

impl<'a> Program<'a> {
    fn of(mode: &'a NetworkMode) -> Option<Program<'a>> {
        match mode {
            NetworkMode::Pasta(pasta) => Some(Program::Pasta(pasta)),
            NetworkMode::Slirp(slirp) => Some(Program::Slirp(slirp)),
            _ => None,
        }
    }

    /// Its name, and that of the package it comes in.
    fn names(&self) -> (&'static str, &'static str) {
        match self {
            Program::Pasta(_) => ("pasta", "passt"),
            Program::Slirp(_) => ("slirp4netns", "slirp4netns"),
        }
    }

    fn find(&self) -> Result<PathBuf> {
        let (name, package) = self.names();
        let found = tool(name).with_context(|| format!("cannot use the network {name}: there is no program {name}"));
        found.hint(|| format!("sudo apt install {package} (or dnf, pacman, apk add), or leave out --network"))
    }
}

/// Whether this network can be had at all: its program is there, and the caller may open what it needs.
pub fn check(mode: &NetworkMode) -> Result<()> {
    let Some(program) = Program::of(mode) else { return Ok(()) };
    program.find()?;
    let may = faccessat(AT_FDCWD, TUN, AccessFlags::R_OK | AccessFlags::W_OK, AtFlags::AT_EACCESS);
    may.with_context(|| format!("cannot use the network {}: it needs {TUN}", program.names().0)).hint(|| {
        let cure = if may == Err(Errno::ENOENT) { "sudo modprobe tun" } else { "sudo chmod 0666 /dev/net/tun" };
        format!("{cure}, or leave out --network: the gateway needs no such device")
    })
}

/// Starts a driver for the container `name`, if `mode` is one's; `runtime` is the runtime directory. The caller is a member of U with
/// one thread.
pub fn start(mode: &NetworkMode, name: &str, ports: &[PortMapping], runtime: &Path) -> Result<Option<Carrier>> {
    let Some(program) = Program::of(mode) else { return Ok(None) };
    Carrier::start("network's driver", |monitor, init| live(&program, name, ports, runtime, monitor, init)).map(Some)
}

/// Lives the driver's life.
fn live(program: &Program, name: &str, ports: &[PortMapping], runtime: &Path, monitor: OwnedFd, init: OwnedFd) -> ! {
    let _ = process::close_all_but(&[monitor.as_raw_fd(), init.as_raw_fd()]);
    process::set_title(&Role::Driver.title(name), &Role::Driver.comm());
    let _ = process::set_parent_death_signal(libc::SIGKILL);
    let _ = nix::unistd::chdir(c"/");
    let begun = Driver::begin(program, ports, runtime, &init);
    carrier::report(init.as_fd(), &begun);
    drop(init);
    if let Ok(driver) = begun {
        driver.stay(program, &runtime.join(API), &monitor);
    }
    process::exit_now(1)
}

/// A program that has connected a container.
struct Driver {
    child: Child,
    /// Closed with us, it ends slirp4netns.
    _exit: Option<OwnedFd>,
}

impl Driver {
    fn begin(program: &Program, ports: &[PortMapping], runtime: &Path, init: &OwnedFd) -> Result<Driver> {
        let executable = program.find()?;
        let (_, fds) = sock::receive(init.as_fd(), &mut [0; 8]).context("cannot hear the container's first process")?;
        let namespace = fds.into_iter().next().context("the container's first process gave up")?;
        open_ports(namespace.as_fd())?;
        let place = Place::make(runtime, namespace.as_fd()).context("cannot prepare a place for the network's driver")?;
        let driver = match program {
            Program::Pasta(pasta) => place.run(&executable, &pasta_arguments(pasta, ports, &place), None)?,
            Program::Slirp(slirp) => {
                let (ends, exit) = pipe2(OFlag::O_CLOEXEC).context("cannot create a pipe")?;
                inherit(ends.as_fd())?;
                inherit(place.ready.as_fd())?;
                let arguments = slirp_arguments(slirp, &place, ends.as_raw_fd());
                let driver = place.run(&executable, &arguments, Some(exit))?;
                ports.iter().try_for_each(|port| publish(slirp, port, &place.path(API)))?;
                driver
            }
        };
        process::set_dumpable(false)?;
        caps::set(0).context("cannot drop the driver's capabilities")?;
        process::set_no_new_privs().context("cannot give up new privileges")?;
        Ok(driver)
    }

    /// Until Monitor or the program ends.
    fn stay(self, program: &Program, api: &Path, monitor: &OwnedFd) {
        let reads = |fd| PollFd::new(fd, PollFlags::POLLIN);
        loop {
            let mut ends = [reads(monitor.as_fd()), reads(self.child.pidfd.as_fd())];
            let woken = poll(&mut ends, PollTimeout::NONE);
            if woken != Err(Errno::EINTR) && ends[1].any().unwrap_or(true) {
                break;
            }
            if woken == Err(Errno::EINTR) || !ends[0].any().unwrap_or(false) {
                continue;
            }
            let Ok(Some((order, _))) = carrier::next_order(monitor.as_fd()) else { break };
            if matches!(order, Order::Finish) {
                break;
            }
            carrier::report(monitor.as_fd(), &obey(program, api, &order));
        }
        let _ = self.child.signal(libc::SIGKILL);
        let _ = self.child.wait();
    }
}

/// A container may open any of its ports, as under Docker, and ping where it has the groups for it. In a child: there is no way back from
/// the namespace.
fn open_ports(namespace: BorrowedFd) -> Result<()> {
    match process::fork(0).context("cannot start a process")? {
        Fork::Child => {
            let write = |name: &str, value: &str| fs::write(Path::new("/proc/sys/net/ipv4").join(name), value).is_ok();
            let opened = process::setns(namespace, ns::NET).is_ok() && write("ip_unprivileged_port_start", "0");
            let _ = opened && (write("ping_group_range", "0 65535") || write("ping_group_range", "0 0"));
            process::exit_now(u8::from(!opened))
        }
        Fork::Parent(child) => match child.wait().context("cannot wait for a process")?.code() {
            0 => Ok(()),
            _ => bail!("cannot open the container's ports"),
        },
    }
}

/// A directory of nobody else's: the runtime directory, in a mount namespace of our own.
struct Place {
    directory: PathBuf,
    /// Both ends of the FIFO `ready`.
    ready: File,
}

impl Place {
    fn make(runtime: &Path, namespace: BorrowedFd) -> Result<Place> {
        process::unshare(ns::MOUNT)?;
        let tmpfs = FsContext::open(c"tmpfs")?;
        tmpfs.string(c"mode", c"0700")?;
        tmpfs.string(c"size", LOG_SIZE)?;
        mount::attach(tmpfs.mount(0)?.as_fd(), File::open(runtime)?.as_fd())?;
        let place = |name: &str| runtime.join(name);
        File::create(place("log"))?;
        let target = File::create(place("netns"))?;
        mount::attach(mount::clone_tree(namespace, c"", false)?.as_fd(), target.as_fd())?;
        nix::unistd::mkfifo(&place("ready"), Mode::S_IRUSR | Mode::S_IWUSR)?;
        // Open at both ends, it has no end of its own, and nobody waits in opening it.
        let ready = File::options().read(true).write(true).open(place("ready"))?;
        Ok(Place { directory: runtime.into(), ready })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Runs a program and waits until it has said that it is ready, or ends it.
    fn run(&self, executable: &Path, arguments: &[String], exit: Option<OwnedFd>) -> Result<Driver> {
        let name = executable.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let log = File::options().append(true).open(self.path("log"))?;
        let child = match process::fork(0).with_context(|| format!("cannot start {name}"))? {
            Fork::Child => {
                let error = execute(executable, arguments, &log);
                let _ = writeln!(&log, "cannot be executed: {error}");
                process::exit_now(127)
            }
            Fork::Parent(child) => child,
        };
        let driver = Driver { child, _exit: exit };
        let mut ends = [self.ready.as_fd(), driver.child.pidfd.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        let patience = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
        let woken = loop {
            match poll(&mut ends, patience) {
                Err(Errno::EINTR) => {}
                other => break other.context("cannot wait for the driver")?,
            }
        };
        let (is_ready, has_ended) = (ends[0].any().unwrap_or(false), ends[1].any().unwrap_or(false));
        if is_ready && !has_ended {
            return Ok(driver);
        }
        let _ = driver.child.signal(libc::SIGKILL);
        let _ = driver.child.wait();
        let why = if woken == 0 { format!("is not ready after {} s", PATIENCE.as_secs()) } else { self.last_words() };
        Err(anyhow!("{name}: {why}"))
    }

    /// The end of what the program has said.
    fn last_words(&self) -> String {
        const LINES: usize = 3;
        let log = fs::read(self.path("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        // pasta complains of a missing system logger once for each line.
        let told = |line: &&str| !line.trim().is_empty() && !line.contains("to syslog");
        let lines: Vec<&str> = log.lines().filter(told).map(str::trim).collect();
        match lines.len() {
            0 => "ended without a word".to_string(),
            count => lines[count.saturating_sub(LINES)..].join("; "),
        }
    }
}

/// Lets a program that is executed have this descriptor under its number.
fn inherit(fd: BorrowedFd) -> Result<()> {
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty())).map(drop).context("cannot hand on a descriptor")
}

/// Becomes the program; returns only why not.
fn execute(executable: &Path, arguments: &[String], log: &File) -> anyhow::Error {
    let become_it = || -> Result<std::convert::Infallible> {
        process::set_parent_death_signal(libc::SIGKILL)?;
        process::reset_signals();
        let null = File::open("/dev/null")?;
        for (place, fd) in [null.as_fd(), log.as_fd(), log.as_fd()].into_iter().enumerate() {
            process::put_at(fd, place as i32)?;
        }
        let words = std::iter::once(executable.as_os_str()).chain(arguments.iter().map(OsStr::new));
        let words: Vec<CString> = words.map(|word| CString::new(word.as_bytes())).collect::<Result<_, _>>()?;
        let environment = [c"PATH=/usr/sbin:/usr/bin:/sbin:/bin"];
        Ok(nix::unistd::execve(&words[0], &words, &environment)?)
    };
    become_it().map_or_else(|error| error, |never| match never {})
}

/// pasta(1): configure the namespace, stay in the foreground, write the PID when ready; nothing forwarded but what was asked for.
fn pasta_arguments(pasta: &Pasta, ports: &[PortMapping], place: &Place) -> Vec<String> {
    let path = |name: &str| place.path(name).display().to_string();
    let mut all: Vec<String> =
        ["--config-net", "--foreground", "--quiet", "--pid", &path("ready"), "--netns", &path("netns")].map(String::from).into();
    if !pasta.has(&["--dns-forward"]) {
        all.extend(["--dns-forward".into(), PASTA_DNS.to_string()]);
    }
    if !pasta.map_gateway {
        all.push("--no-map-gw".into());
    }
    for (protocol, option, long) in [(Protocol::Tcp, "-t", "--tcp-ports"), (Protocol::Udp, "-u", "--udp-ports")] {
        let specs = pasta_ports(ports, protocol);
        if specs.is_empty() && !pasta.has(&[option, long]) {
            all.extend([option.into(), "none".into()]);
        }
        all.extend(specs.into_iter().flat_map(|spec| [option.to_string(), spec]));
    }
    // Its default would let the container reach what listens on the host's loopback.
    for (option, long) in [("-T", "--tcp-ns"), ("-U", "--udp-ns")] {
        if !pasta.has(&[option, long]) {
            all.extend([option.into(), "none".into()]);
        }
    }
    all.extend(pasta.arguments.iter().cloned());
    all
}

/// `[ADDRESS/]HOST:CONTAINER` for each port; every address of both families is said by none.
fn pasta_ports(ports: &[PortMapping], protocol: Protocol) -> Vec<String> {
    let of_protocol: Vec<&PortMapping> = ports.iter().filter(|port| port.protocol == protocol).collect();
    let everywhere = |port: &PortMapping| port.host().ip().is_unspecified();
    let twin = |port: &PortMapping| {
        let same = |other: &&&PortMapping| {
            everywhere(other) && (other.host_port, other.container_port) == (port.host_port, port.container_port)
        };
        everywhere(port) && of_protocol.iter().filter(same).count() > 1
    };
    let spec = |port: &&PortMapping| match (twin(port), port.host().is_ipv6()) {
        (true, true) => None,
        (true, false) => Some(format!("{}:{}", port.host_port, port.container_port)),
        (false, _) => Some(format!("{}/{}:{}", port.host().ip(), port.host_port, port.container_port)),
    };
    of_protocol.iter().filter_map(spec).collect()
}

/// slirp4netns(1).
fn slirp_arguments(slirp: &Slirp, place: &Place, exit: i32) -> Vec<String> {
    let path = |name: &str| place.path(name).display().to_string();
    let mut all = vec![
        "--configure".to_string(),
        format!("--ready-fd={}", place.ready.as_raw_fd()),
        format!("--exit-fd={exit}"),
        format!("--mtu={}", slirp.mtu),
        format!("--cidr={}/{}", slirp.network, slirp.prefix),
        format!("--api-socket={}", path(API)),
        "--enable-sandbox".into(),
        "--enable-seccomp".into(),
        "--netns-type=path".into(),
    ];
    if !slirp.allow_host_loopback {
        all.push("--disable-host-loopback".into());
    }
    if slirp.ipv6 {
        all.push("--enable-ipv6".into());
    }
    all.extend(slirp.outbound.iter().map(|source| format!("--outbound-addr={source}")));
    all.extend(slirp.outbound6.iter().map(|source| format!("--outbound-addr6={source}")));
    all.extend([path("netns"), "eth0".into()]);
    all
}

/// What Monitor wants while the program runs.
fn obey(program: &Program, api: &Path, order: &Order) -> Result<()> {
    match (program, order) {
        (Program::Slirp(slirp), Order::Publish(port)) => publish(slirp, port, api),
        (_, Order::Finish) => Ok(()),
        (_, Order::Join(_) | Order::Leave(_) | Order::Rename(_)) => {
            Err(anyhow!("only who is on user-defined networks can join or leave one"))
        }
        (Program::Slirp(_), Order::Withdraw(port)) => withdraw(port, api),
        (Program::Pasta(_), _) => Err(anyhow!("pasta takes its ports at the start only"))
            .hint(|| "the network gateway, which is the default, can change them while the container runs"),
    }
}

/// Has slirp4netns serve a port (its manual, "API SOCKET").
fn publish(slirp: &Slirp, port: &PortMapping, api: &Path) -> Result<()> {
    let arguments = json!({
        "proto": port.protocol,
        "host_addr": port.host().ip(),
        "host_port": port.host_port,
        "guest_addr": slirp.container(),
        "guest_port": port.container_port,
    });
    let asked = ask(api, &json!({ "execute": "add_hostfwd", "arguments": arguments }));
    asked.map(drop).with_context(|| format!("cannot publish {}/{}", port.host(), port.protocol))
}

/// And no longer: it is found by what slirp4netns says of it.
fn withdraw(port: &PortMapping, api: &Path) -> Result<()> {
    let listed = ask(api, &json!({ "execute": "list_hostfwd" }))?;
    let (address, protocol) = (port.host().ip().to_string(), port.protocol.to_string());
    let Some(id) = slirp_api::id_of(&listed, &protocol, &address, port.host_port) else { return Ok(()) };
    ask(api, &json!({ "execute": "remove_hostfwd", "arguments": { "id": id } })).map(drop)
}

/// One request, one connection.
fn ask(api: &Path, request: &Value) -> Result<Value> {
    let mut socket = UnixStream::connect(api).context("cannot reach slirp4netns")?;
    socket.set_read_timeout(Some(PATIENCE))?;
    // At once: it takes what comes first for the whole.
    socket.write_all(&serde_json::to_vec(request)?)?;
    socket.shutdown(std::net::Shutdown::Write)?;
    let mut bytes = Vec::new();
    (&mut socket).take(slirp_api::LONGEST).read_to_end(&mut bytes).context("cannot hear slirp4netns")?;
    slirp_api::answer(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::ports;

    fn mapping(ip: &str, host_port: u16, container_port: u16, protocol: Protocol) -> PortMapping {
        ports::PortMapping { host_ip: Some(ip.parse().unwrap()), host_port, container_port, protocol }
    }

    #[test]
    fn ports_are_written_for_pasta() {
        let all = [
            mapping("0.0.0.0", 8080, 80, Protocol::Tcp),
            mapping("::", 8080, 80, Protocol::Tcp),
            mapping("127.0.0.1", 8081, 81, Protocol::Tcp),
            mapping("::1", 8082, 82, Protocol::Tcp),
            mapping("0.0.0.0", 53, 53, Protocol::Udp),
        ];
        assert_eq!(pasta_ports(&all, Protocol::Tcp), ["8080:80", "127.0.0.1/8081:81", "::1/8082:82"]);
        assert_eq!(pasta_ports(&all, Protocol::Udp), ["0.0.0.0/53:53"]);
    }

    #[test]
    fn the_hosts_loopback_is_closed_unless_it_is_asked_for() {
        let place = Place { directory: "/d".into(), ready: File::open("/dev/null").unwrap() };
        let pasta = |text: &str| pasta_arguments(&text.parse().unwrap(), &[], &place).join(" ");
        let closed = pasta("");
        for wanted in ["--no-map-gw", "-t none", "-u none", "-T none", "-U none", "--dns-forward 169.254.1.1", "--netns /d/netns"]
        {
            assert!(closed.contains(wanted), "{wanted}: {closed}");
        }
        let open = pasta("--map-gw,-T,5432");
        assert!(!open.contains("--no-map-gw") && !open.contains("-T none") && open.ends_with("-T 5432"), "{open}");
        let slirp = |text: &str| slirp_arguments(&text.parse().unwrap(), &place, 9).join(" ");
        assert!(slirp("").contains("--disable-host-loopback") && slirp("").contains("--enable-ipv6"));
        let open = slirp("allow_host_loopback=true,enable_ipv6=false,cidr=10.9.0.0/16");
        assert!(!open.contains("loopback") && !open.contains("ipv6") && open.contains("--cidr=10.9.0.0/16"), "{open}");
    }
}
