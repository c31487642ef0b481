//! Published ports.

mod support;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use support::{Background, Feature, Rl, eventually, host_address, require};

/// A server in a container that tells each TCP or UDP client on port 80 who it is.
const TELL: &str = "import socket,threading,sys\n\
def tcp(f,a):\n s=socket.socket(f); s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1)\n \
if f==socket.AF_INET6: s.setsockopt(socket.IPPROTO_IPV6,socket.IPV6_V6ONLY,1)\n s.bind((a,80)); s.listen()\n \
while True:\n  c,p=s.accept(); c.sendall(f'{p[0]} {p[1]}'.encode()); c.close()\n\
def udp(f,a):\n s=socket.socket(f,socket.SOCK_DGRAM)\n \
if f==socket.AF_INET6: s.setsockopt(socket.IPPROTO_IPV6,socket.IPV6_V6ONLY,1)\n s.bind((a,80))\n \
while True:\n  b,p=s.recvfrom(100); s.sendto(f'{p[0]} {p[1]}'.encode(),p)\n\
kinds=[(socket.AF_INET,'0.0.0.0')]+([(socket.AF_INET6,'::')] if len(sys.argv)<2 else [])\n\
ts=[threading.Thread(target=t,args=k) for k in kinds for t in (tcp,udp)]\n\
[t.start() for t in ts]; print('up',flush=True)";

fn start(rl: &Rl, flags: &[&str], arguments: &[&str]) -> Background {
    let command = ["rootfs:/", "/usr/bin/python3", "-c", TELL];
    let running = rl.start([&["run", "--rm", "--name", "web"], flags, &command, arguments].concat());
    running.expect("up");
    running
}

fn end(rl: &Rl, running: Background) {
    rl.cmd(["rm", "-f", "web"]).ok();
    running.finish();
}

/// The port that was chosen for the container's port 80.
fn chosen(rl: &Rl, protocol: &str) -> u16 {
    let port = rl.cmd(["port", "web", &format!("80/{protocol}")]).ok();
    port.stdout().lines().next().unwrap().rsplit_once(':').unwrap().1.parse().unwrap()
}

fn tcp(to: impl Into<SocketAddr>) -> (String, SocketAddr) {
    let mut stream = TcpStream::connect_timeout(&to.into(), Duration::from_secs(20)).expect("connect");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("read");
    (text, stream.local_addr().unwrap())
}

fn udp(to: SocketAddr) -> (String, SocketAddr) {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket.send(b"who am I").unwrap();
    let mut buffer = [0; 100];
    let n = socket.recv(&mut buffer).expect("an answer");
    (String::from_utf8_lossy(&buffer[..n]).into_owned(), socket.local_addr().unwrap())
}

/// The default network, one of several containers with and without IPv6, and two with the one that leads out behind; and their gateways as a
/// container sees them.
const NETWORKS: [(&[&str], &str); 4] = [
    (&[], "10.0.2.1"),
    (&["--network", "both"], "10.77.0.1"),
    (&["--network", "v4"], "10.78.0.1"),
    (&["--network", "closed", "--network", "both"], "10.77.0.1"),
];

fn with_networks() -> Rl {
    let rl = Rl::new();
    rl.cmd(["network", "create", "--ipv6", "--subnet", "10.77.0.0/24", "both"]).ok();
    rl.cmd(["network", "create", "--subnet", "10.78.0.0/24", "v4"]).ok();
    rl.cmd(["network", "create", "--internal", "--ipv6", "closed"]).ok();
    // Who was first on a network must not be taken for who is meant.
    rl.cmd(["run", "-d", "--name", "other", "--network", "both,v4", &support::image("alpine"), "sleep", "1000"]).ok();
    rl
}

