//! The default network: the gateway. The outside world is this host: servers of the test on an address of the host that is no loopback
//! one, or on loopback where the test opens it.

mod support;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use sha2::Digest;
use support::{Feature, Rl, eventually, host_address, host_v4, require, run};

/// A server that takes one connection after another until the test ends.
fn serve(listener: TcpListener, each: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
    let address = listener.local_addr().unwrap();
    thread::spawn(move || listener.incoming().flatten().for_each(each));
    address
}

fn listen(ip: impl Into<IpAddr>) -> TcpListener {
    TcpListener::bind((ip.into(), 0)).expect("listen")
}

/// A port on which nobody listens.
fn closed_port(ip: impl Into<IpAddr>) -> u16 {
    listen(ip).local_addr().unwrap().port()
}

fn hello(mut stream: TcpStream) {
    let _ = stream.write_all(b"hello from outside\n");
}

/// Runs a Python script in a container that is a copy of the host's own system.
#[track_caller]
fn python(rl: &Rl, flags: &[&str], script: &str) -> support::Run {
    run(rl.command([&["run", "--rm"], flags, &["rootfs:/", "/usr/bin/python3", "-c", script]].concat()))
}

#[test]
fn a_container_has_an_address_a_route_and_a_name_server_by_default() {
    require!(Feature::SubIds, Feature::Image("alpine"));
    let rl = Rl::new();
    let text = rl.sh(&["--name", "web"], "ip -o addr; ip route; ip -6 route; cat /etc/resolv.conf /etc/hosts").ok();
    for expected in ["10.0.2.100/24", "default via 10.0.2.1", "nameserver 10.0.2.1", "10.0.2.100\t"] {
        assert!(text.stdout().contains(expected), "{expected}: {text}");
    }
    if std::path::Path::new("/proc/net/if_inet6").exists() {
        assert!(text.stdout().contains("fd72:6c::64/64") && text.stdout().contains("default via fd72:6c::1"), "{text}");
    }
}

#[test]
fn a_server_outside_is_reached() {
    require!(Feature::SubIds, Feature::Image("alpine"));
    let rl = Rl::new();
    let server = serve(listen(host_v4()), hello);
    let (ip, port) = (server.ip(), server.port());
    assert_eq!(rl.sh(&[], &format!("nc {ip} {port}")).ok().stdout(), "hello from outside");
}

#[test]
fn a_server_outside_is_reached_over_ipv6() {
    require!(Feature::SubIds, Feature::Image("alpine"));
    let Some(ip) = host_address("[2001:db8::1]:9") else { return println!("SKIP: this host has no IPv6 address") };
    let rl = Rl::new();
    let port = serve(listen(ip), hello).port();
    assert_eq!(rl.sh(&[], &format!("nc {ip} {port}")).ok().stdout(), "hello from outside");
}

#[test]
fn a_closed_port_outside_is_refused_at_once() {
    require!(Feature::SubIds, Feature::Tool("python3"));
    let rl = Rl::new();
    let ip = host_v4();
    let port = closed_port(ip);
    let script = format!(
        "import socket,errno\nfor f,a in ((socket.AF_INET,'{ip}'),(socket.AF_INET,'10.0.2.1'),(socket.AF_INET6,'fd72:6c::1')):\n \
         s=socket.socket(f); s.settimeout(20)\n e=s.connect_ex((a,{port})); print(errno.errorcode[e])"
    );
    assert_eq!(python(&rl, &[], &script).ok().stdout(), "ECONNREFUSED\nECONNREFUSED\nECONNREFUSED");
}

