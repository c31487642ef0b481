//! The host's name servers: they change while a container runs, and they say what a name admits that a container may reach. Root runs it, in a mount namespace whose /etc is a directory of the test's.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use support::{Feature, Rl, Run, image, in_shell, require, run};

/// A name server on an address of its own that answers every question for an IPv4 address with this one.
fn name_server(number: u8, answer: [u8; 4]) -> Ipv4Addr {
    let [.., high, low] = std::process::id().to_be_bytes();
    let address = Ipv4Addr::new(127, 128 + number, high, low);
    let socket = UdpSocket::bind((address, 53)).expect("root may answer questions on a loopback address");
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&reply(&buffer[..length], answer), from);
        }
    });
    let listener = TcpListener::bind((address, 53)).expect("root may answer questions on a loopback address");
    thread::spawn(move || {
        for mut peer in listener.incoming().flatten() {
            let mut buffer = [0; 512];
            let length = peer.read(&mut buffer).expect("a question");
            let message = reply(&buffer[2..length], answer);
            let _ = peer.write_all(&[&(message.len() as u16).to_be_bytes()[..], &message].concat());
        }
    });
    address
}

fn reply(question: &[u8], answer: [u8; 4]) -> Vec<u8> {
    let name = question[12..].iter().position(|&byte| byte == 0).expect("a question");
    let end = 12 + name + 5;
    let mut message = question[..end].to_vec();
    let wants_ipv4 = message[end - 4..end] == [0, 1, 0, 1];
    message[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, wants_ipv4.into(), 0, 0, 0, 0]);
    if wants_ipv4 {
        message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        message.extend(answer);
    }
    message
}

struct Host {
    rl: Rl,
    etc: PathBuf,
}

impl Host {
    fn new() -> Host {
        let rl = Rl::new();
        let etc = rl.path("etc");
        let copied = Command::new("cp").args(["-a", "/etc", &etc.to_string_lossy()]).status().expect("cp");
        assert!(copied.success());
        // What it may be a link to is somewhere else.
        let _ = fs::remove_file(etc.join("resolv.conf"));
        Host { rl, etc }
    }

    #[track_caller]
    fn cmd(&self, args: &[&str]) -> Run {
        let inner = in_shell("sh", &format!("mount --bind '{}' /etc && exec \"$@\"", self.etc.display()), &self.rl.command(args));
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--propagation", "private"]).arg(inner.get_program()).args(inner.get_args()).env_clear();
        run({
            unshare.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
            unshare
        })
    }

    fn write(&self, file: impl AsRef<Path>, server: Ipv4Addr) {
        fs::write(self.etc.join(file), format!("nameserver {server}\n")).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.etc.join(from), self.etc.join(to)).unwrap();
    }

    /// The address that a container's question for any name is answered with.
    #[track_caller]
    fn ask(&self) -> String {
        let told = self.cmd(&["exec", "dns", "nslookup", "-type=a", "who.test"]).ok();
        told.stdout().lines().filter_map(|line| line.strip_prefix("Address: ")).next_back().unwrap_or_default().to_string()
    }
}

#[test]
fn the_hosts_name_servers_are_followed_however_they_change() {
    require!(Feature::Root(true), Feature::Image("alpine"));
    let host = Host::new();
    let [one, two, three] = [1, 2, 3].map(|n| name_server(n, [192, 0, 2, n]));
    host.write("resolv.conf", one);
    host.cmd(&["run", "-d", "--name", "dns", &image("alpine"), "sleep", "1000"]).ok();
    assert_eq!(host.ask(), "192.0.2.1");
    // Replaced, as by a VPN that comes up.
    host.write("new", two);
    host.rename("new", "resolv.conf");
    assert_eq!(host.ask(), "192.0.2.2");
    // Written in place, as by a person.
    host.write("resolv.conf", three);
    assert_eq!(host.ask(), "192.0.2.3");
    // A link to a link from now on, as systemd-resolved and resolvconf have it.
    fs::create_dir_all(host.etc.join("resolved")).unwrap();
    host.write("resolved/stub.conf", one);
    std::os::unix::fs::symlink("stub.conf", host.etc.join("resolved/current")).unwrap();
    std::os::unix::fs::symlink("resolved/current", host.etc.join("new")).unwrap();
    host.rename("new", "resolv.conf");
    assert_eq!(host.ask(), "192.0.2.1");
    // Its end is replaced.
    host.write("resolved/new", two);
    host.rename("resolved/new", "resolved/stub.conf");
    assert_eq!(host.ask(), "192.0.2.2");
    // The link in the middle points elsewhere.
    host.write("resolved/uplink.conf", three);
    std::os::unix::fs::symlink("uplink.conf", host.etc.join("resolved/new")).unwrap();
    host.rename("resolved/new", "resolved/current");
    assert_eq!(host.ask(), "192.0.2.3");
    // Nothing there for a moment: what was known holds.
    fs::remove_file(host.etc.join("resolv.conf")).unwrap();
    assert_eq!(host.ask(), "192.0.2.3");
    host.cmd(&["rm", "-f", "dns"]).ok();
}

