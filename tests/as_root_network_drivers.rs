//! `--network pasta` and `--network slirp4netns`. The tests are root's, who opens /dev/net/tun to the ordinary user that runs `rl`, in a
//! mount namespace of this test alone. The outside world is this host, on an address that is no loopback one.

mod support;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use support::{Feature, Rl, Run, eventually, host_v4, image, in_shell, require, run};

/// `rl` in an ordinary user's hands, with a store of its own.
struct User {
    rl: Rl,
    name: String,
    tun: PathBuf,
}

impl User {
    /// The first who has a range of subuids.
    fn new() -> User {
        let ranges = std::fs::read_to_string("/etc/subuid").unwrap();
        let name = ranges.split(':').next().unwrap().to_string();
        let ids = nix::unistd::User::from_name(&name).unwrap().expect("the user of /etc/subuid");
        let rl = Rl::new();
        for dir in ["", "home", "tmp"] {
            chown(rl.path(dir), Some(ids.uid.as_raw()), Some(ids.gid.as_raw())).unwrap();
        }
        let tun = rl.path("tun");
        mknod(&tun, SFlag::S_IFCHR, Mode::empty(), makedev(10, 200)).unwrap();
        std::fs::set_permissions(&tun, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
        User { rl, name, tun }
    }

    /// After `prepare`, by root, in a mount namespace that is nobody else's.
    fn command(&self, prepare: &str, args: &[&str]) -> Command {
        let script = format!("{prepare} && exec setpriv --reuid {0} --regid {0} --init-groups --inh-caps=-all \"$@\"", self.name);
        let inner = in_shell("sh", &script, &self.rl.command(args));
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--propagation", "private"]).arg(inner.get_program()).args(inner.get_args()).env_clear();
        unshare.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        unshare
    }

    #[track_caller]
    fn cmd(&self, args: &[&str]) -> Run {
        run(self.command(&format!("mount --bind '{}' /dev/net/tun", self.tun.display()), args))
    }

    #[track_caller]
    fn sh(&self, flags: &[&str], script: &str) -> Run {
        self.cmd(&[&["run", "--rm"], flags, &[&image("alpine"), "sh", "-c", script]].concat())
    }

    /// A container in the background, by this name.
    #[track_caller]
    fn start(&self, name: &str, flags: &[&str], script: &str) {
        self.cmd(&[&["run", "-d", "--name", name], flags, &[&image("alpine"), "sh", "-c", script]].concat()).ok();
    }
}

impl Drop for User {
    fn drop(&mut self) {
        // Root, whose store it is not, cannot remove what the containers' users own.
        let store = self.rl.store();
        let _ = run(self.command("true", &["unshare", "rm", "-rf", &store.display().to_string()]));
    }
}

/// Serves one connection after another until the test ends.
fn greet(ip: impl Into<IpAddr>) -> SocketAddr {
    let listener = TcpListener::bind((ip.into(), 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || listener.incoming().flatten().for_each(|mut peer| drop(peer.write_all(b"hello from outside\n"))));
    address
}

fn echo(ip: IpAddr) -> SocketAddr {
    let socket = UdpSocket::bind((ip, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 2000];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..length], from);
        }
    });
    address
}

/// Both; pasta with an address that is not the host's own, so that the host's is outside.
const DRIVERS: [(&str, &str, &str); 2] =
    [("slirp4netns", "slirp4netns", "10.0.2.100"), ("pasta", "pasta:-a,10.9.8.7,-n,24,-g,10.9.8.1", "10.9.8.7")];

/// Processes whose command line begins so.
fn processes(begin: &str) -> Vec<i32> {
    let pids = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(begin))).collect()
}

/// The program that a driver looks after.
fn below(parent: i32) -> Vec<i32> {
    let text = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

fn kill(pid: i32) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
}

#[test]
fn servers_outside_are_reached_and_the_hosts_loopback_is_not() {
    require!(Feature::Root(true), Feature::Image("alpine"), Feature::Tool("pasta"), Feature::Tool("slirp4netns"));
    let user = User::new();
    let (tcp, udp, inner) = (greet(host_v4()), echo(host_v4()), greet(Ipv4Addr::LOCALHOST));
    for (name, network, address) in DRIVERS {
        let script = format!(
            "ip -o -4 addr show eth0; grep . /etc/hosts; nc -w 3 {} {} </dev/null; echo over udp | nc -u -w 3 {} {}; echo loopback:; \
             for a in 10.0.2.2 10.9.8.1 127.0.0.1; do nc -w 2 $a {} </dev/null; done; true",
            tcp.ip(),
            tcp.port(),
            udp.ip(),
            udp.port(),
            inner.port()
        );
        let seen = user.sh(&["--network", network], &script).ok();
        for wanted in [&format!("inet {address}/24"), &format!("{address}\t"), "over udp"] {
            assert!(seen.stdout().contains(wanted), "{name}: {wanted}: {seen}");
        }
        // Not counted: on some kernels this pasta hands the beginning of a stream over twice.
        let (outside, inside) = seen.stdout().split_once("loopback:").unwrap_or_default();
        assert!(outside.contains("hello from outside") && inside.trim().is_empty(), "{name}: {seen}");
    }
}