#[test]
fn what_the_host_cannot_reach_fails_in_the_container_with_the_same_error() {
    require!(Feature::SubIds, Feature::Tool("python3"));
    let rl = Rl::new();
    // Whatever the host says of one of these, the container has to say: reserved, of the host's own network, documentation.
    let unreachable = ["240.0.0.1:9", "192.0.2.77:9", "[2001:db8::1]:9"].iter().find_map(|there| {
        let there: SocketAddr = there.parse().unwrap();
        let errno = TcpStream::connect_timeout(&there, Duration::from_secs(5)).err()?.raw_os_error()?;
        [libc::ENETUNREACH, libc::EHOSTUNREACH].contains(&errno).then_some((there, errno))
    });
    let Some((there, errno)) = unreachable else { return println!("SKIP: this host reaches every address") };
    let family = if there.is_ipv4() { "AF_INET" } else { "AF_INET6" };
    let script =
        format!("import socket\ns=socket.socket(socket.{family}); s.settimeout(20); print(s.connect_ex(('{}',9)))", there.ip());
    assert_eq!(python(&rl, &[], &script).ok().stdout(), errno.to_string());
}

#[test]
fn the_hosts_loopback_is_closed() {
    require!(Feature::SubIds, Feature::Tool("python3"));
    let rl = Rl::new();
    let port = serve(listen(Ipv4Addr::LOCALHOST), hello).port();
    let script = format!(
        "import socket\nfor a in ('10.0.2.1','10.0.2.2','127.0.0.1','0.0.0.0'):\n s=socket.socket(); s.settimeout(20)\n \
         print(s.connect_ex((a,{port})))"
    );
    let refused = libc::ECONNREFUSED.to_string();
    let run = python(&rl, &[], &script).ok();
    assert!(run.stdout().lines().all(|line| line == refused), "{run}");
}