#[test]
fn the_container_sees_its_clients_own_address() {
    require!(Feature::SubIds, Feature::Image("alpine"), Feature::Tool("python3"));
    let rl = with_networks();
    for (network, gateway) in NETWORKS {
        let running = start(&rl, &[&["-p", "80", "-p", "80/udp"], network].concat(), &[]);
        for far in ["198.51.100.1:9", "[2001:db8::1]:9"] {
            let Some(ip) = host_address(far) else {
                println!("SKIP: no route to {far}");
                continue;
            };
            // Where the network has no IPv6, nobody can come from such an address.
            let is_told = ip.is_ipv4() || network != ["--network", "v4"];
            let check = |(seen, own): (String, SocketAddr)| match is_told {
                true => assert_eq!(seen, format!("{} {}", own.ip(), own.port()), "{network:?}"),
                false => assert!(seen.starts_with(&format!("{gateway} ")), "{network:?}: {seen}"),
            };
            check(tcp((ip, chosen(&rl, "tcp"))));
            check(udp(SocketAddr::new(ip, chosen(&rl, "udp"))));
        }
        end(&rl, running);
    }
    rl.cmd(["rm", "-f", "other"]).ok();
}

#[test]
fn a_client_on_loopback_comes_from_the_gateway() {
    require!(Feature::SubIds, Feature::Image("alpine"), Feature::Tool("python3"));
    let rl = with_networks();
    for (network, gateway) in NETWORKS {
        let running = start(&rl, &[&["-p", "127.0.0.1::80", "-p", "127.0.0.1::80/udp"], network].concat(), &[]);
        let here = |protocol| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), chosen(&rl, protocol));
        for seen in [tcp(here("tcp")).0, udp(here("udp")).0] {
            assert!(seen.starts_with(&format!("{gateway} ")), "{network:?}: {seen}");
        }
        end(&rl, running);
    }
    rl.cmd(["rm", "-f", "other"]).ok();
}

#[test]
fn a_server_that_knows_only_ipv4_is_reached_over_ipv6() {
    require!(Feature::SubIds, Feature::Image("alpine"), Feature::Tool("python3"));
    let rl = with_networks();
    for (network, gateway) in NETWORKS {
        let running = start(&rl, &[&["-p", "80"], network].concat(), &["only-v4"]);
        let port = chosen(&rl, "tcp");
        let mut clients: Vec<IpAddr> = vec![Ipv4Addr::LOCALHOST.into()];
        clients.extend(TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok().then_some(IpAddr::from(Ipv6Addr::LOCALHOST)));
        for client in clients {
            let seen = tcp((client, port)).0;
            assert!(seen.starts_with(&format!("{gateway} ")), "{network:?} {client}: {seen}");
        }
        end(&rl, running);
    }
    rl.cmd(["rm", "-f", "other"]).ok();
}

#[test]
fn a_port_where_nobody_listens_in_the_container_ends_the_connection() {
    require!(Feature::SubIds, Feature::Image("alpine"));
    let rl = Rl::new();
    let image = support::image("alpine");
    let running = rl.start(["run", "--rm", "--name", "web", "-p", "127.0.0.1::80", &image, "sh", "-c", "echo up; sleep 1000"]);
    running.expect("up");
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, chosen(&rl, "tcp"))).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let ended = stream.read(&mut [0]);
    assert!(matches!(&ended, Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset), "{ended:?}");
    end(&rl, running);
}

#[test]
fn a_busy_port_is_refused_and_its_holder_named_before_anything_is_made() {
    require!(Feature::SubIds, Feature::Image("alpine"));
    let rl = Rl::new();
    let busy = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = busy.local_addr().unwrap().port();
    let us = std::process::id();
    let wanted = format!("127.0.0.1:{port}:80");
    let run = rl.cmd(["run", "--name", "web", "-p", &wanted, &support::image("alpine"), "true"]).code(125);
    let run = run.says(&format!("cannot publish 127.0.0.1:{port}/tcp: the port is in use by "));
    assert!(run.stderr().contains(&format!("(pid {us})")), "{run}");
    assert!(rl.containers().is_empty());
}