#[test]
fn the_hosts_loopback_is_opened_by_name() {
    require!(Feature::Root(true), Feature::Image("alpine"), Feature::Tool("pasta"), Feature::Tool("slirp4netns"));
    let user = User::new();
    let inner = greet(Ipv4Addr::LOCALHOST);
    for (network, name) in [
        ("slirp4netns:allow_host_loopback=true", "host.containers.internal"),
        ("slirp4netns:allow_host_loopback=true,cidr=10.77.0.0/16", "10.77.0.2"),
        ("pasta:--map-gw,-a,10.9.8.7,-n,24,-g,10.9.8.1", "host.containers.internal"),
    ] {
        let seen = user.sh(&["--network", network], &format!("nc -w 3 {name} {} </dev/null", inner.port())).ok();
        let mut greetings: Vec<&str> = seen.stdout().lines().collect();
        if network.starts_with("pasta") {
            // On some kernels it hands the beginning of a stream over twice.
            greetings.dedup();
        }
        assert_eq!(greetings, ["hello from outside"], "{network}");
    }
}

#[test]
fn names_are_asked_of_the_hosts_servers() {
    require!(Feature::Root(true), Feature::Image("alpine"), Feature::Tool("pasta"), Feature::Tool("slirp4netns"));
    let user = User::new();
    for (network, server) in
        [("slirp4netns", "10.0.2.3"), ("slirp4netns:cidr=10.77.0.0/16", "10.77.0.3"), ("pasta", "169.254.1.1")]
    {
        let seen = user.sh(&["--network", network], "cat /etc/resolv.conf").ok();
        assert!(seen.stdout().contains(&format!("nameserver {server}")), "{network}: {seen}");
    }
}

#[test]
fn published_ports_are_served_over_tcp_and_udp() {
    require!(Feature::Root(true), Feature::Image("alpine"), Feature::Tool("pasta"), Feature::Tool("slirp4netns"));
    let user = User::new();
    let script = "import socket,threading\n\
        u=socket.socket(type=socket.SOCK_DGRAM); u.bind(('',81)); t=socket.create_server(('',80))\n\
        def udp():\n while True: u.sendto(b'served',u.recvfrom(9)[1])\n\
        threading.Thread(target=udp).start()\n\
        while True:\n c=t.accept()[0]; c.sendall(b'served'); c.close()";
    for (name, network, _) in DRIVERS {
        // UDP not on loopback: slirp4netns 1.2, with the host's loopback closed, loses the answers.
        let flags = ["--network", network, "-p", "127.0.0.1::80", "-p", &format!("{}::81/udp", host_v4())];
        user.cmd(&[&["run", "-d", "--name", name], &flags[..], &["rootfs:/", "/usr/bin/python3", "-c", script]].concat()).ok();
        let port = |private: &str| user.cmd(&["port", name, private]).ok().stdout().parse::<SocketAddr>().unwrap();
        let (tcp, udp) = (port("80"), port("81/udp"));
        eventually("TCP is served", || {
            let mut text = String::new();
            TcpStream::connect(tcp).and_then(|mut peer| peer.read_to_string(&mut text)).is_ok() && text == "served"
        });
        eventually("UDP is served", || {
            let socket = UdpSocket::bind((host_v4(), 0)).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            let mut answer = [0; 20];
            socket.send_to(b"?", udp).is_ok() && socket.recv(&mut answer).is_ok_and(|length| &answer[..length] == b"served")
        });
        user.cmd(&["rm", "-f", name]).ok();
        eventually("the port is free", || TcpListener::bind(tcp).is_ok());
    }
    let refused = user.sh(&["--network", "slirp4netns", "-p", "[::1]::80"], "true").code(125);
    refused.says("slirp4netns serves ports over IPv4 only");
}

#[test]
fn a_driver_ends_with_its_container_and_is_replaced_when_it_dies() {
    require!(Feature::Root(true), Feature::Image("alpine"), Feature::Tool("pasta"), Feature::Tool("slirp4netns"));
    let user = User::new();
    let tcp = greet(host_v4());
    for (driver, network, _) in DRIVERS {
        let name = format!("{driver}-{}", std::process::id());
        user.start(&name, &["--network", network], "sleep 1000");
        let ours = || processes(&format!("rl[{name}]: driver"));
        let program = || ours().first().map(|pid| below(*pid)).unwrap_or_default();
        let ask = || user.cmd(&["exec", &name, "nc", "-w", "5", &tcp.ip().to_string(), &tcp.port().to_string()]);
        // First the program, then who looks after it.
        for first in [true, false] {
            let all = [program(), ours()].concat();
            kill(all[usize::from(!first)]);
            eventually("another connects it", || ask().stdout() == "hello from outside");
            eventually("the others are gone", || all.iter().all(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists()));
        }
        eventually("there is one of each", || ours().len() == 1 && program().len() == 1);
        let program = program();
        user.cmd(&["rm", "-f", &name]).ok();
        let gone = || ours().is_empty() && !std::path::Path::new(&format!("/proc/{}", program[0])).exists();
        eventually("all end with the container", gone);
    }
}