/// Packets to 127.0.0.1 never leave a container by themselves. One with CAP_NET_RAW can write them all the same.
#[test]
fn the_hosts_loopback_is_closed_to_packets_made_by_hand() {
    require!(Feature::SubIds, Feature::Tool("python3"));
    let rl = Rl::new();
    let listener = listen(Ipv4Addr::LOCALHOST);
    let port = listener.local_addr().unwrap().port();
    listener.set_nonblocking(true).unwrap();
    let script = format!(
        "import socket,struct\n\
         s=socket.socket(socket.AF_PACKET,socket.SOCK_RAW); s.bind(('eth0',0))\n\
         eth=bytes.fromhex('02726c00000102726c0000640800')\n\
         for dst in ('127.0.0.1','0.0.0.0','10.0.2.2','10.0.2.1'):\n\
         \x20ip=struct.pack('>BBHHHBBH4s4s',0x45,0,40,0,0,64,6,0,socket.inet_aton('10.0.2.100'),socket.inet_aton(dst))\n\
         \x20tcp=struct.pack('>HHIIBBHHH',4444,{port},1,0,0x50,2,1000,0,0)\n\
         \x20s.send(eth+ip+tcp)\n\
         # Answered after all of those, so they have been dealt with.\n\
         t=socket.socket(); t.settimeout(20); print(t.connect_ex(('10.0.2.1',{port})))"
    );
    let run = python(&rl, &["--cap-add", "NET_RAW"], &script).ok();
    assert_eq!(run.stdout(), libc::ECONNREFUSED.to_string());
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn the_hosts_loopback_is_opened_by_name() {
    require!(Feature::SubIds, Feature::Image("alpine"));
    let rl = Rl::new();
    let port = serve(listen(Ipv4Addr::LOCALHOST), hello).port();
    let ask = |flags: &[&str], name: &str| rl.sh(flags, &format!("nc {name} {port}")).ok().stdout().to_string();
    assert_eq!(ask(&["--network", "gateway:host-loopback"], "10.0.2.2"), "hello from outside");
    assert_eq!(ask(&["--network", "gateway:host-loopback"], "host.containers.internal"), "hello from outside");
    assert_eq!(ask(&["--add-host", "me:host-gateway"], "me"), "hello from outside");
}

/// How the host's end of a connection paces what it sends, where there is one; `ends` are as `ss` filters them.
fn congestion_control(ends: &str) -> Option<String> {
    let told = Command::new("ss").args(["-tinH", "state", "established"]).args(ends.split(' ')).output().expect("ss");
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    told.lines().find_map(|line| line.strip_prefix("\t ")?.split(' ').next().map(String::from))
}

/// A host may be set up for BBR, whose timers would take as much of the CPU as all the rest, and three quarters of the speed.
#[test]
fn what_stays_on_the_host_is_not_paced() {
    require!(Feature::SubIds, Feature::Image("alpine"), Feature::Tool("ss"));
    let rl = Rl::new();
    let out = listen(Ipv4Addr::LOCALHOST);
    let port = out.local_addr().unwrap().port();
    let script = format!("echo ready; nc -l -p 81 -e sleep 1000 & sleep 1000 | nc 10.0.2.2 {port}");
    let flags = ["run", "--rm", "--name", "web", "--network", "gateway:host-loopback", "-p", "127.0.0.1::81"];
    let container = rl.start([&flags[..], &[&support::image("alpine"), "sh", "-c", &script]].concat());
    container.expect("ready");
    let _accepted = out.accept().unwrap();
    assert_eq!(congestion_control(&format!("dport = :{port}")).as_deref(), Some("reno"));
    let published = rl.cmd(["port", "web", "81"]).ok().stdout().to_string();
    let _client = TcpStream::connect(&published).unwrap();
    let published = published.rsplit_once(':').unwrap().1;
    eventually("the client is accepted", || congestion_control(&format!("sport = :{published}")).as_deref() == Some("reno"));
    rl.cmd(["rm", "-f", "web"]).ok();
    container.finish().code(137);
}

#[test]
fn bytes_arrive_whole_in_both_directions_whatever_the_pace() {
    require!(Feature::SubIds, Feature::Tool("python3"));
    let rl = Rl::new();
    const SIZE: usize = 24 << 20;
    // Echoes with pauses and small reads in between; tells after the half-close how much it was.
    let server = serve(listen(host_v4()), |mut stream| {
        let (mut buffer, mut total) = (vec![0; 100_000], 0);
        while let Ok(n @ 1..) = stream.read(&mut buffer) {
            if total % 7 == 0 {
                thread::sleep(Duration::from_micros(300));
            }
            total += n;
            if stream.write_all(&buffer[..n]).is_err() {
                return;
            }
        }
        let _ = stream.write_all(&total.to_be_bytes());
    });
    let script = format!(
        "import socket,threading,hashlib,random,time\n\
         s=socket.create_connection(('{ip}',{port})); r=random.Random(1); sent=hashlib.sha256(); got=hashlib.sha256()\n\
         def send():\n\
         \x20left={SIZE}\n\
         \x20while left:\n\
         \x20\x20b=r.randbytes(min(left,r.randrange(1,300000))); sent.update(b); s.sendall(b); left-=len(b)\n\
         \x20\x20if r.random()<.05: time.sleep(.002)\n\
         \x20s.shutdown(socket.SHUT_WR)\n\
         t=threading.Thread(target=send); t.start(); n=0; tail=b''\n\
         while True:\n\
         \x20b=s.recv(random.randrange(1,500000))\n\
         \x20if not b: break\n\
         \x20take=b[:max(0,{SIZE}-n)]; got.update(take); n+=len(take); tail+=b[len(take):]\n\
         t.join(); print(n,sent.digest()==got.digest(),int.from_bytes(tail,'big'))",
        ip = server.ip(),
        port = server.port(),
    );
    assert_eq!(python(&rl, &[], &script).ok().stdout(), format!("{SIZE} True {SIZE}"));
}

#[test]
fn a_half_close_is_one_on_the_other_side() {
    require!(Feature::SubIds, Feature::Tool("python3"));
    let rl = Rl::new();
    let server = serve(listen(host_v4()), |mut stream| {
        // First the server's half, then what the client says after it.
        let _ = stream.write_all(b"bye");
        let _ = stream.shutdown(Shutdown::Write);
        let mut all = String::new();
        let _ = stream.read_to_string(&mut all);
        assert_eq!(all, "still here");
    });
    let script = format!(
        "import socket,time\ns=socket.create_connection(('{}',{}))\nb=b''\nwhile True:\n c=s.recv(100)\n if not c: break\n b+=c\n\
         s.sendall(b'still here'); s.shutdown(socket.SHUT_WR); s.settimeout(20); print(b, s.recv(1))",
        server.ip(),
        server.port()
    );
    assert_eq!(python(&rl, &[], &script).ok().stdout(), "b'bye' b''");
}

/// SO_LINGER with no time: closing sends a reset.
fn reset(stream: &TcpStream) {
    use nix::sys::socket::{setsockopt, sockopt};
    setsockopt(stream, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 }).unwrap();
}