#[test]
fn a_port_that_another_container_has_is_said_to_be_its() {
    require!(Feature::SubIds, Feature::Tool("python3"));
    let rl = Rl::new();
    let running = start(&rl, &["-p", "127.0.0.1::80"], &[]);
    let wanted = format!("127.0.0.1:{}:80", chosen(&rl, "tcp"));
    rl.cmd(["run", "-p", &wanted, &support::image("alpine"), "true"]).code(125).says("in use by container \"web\"");
    end(&rl, running);
}

#[test]
fn a_privileged_port_names_the_sysctl() {
    require!(Feature::SubIds, Feature::Image("alpine"), Feature::Root(false));
    let rl = Rl::new();
    let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    if first.trim() == "0" {
        return println!("SKIP: every port is open to everybody here");
    }
    let run = rl.cmd(["run", "-p", "127.0.0.1:1:80", &support::image("alpine"), "true"]).code(125);
    run.says("for root only on this host").says("net.ipv4.ip_unprivileged_port_start=1");
}

#[test]
fn a_range_takes_what_is_free_and_all_is_shown() {
    require!(Feature::SubIds, Feature::Tool("python3"));
    let rl = Rl::new();
    let busy = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = busy.local_addr().unwrap().port().min(65000);
    let range = format!("127.0.0.1:{port}-{}:80", port + 50);
    let running = start(&rl, &["-p", &range], &[]);
    let got = chosen(&rl, "tcp");
    assert!(got > port && got <= port + 50);
    let ports = &rl.inspect("web")["NetworkSettings"]["Ports"]["80/tcp"][0];
    assert_eq!((ports["HostIp"].as_str(), ports["HostPort"].as_str()), (Some("127.0.0.1"), Some(got.to_string().as_str())));
    rl.cmd(["port", "web", "81"]).code(1).says("81/tcp");
    end(&rl, running);
    eventually("the port is free again", || TcpListener::bind((Ipv4Addr::LOCALHOST, got)).is_ok());
}

#[test]
fn ports_are_added_to_a_running_container_and_taken_from_it() {
    require!(Feature::SubIds, Feature::Tool("python3"));
    let rl = Rl::new();
    let running = start(&rl, &["-p", "127.0.0.1::80"], &[]);
    let first = chosen(&rl, "tcp");
    let told = rl.cmd(["port", "add", "web", "127.0.0.1::80", "127.0.0.1::80/udp"]).ok();
    let added: Vec<SocketAddr> = told.stdout().lines().map(|line| line.split(" -> ").nth(1).unwrap().parse().unwrap()).collect();
    assert!(added.len() == 2 && told.stdout().starts_with("80/tcp -> 127.0.0.1:"), "{told}");
    assert!(tcp(added[0]).0.starts_with("10.0.2.1 ") && udp(added[1]).0.starts_with("10.0.2.1 "));
    assert_eq!(rl.inspect("web")["NetworkSettings"]["Ports"]["80/tcp"].as_array().unwrap().len(), 2);
    // All or none.
    let busy = format!("127.0.0.1:{first}:81");
    rl.cmd(["port", "add", "web", "127.0.0.1::82", &busy]).code(1).says("in use by container \"web\"");
    rl.cmd(["port", "web", "82"]).code(1);
    let mut open = TcpStream::connect(added[0]).unwrap();
    let taken = format!("127.0.0.1:{}:80", added[0].port());
    rl.cmd(["port", "rm", "web", &taken, "80/udp"]).ok();
    eventually("the port is free", || TcpListener::bind(added[0]).is_ok());
    let mut text = String::new();
    open.read_to_string(&mut text).expect("what was connected stays so");
    assert!(text.starts_with("10.0.2.1 "), "{text}");
    assert_eq!(rl.cmd(["port", "web"]).ok().stdout(), format!("80/tcp -> 127.0.0.1:{first}"));
    rl.cmd(["port", "rm", "web", "81"]).code(1).says("does not publish its port 81/tcp");
    // Its place is another's.
    let again = rl.cmd(["port", "add", "web", &taken]).ok();
    assert!(again.stdout().ends_with(&format!(":{}", added[0].port())) && tcp(added[0]).0.starts_with("10.0.2.1 "));
    assert!(tcp((Ipv4Addr::LOCALHOST, first)).0.starts_with("10.0.2.1 "));
    end(&rl, running);
}