#[test]
fn a_driver_ends_with_a_monitor_that_was_killed() {
    require!(Feature::Root(true), Feature::Image("alpine"), Feature::Tool("pasta"), Feature::Tool("slirp4netns"));
    let user = User::new();
    for (driver, network, _) in DRIVERS {
        let name = format!("lost-{driver}-{}", std::process::id());
        user.start(&name, &["--network", network], "sleep 1000");
        let ours = processes(&format!("rl[{name}]: driver"));
        let program = below(ours[0]);
        kill(processes(&format!("rl[{name}]: monitor"))[0]);
        let all = [ours, program].concat();
        eventually("both end", || all.iter().all(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists()));
        user.cmd(&["rm", "-f", &name]).ok();
    }
}

#[test]
fn what_is_missing_is_named() {
    require!(Feature::Root(true), Feature::Image("alpine"), Feature::Tool("pasta"), Feature::Tool("slirp4netns"));
    let user = User::new();
    let alpine = image("alpine");
    for (name, package) in [("pasta", "passt"), ("slirp4netns", "slirp4netns")] {
        let hidden = format!("for p in $(which -a {name}); do mount --bind /dev/null $p; done");
        let gone = run(user.command(&hidden, &["run", "--network", name, &alpine, "true"])).code(125);
        gone.says(&format!("there is no program {name}")).says(&format!("apt install {package}"));
        let closed = format!("chmod 0 '{0}' && mount --bind '{0}' /dev/net/tun", user.tun.display());
        let closed = run(user.command(&closed, &["run", "--network", name, &alpine, "true"])).code(125);
        closed.says("it needs /dev/net/tun").says("chmod 0666 /dev/net/tun").says("the gateway needs no such device");
    }
    // What the program itself refuses is told in its words.
    std::fs::set_permissions(&user.tun, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    user.sh(&["--network", "pasta:--no-such-option"], "true").code(125).says("pasta: ");
    user.sh(&["--network", "slirp4netns:outbound_addr=nowhere0"], "true").code(125).says("slirp4netns: ");
    assert!(user.cmd(&["ps", "-aq"]).ok().stdout().is_empty());
}

#[test]
fn a_host_without_tproxy_has_the_best_of_the_rest_by_default() {
    require!(Feature::Root(true), Feature::Image("alpine"), Feature::Tool("pasta"), Feature::Tool("slirp4netns"));
    let user = User::new();
    let ids = nix::unistd::User::from_name(&user.name).unwrap().unwrap();
    // As if the trial had failed in this boot, for this test alone.
    let failed = format!(
        "r=/dev/shm/rl-{0}; [ \"$(stat -c %u /run/user/{0} 2>&1)\" != {0} ] || r=/run/user/{0}/rl; install -d -m 700 -o {0} -g {1} $r && \
         mount -t tmpfs -o mode=700,uid={0},gid={1} rl $r && \
         printf '{{\"bootId\":\"%s\",\"method\":null,\"failed\":[\"no tproxy\"]}}' $(cat /proc/sys/kernel/random/boot_id) >$r/network.json && \
         chmod 644 $r/network.json",
        ids.uid, ids.gid
    );
    let open = format!("{failed} && mount --bind '{}' /dev/net/tun", user.tun.display());
    let alpine = image("alpine");
    let show = ["--log-level", "debug", "run", "--rm", &alpine, "cat", "/etc/resolv.conf"];
    let seen = run(user.command(&open, &show)).ok();
    assert!(seen.stdout().contains("nameserver 169.254.1.1"), "{seen}");
    let seen = seen.says("rl: debug: network: gateway: no tproxy");
    seen.says("rl: debug: network: pasta: with /dev/net/tun");
    let hidden = format!("{open} && for p in $(which -a pasta); do mount --bind /dev/null $p; done");
    assert!(run(user.command(&hidden, &show)).ok().stdout().contains("nameserver 10.0.2.3"));
    let info = run(user.command(&hidden, &["info"])).ok();
    assert!(info.stdout().contains("slirp4netns by default (with /dev/net/tun)"), "{info}");
    assert!(info.stdout().contains("no gateway: no tproxy") && info.stdout().contains("no program pasta"), "{info}");
    let none = run(user.command(&failed, &["run", "--rm", &alpine, "true"])).code(125);
    none.says("no network can be made for containers here (gateway: no tproxy; pasta: ").says("--network none");
    run(user.command(&failed, &["run", "--rm", "--network", "none", &alpine, "true"])).ok();
    // Nobody else has noticed.
    let info = run(user.command("true", &["info"])).ok();
    assert!(info.stdout().contains("gateway by default (TPROXY, IPv4"), "{info}");
}