#[test]
fn a_reset_is_one_on_the_other_side() {
    require!(Feature::SubIds, Feature::Tool("python3"));
    let rl = Rl::new();
    let server = serve(listen(host_v4()), |mut stream| {
        let mut byte = [0];
        let _ = stream.read(&mut byte);
        reset(&stream);
    });
    let script = format!(
        "import socket,struct\ns=socket.create_connection(('{ip}',{port})); s.sendall(b'r'); s.settimeout(20)\n\
         try: print(s.recv(1))\nexcept ConnectionResetError: print('reset')",
        ip = server.ip(),
        port = server.port()
    );
    assert_eq!(python(&rl, &[], &script).ok().stdout(), "reset");
}

#[test]
fn a_clients_reset_reaches_the_server() {
    require!(Feature::SubIds, Feature::Tool("python3"));
    let rl = Rl::new();
    let listener = listen(host_v4());
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        stream.write_all(b"x").unwrap();
        stream.read(&mut byte).map_err(|error| error.kind())
    });
    let script = format!(
        "import socket,struct\ns=socket.create_connection(('{}',{})); s.sendall(b'c'); s.recv(1)\n\
         s.setsockopt(socket.SOL_SOCKET,socket.SO_LINGER,struct.pack('ii',1,0)); s.close()",
        address.ip(),
        address.port()
    );
    python(&rl, &[], &script).ok();
    assert_eq!(server.join().unwrap(), Err(std::io::ErrorKind::ConnectionReset));
}

#[test]
fn an_urgent_byte_does_not_end_the_stream() {
    require!(Feature::SubIds, Feature::Tool("python3"));
    let rl = Rl::new();
    let server = serve(listen(host_v4()), |mut stream| {
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        let _ = stream.write_all(&all);
    });
    let script = format!(
        "import socket,time\ns=socket.create_connection(('{}',{})); s.sendall(b'ab'); s.send(b'!',socket.MSG_OOB); time.sleep(.1)\n\
         s.sendall(b'cd'); s.shutdown(socket.SHUT_WR); b=b''\nwhile True:\n c=s.recv(100)\n if not c: break\n b+=c\nprint(b)",
        server.ip(),
        server.port()
    );
    assert_eq!(python(&rl, &[], &script).ok().stdout(), "b'ab!cd'");
}

#[test]
fn datagrams_go_and_come_whatever_their_size() {
    require!(Feature::SubIds, Feature::Tool("python3"));
    let rl = Rl::new();
    let echo = UdpSocket::bind((host_v4(), 0)).unwrap();
    let address = echo.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 65536];
        while let Ok((n, from)) = echo.recv_from(&mut buffer) {
            let _ = echo.send_to(&buffer[..n], from);
        }
    });
    let script = format!(
        "import socket,os\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.settimeout(20)\nfor n in (1,0,1472,9000,60000):\n \
         b=os.urandom(n); s.sendto(b,('{ip}',{port})); r,a=s.recvfrom(65536); print(n,r==b,a==('{ip}',{port}))",
        ip = address.ip(),
        port = address.port()
    );
    let wanted: Vec<String> = [1, 0, 1472, 9000, 60000].map(|n| format!("{n} True True")).into();
    assert_eq!(python(&rl, &[], &script).ok().stdout(), wanted.join("\n"));
}

#[test]
fn a_datagram_to_a_closed_port_is_refused() {
    require!(Feature::SubIds, Feature::Tool("python3"));
    let rl = Rl::new();
    let closed = UdpSocket::bind((host_v4(), 0)).unwrap().local_addr().unwrap();
    let script = format!(
        "import socket\nfor a in (('{}',{}),('10.0.2.1',99)):\n s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.settimeout(20)\n \
         s.connect(a); s.send(b'x')\n try: s.recv(1)\n except ConnectionRefusedError: print('refused')",
        closed.ip(),
        closed.port()
    );
    assert_eq!(python(&rl, &[], &script).ok().stdout(), "refused\nrefused");
}