#[test]
fn a_name_admits_what_the_hosts_servers_answer_for_it_and_no_other_name_is_asked() {
    require!(Feature::Root(true), Feature::Image("alpine"));
    let host = Host::new();
    let probe = UdpSocket::bind("0.0.0.0:0").unwrap();
    probe.connect("198.51.100.1:9").expect("this test needs a host with an IPv4 address and a default route");
    let std::net::IpAddr::V4(own) = probe.local_addr().unwrap().ip() else { unreachable!("asked for IPv4") };
    let listener = TcpListener::bind((own, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || listener.incoming().flatten().for_each(|mut peer| drop(peer.write_all(b"hello\n"))));
    host.write("resolv.conf", name_server(9, own.octets()));
    let script = format!(
        "nc -w 20 {own} {port} || echo refused; nc -w 20 depot.test {port}; nc -w 20 {own} {port}; nc -w 20 other.test {port} || echo unknown; \
         nc -w 20 sub.depot.test {port} || echo unknown; nc -w 20 sub.below.test {port}; ping -c 1 -W 1 {own} >/dev/null || echo silence"
    );
    let rules = [format!("depot.test:{port}"), format!("*.below.test:{port}")];
    let flags = ["run", "--name", "ci", "--egress-allow", &rules[0], "--egress-allow", &rules[1], "--egress-log"];
    host.cmd(&["network", "create", "--internal", "closed"]).ok();
    for (network, method) in [("open", "method=tproxy"), ("other", "method=anyip")] {
        host.cmd(&["network", "create", "-o", method, network]).ok();
    }
    // Where there are several, musl asks at the gateways of all at once.
    for networks in [&[][..], &["--network", "closed,open,other"], &["--network", "closed,other,open"]] {
        let run = host.cmd(&[&flags[..], networks, &[&image("alpine"), "sh", "-c", &script]].concat()).ok();
        assert_eq!(run.stdout(), "refused\nhello\nhello\nunknown\nunknown\nhello\nsilence", "{networks:?}");
        let told = host.cmd(&["logs", "--egress", "ci"]).ok();
        for line in [
            format!("deny tcp {own}:{port}"),
            "allow dns depot.test".into(),
            format!("allow tcp {own}:{port} depot.test"),
            "deny dns other.test".into(),
            "deny dns sub.depot.test".into(),
            format!("allow tcp {own}:{port} sub.below.test"),
        ] {
            assert!(told.stdout().lines().any(|told| told.ends_with(&format!(" {line}"))), "{networks:?}: {line}: {told}");
        }
        host.cmd(&["rm", "ci"]).ok();
    }
}

#[test]
fn a_name_is_asked_for_anew_by_way_of_another_network() {
    require!(Feature::Root(true), Feature::Image("alpine"));
    let host = Host::new();
    let own = support::host_v4();
    let listener = TcpListener::bind((own, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || listener.incoming().flatten().for_each(|mut peer| drop(peer.write_all(b"hello\n"))));
    let std::net::IpAddr::V4(address) = own else { unreachable!("asked for IPv4") };
    host.write("resolv.conf", name_server(11, address.octets()));
    for (network, method) in [("first", "method=tproxy"), ("second", "method=anyip")] {
        host.cmd(&["network", "create", "-o", method, network]).ok();
    }
    let flags = ["run", "-d", "--name", "ci", "--network", "first", "--egress-allow", "depot.test"];
    host.cmd(&[&flags[..], &[&image("alpine"), "sleep", "1000"]].concat()).ok();
    let asks = |to: &str| host.cmd(&["exec", "ci", "sh", "-c", &format!("nc -w 20 {to} {port} || echo refused")]).ok();
    let check = |when: &str| {
        assert_eq!(asks("depot.test").stdout(), "hello", "{when}");
        assert_eq!(asks("other.test").stdout(), "refused", "{when}");
    };
    check("at first");
    host.cmd(&["network", "connect", "second", "ci"]).ok();
    check("with another");
    host.cmd(&["network", "disconnect", "first", "ci"]).ok();
    check("by way of the other");
    // Its gateway is the one that the container asks, though it leads nowhere now.
    host.cmd(&["network", "connect", "first", "ci"]).ok();
    check("with the first again");
    host.cmd(&["network", "disconnect", "first", "ci"]).ok();
    check("without it again");
    host.cmd(&["rm", "-f", "ci"]).ok();
}

#[test]
fn over_tcp_no_other_name_is_asked_for_either() {
    require!(Feature::Root(true), Feature::Tool("python3"));
    let host = Host::new();
    host.write("resolv.conf", name_server(10, [192, 0, 2, 7]));
    // Two questions at once on one connection, in pieces; the code and the last bytes of what is answered.
    let script = "import socket,struct,sys\n\
        def q(n,i): return struct.pack('>HHHHHH',i,256,1,0,0,0)+b''.join(bytes([len(l)])+l.encode() for l in n.split('.'))+b'\\0\\0\\1\\0\\1'\n\
        s=socket.create_connection((sys.argv[1],53),20); b=b''.join(struct.pack('>H',len(m))+m for m in [q('other.test',1),q('depot.test',2)])\n\
        s.sendall(b[:7]); s.sendall(b[7:]); f=s.makefile('rb')\n\
        for _ in range(2):\n\
        \x20m=f.read(struct.unpack('>H',f.read(2))[0]); print(m[1],m[3]&15,m[-4:]==bytes([192,0,2,7]))";
    let flags = ["run", "--rm", "--egress-allow", "depot.test"];
    let mut families = vec!["10.0.2.1"];
    families.extend(Path::new("/proc/sys/net/ipv6").exists().then_some("fd72:6c::1"));
    for gateway in families {
        let run = host.cmd(&[&flags[..], &["rootfs:/", "/usr/bin/python3", "-c", script, gateway]].concat()).ok();
        assert_eq!(run.stdout(), "1 3 False\n2 0 True", "{gateway}");
    }
    // Where every name may be asked for, nobody looks.
    let run = host
        .cmd(&[
            "run",
            "--rm",
            "--egress-log",
            "rootfs:/",
            "/usr/bin/python3",
            "-c",
            "import socket\ns=socket.create_connection(('10.0.2.1',53),20); print('open')",
        ])
        .ok();
    assert_eq!(run.stdout(), "open");
}