#[test]
fn a_port_that_was_added_is_published_after_a_restart_too() {
    require!(Feature::SubIds, Feature::Tool("python3"));
    let rl = Rl::new();
    rl.cmd(["run", "-d", "--name", "web", "rootfs:/", "/usr/bin/python3", "-c", TELL]).ok();
    rl.cmd(["port", "add", "web", "127.0.0.1::80"]).ok();
    let port = chosen(&rl, "tcp");
    for again in [&["restart", "-t", "0", "web"][..], &["stop", "-t", "0", "web"], &["start", "web"]] {
        rl.cmd(again).ok();
        if again[0] == "stop" {
            rl.cmd(["port", "add", "web", "81"]).code(1).says("is not running");
            continue;
        }
        assert_eq!(chosen(&rl, "tcp"), port);
        eventually("the port is served", || {
            let mut text = String::new();
            let read = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).and_then(|mut stream| stream.read_to_string(&mut text));
            read.is_ok() && text.starts_with("10.0.2.1 ")
        });
    }
    rl.cmd(["rm", "-f", "web"]).ok();
}

#[test]
fn exposed_ports_are_published_by_one_flag() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let alpine = support::image("alpine");
    rl.cmd(["create", "--name", "web", "--expose", "7000-7001", "--expose", "53/udp", "-P", &alpine, "true"]).ok();
    let ports = rl.cmd(["port", "web"]).ok();
    for wanted in ["7000/tcp -> ", "7001/tcp -> ", "53/udp -> "] {
        assert!(ports.stdout().contains(wanted), "{ports}");
    }
    rl.cmd(["run", "--expose", "80:80", &alpine, "true"]).code(125).says("to publish it on the host, use -p");
}

#[test]
fn publishing_without_a_network_is_refused() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    for network in ["none", "host"] {
        let run = rl.cmd(["run", "--network", network, "-p", "80", &support::image("alpine"), "true"]).code(125);
        run.says(&format!("cannot publish ports with --network {network}"));
    }
    rl.cmd(["run", "-p", "eighty", &support::image("alpine"), "true"]).code(125).says("bad port \"eighty\"");
}

#[test]
fn a_published_stream_is_whole() {
    require!(Feature::SubIds, Feature::Tool("python3"));
    let rl = Rl::new();
    let script = "import socket\ns=socket.socket(); s.bind(('',80)); s.listen(); print('up',flush=True)\nc,_=s.accept()\nn=0\n\
                  while True:\n b=c.recv(1<<20)\n if not b: break\n n+=len(b); c.sendall(b)\n\
                  c.close()\n\
                  # With the container goes its network, and what that still had to send.\n\
                  s.accept()";
    let running = rl.start(["run", "--rm", "--name", "web", "-p", "127.0.0.1::80", "rootfs:/", "/usr/bin/python3", "-c", script]);
    running.expect("up");
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, chosen(&rl, "tcp"))).unwrap();
    let sent: Vec<u8> = (0..16u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let (mut writer, mut reader, mut got) = (stream.try_clone().unwrap(), stream, Vec::new());
    let bytes = sent.clone();
    let writing = std::thread::spawn(move || {
        writer.write_all(&bytes).unwrap();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    reader.read_to_end(&mut got).unwrap();
    writing.join().unwrap();
    assert!(got == sent, "{} bytes came back of {}", got.len(), sent.len());
    end(&rl, running);
}