#[test]
fn without_a_network_there_is_none() {
    require!(Feature::SubIds, Feature::Image("alpine"));
    let rl = Rl::new();
    let links = rl.sh(&["--network", "none"], "ls /sys/class/net; cat /etc/resolv.conf").ok();
    assert_eq!(links.stdout(), "lo");
    rl.cmd(["run", "--network", "nowhere", "x"]).code(125).says("no such network: nowhere");
}

#[test]
fn a_container_may_open_low_ports_as_any_user() {
    require!(Feature::SubIds, Feature::Tool("python3"));
    let rl = Rl::new();
    let script = "import socket,os; s=socket.socket(); s.bind(('',80)); print(os.getuid(), s.getsockname()[1])";
    assert_eq!(python(&rl, &["-u", "1000"], script).ok().stdout(), "1000 80");
}

/// The gateway of a container, by its title.
fn gateways(name: &str) -> Vec<i32> {
    let title = format!("rl[{name}]: gateway");
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(&title)))
        .collect()
}

#[test]
fn the_gateway_ends_with_its_container_and_with_its_monitor() {
    require!(Feature::SubIds, Feature::Image("alpine"));
    let rl = Rl::new();
    let name = format!("gw-{}", std::process::id());
    let running = rl.start(["run", "--rm", "--name", &name, &support::image("alpine"), "sh", "-c", "echo up; sleep 1000"]);
    running.expect("up");
    let gateway = gateways(&name);
    assert_eq!(gateway.len(), 1);
    rl.cmd(["rm", "-f", &name]).ok();
    running.finish();
    eventually("the gateway ends", || gateways(&name).is_empty());
}

/// Fills a connection until no more fits in, says how much that was and its digest, and ends without a word to the other end.
const FILL: &str = "import socket,hashlib,os,select,sys\n\
def fill(s):\n\
\x20s.setblocking(False); h=hashlib.sha256(); n=0; b=os.urandom(1<<16)\n\
\x20while select.select([],[s],[],1)[1]:\n\
\x20\x20try: k=s.send(b)\n\
\x20\x20except BlockingIOError: continue\n\
\x20\x20h.update(b[:k]); n+=k\n\
\x20print(n,h.hexdigest(),flush=True); os._exit(0)\n";

/// All that comes until the end, as [`FILL`] tells it.
fn digest(mut stream: TcpStream) -> String {
    let (mut hash, mut total, mut buffer) = (sha2::Sha256::new(), 0, vec![0; 200_000]);
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        hash.update(&buffer[..n]);
        total += n;
    }
    format!("{total} {}", hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

#[test]
fn what_a_container_has_sent_arrives_though_it_has_ended() {
    require!(Feature::SubIds, Feature::Tool("python3"));
    let rl = Rl::new();
    let listener = listen(host_v4());
    let (ip, port) = (listener.local_addr().unwrap().ip(), listener.local_addr().unwrap().port());
    let name = format!("sent-{}", std::process::id());
    let script = format!("{FILL}fill(socket.create_connection(('{ip}',{port})))");
    let told = python(&rl, &["--name", &name], &script).ok();
    let length: usize = told.stdout().split(' ').next().unwrap().parse().unwrap();
    assert!(length > 1 << 20, "the connection takes {length} bytes");
    // Only now does anybody read.
    assert_eq!(digest(listener.accept().unwrap().0), told.stdout());
    eventually("the gateway ends", || gateways(&name).is_empty());
}

#[test]
fn a_gateway_that_still_delivers_holds_no_port_and_no_name() {
    require!(Feature::SubIds, Feature::Tool("python3"));
    let rl = Rl::new();
    let name = format!("late-{}", std::process::id());
    let script = format!("{FILL}s=socket.create_server(('',80)); print('up',flush=True); c,_=s.accept(); c.recv(1); fill(c)");
    let port = closed_port(Ipv4Addr::LOCALHOST);
    let ports = format!("127.0.0.1:{port}:80");
    let command = ["run", "--rm", "--name", &name, "-p", &ports, "rootfs:/", "/usr/bin/python3", "-c", &script];
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let running = rl.start(command);
        running.expect("up");
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connect");
        stream.write_all(b"x").unwrap();
        let told = running.finish().ok().stdout().lines().last().unwrap().to_string();
        waiting.push((stream, told));
    }
    assert_eq!(gateways(&name).len(), 2, "both deliver");
    for (stream, told) in waiting {
        assert_eq!(digest(stream), told);
    }
    eventually("the gateways end", || gateways(&name).is_empty());
}

#[test]
fn a_gateway_that_was_killed_is_replaced_and_ports_stay_published() {
    require!(Feature::SubIds, Feature::Image("alpine"));
    let rl = Rl::new();
    let name = format!("kill-{}", std::process::id());
    let server = serve(listen(host_v4()), hello);
    let (ip, port) = (server.ip(), server.port());
    let image = support::image("alpine");
    for flags in [&[][..], &["--init"]] {
        let command = ["sh", "-c", "while :; do echo served | nc -l -p 80; done"];
        rl.cmd([&["run", "-d", "--name", &name, "-p", "127.0.0.1::80"], flags, &[&image], &command].concat()).ok();
        let ask = || rl.cmd(["exec", &name, "sh", "-c", &format!("nc -w 5 {ip} {port}")]);
        assert_eq!(ask().ok().stdout(), "hello from outside");
        let before = gateways(&name);
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(before[0]), nix::sys::signal::Signal::SIGKILL).unwrap();
        eventually("another gateway connects it", || ask().stdout() == "hello from outside");
        let after = gateways(&name);
        assert!(after.len() == 1 && after != before, "{before:?} {after:?}");
        let published = rl.cmd(["port", &name, "80"]).ok().stdout().parse::<SocketAddr>().unwrap();
        eventually("its port is served", || {
            let mut text = String::new();
            let read = TcpStream::connect(published).and_then(|mut stream| stream.read_to_string(&mut text));
            read.is_ok() && text == "served\n"
        });
        eventually("the record says that all is well", || rl.inspect(&name)["State"]["Error"] == "");
        rl.cmd(["rm", "-f", &name]).ok();
    }
    let events = rl.cmd(["events", "--since", "10m", "--until", "0s", "--format", "{{.Action}}"]).ok();
    let told: Vec<&str> = events.stdout().lines().filter(|line| line.starts_with("network_")).collect();
    assert_eq!(told, ["network_down", "network_up", "network_down", "network_up"]);
}

#[test]
fn the_gateway_has_no_capability_and_nobody_may_look_into_it() {
    require!(Feature::SubIds, Feature::Image("alpine"), Feature::Root(false));
    let rl = Rl::new();
    let name = format!("cap-{}", std::process::id());
    let running = rl.start(["run", "--rm", "--name", &name, &support::image("alpine"), "sh", "-c", "echo up; sleep 1000"]);
    running.expect("up");
    support::assert_confined(gateways(&name)[0]);
    rl.cmd(["rm", "-f", &name]).ok();
    running.finish();
}

#[test]
fn a_container_shares_the_network_of_another() {
    require!(Feature::SubIds, Feature::Image("alpine"));
    let rl = Rl::new();
    let image = support::image("alpine");
    let serve = "while :; do echo inner | nc -l -s 127.0.0.1 -p 7; done";
    let web = ["run", "-d", "--name", "web", "-h", "webhost", "--add-host", "db:192.0.2.5", "--dns-search", "lan", &image];
    rl.cmd([&web[..], &["sh", "-c", serve]].concat()).ok();
    let join = ["--network", "container:web"];
    for flags in [&[][..], &["--init"], &["--privileged"], &["--read-only"]] {
        // Between two of its clients nobody listens.
        let script = "until nc 127.0.0.1 7; do :; done; ip -o addr show eth0; hostname; cat /etc/hosts /etc/resolv.conf; ls /sys/class/net";
        let seen = rl.sh(&[&join, flags].concat(), script).ok();
        for wanted in ["inner\n", "10.0.2.100/24", "\nwebhost\n", "192.0.2.5\tdb", "search lan", "\neth0\nlo"] {
            assert!(seen.stdout().contains(wanted), "{flags:?} {wanted}: {seen}");
        }
    }
    for flags in [&[][..], &["--init"]] {
        rl.cmd([&["run", "-d", "--name", "side"], &join[..], flags, &[&image, "sleep", "1000"]].concat()).ok();
        let inside = rl.cmd(["exec", "side", "sh", "-c", "until nc 127.0.0.1 7; do :; done; readlink /proc/self/ns/net"]).ok();
        let own = rl.cmd(["exec", "web", "readlink", "/proc/self/ns/net"]).ok();
        assert_eq!(inside.stdout(), format!("inner\n{}", own.stdout()));
        let id = rl.inspect("web")["Id"].as_str().unwrap().to_string();
        assert_eq!(rl.inspect("side")["HostConfig"]["NetworkMode"], format!("container:{id}"));
        // A new life of the other has a new network, into which a restart leads.
        rl.cmd(["restart", "-t", "0", "web"]).ok();
        rl.cmd(["rename", "web", "other"]).ok();
        rl.cmd(["restart", "-t", "0", "side"]).ok();
        eventually("they share it again", || rl.cmd(["exec", "side", "nc", "127.0.0.1", "7"]).stdout() == "inner");
        rl.cmd(["rename", "other", "web"]).ok();
        rl.cmd(["rm", "-f", "side"]).ok();
    }
    rl.cmd(["rm", "-f", "web"]).ok();
}

#[test]
fn a_shared_network_has_no_settings_of_its_own() {
    require!(Feature::SubIds, Feature::Image("alpine"));
    let rl = Rl::new();
    let image = support::image("alpine");
    rl.cmd(["create", "--name", "web", &image, "true"]).ok();
    rl.cmd(["create", "--name", "open", "--network", "host", &image, "sleep", "1000"]).ok();
    rl.cmd(["start", "open"]).ok();
    let run = |network: &str, flags: &[&str]| rl.cmd([&["run", "--rm", "--network", network], flags, &[&image, "true"]].concat());
    for flags in
        [&["-h", "x"][..], &["--dns", "1.1.1.1"], &["--dns-search", "x"], &["--add-host", "a:1.1.1.1"], &["-p", "80"], &["-P"]]
    {
        run("container:web", flags).code(125).says("conflicting options");
    }
    run("container:web", &["--expose", "80"]).code(125).says("conflicting options: --expose");
    run("container:web", &[]).code(125).says("is not running");
    run("container:open", &[]).code(125).says("has no network of its own, but the host's");
    run("container:nobody", &[]).code(125).says("nobody");
    rl.cmd(["rm", "-f", "open", "web"]).ok();
}

#[test]
fn many_connections_at_once_and_one_after_another_are_all_served() {
    require!(Feature::SubIds, Feature::Tool("python3"));
    let rl = Rl::new();
    let server = serve(listen(host_v4()), |mut stream| {
        thread::spawn(move || {
            let mut byte = [0];
            let _ = stream.read_exact(&mut byte);
            let _ = stream.write_all(&byte);
        });
    });
    let script = format!(
        "import socket\na=('{}',{})\nall=[socket.create_connection(a,30) for _ in range(200)]\n\
         for i,s in enumerate(all): s.sendall(bytes([i]))\nprint(all and [s.recv(1)[0] for s in all]==list(range(200)))\n\
         n=0\nfor i in range(500):\n s=socket.create_connection(a,30); s.sendall(b'x'); n+=s.recv(1)==b'x'; s.close()\nprint(n)",
        server.ip(),
        server.port()
    );
    let begun = Instant::now();
    let run = python(&rl, &["--ulimit", "nofile=1024"], &script).ok();
    assert_eq!(run.stdout(), "True\n500");
    println!("700 connections in {:?}", begun.elapsed());
}
