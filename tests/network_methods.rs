//! Both ways in which the gateway has a container's packets, TPROXY and AnyIP, do the same. The outside world is this host.

mod support;

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use support::{Feature, Rl, host_address, host_v4, image, require};

const METHODS: [&str; 2] = ["tproxy", "anyip"];

/// Sends back what comes, over TCP and UDP, on one port, until the test ends.
fn echo(ip: IpAddr) -> SocketAddr {
    support::serve(ip, |mut stream| {
        thread::spawn(move || std::io::copy(&mut stream.try_clone().unwrap(), &mut stream));
    })
}

/// This host's addresses, one of each family that it has.
fn worlds() -> Vec<IpAddr> {
    std::iter::once(host_v4()).chain(host_address("[2001:db8::1]:9")).collect()
}

fn closed_port(ip: IpAddr) -> u16 {
    TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap().port()
}

/// In a container; the arguments are the server, another one, a closed port, and the sizes of datagrams. Prints what went as it should.
const TRY: &str = "import socket,sys,threading,os,hashlib\n\
to,port,other,closed=sys.argv[1],int(sys.argv[2]),int(sys.argv[3]),int(sys.argv[4]); sizes=[int(n) for n in sys.argv[5:]]\n\
F=socket.AF_INET6 if ':' in to else socket.AF_INET\n\
def new(kind=socket.SOCK_STREAM):\n\
\x20s=socket.socket(F,kind); s.settimeout(30); return s\n\
def whole():\n\
\x20s=new(); s.connect((to,port)); peer=s.getpeername(); data=os.urandom(3<<20); got=hashlib.sha256()\n\
\x20def send():\n\
\x20\x20s.sendall(data); s.shutdown(socket.SHUT_WR)\n\
\x20t=threading.Thread(target=send); t.start()\n\
\x20while b:=s.recv(1<<20): got.update(b)\n\
\x20return got.digest()==hashlib.sha256(data).digest() and peer[:2]==(to,port)\n\
def refused():\n\
\x20try: new().connect((to,closed))\n\
\x20except ConnectionRefusedError: return True\n\
def from_one_port():\n\
\x20a=new(); a.connect((to,port)); b=new(); own=a.getsockname()[1]; a.close()\n\
\x20all=[]\n\
\x20for p in (port,other):\n\
\x20\x20s=new(); s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1); s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEPORT,1)\n\
\x20\x20s.bind(('',own+1 if own<65535 else own-1)); s.connect((to,p)); all.append(s)\n\
\x20for i,s in enumerate(all): s.sendall(b'%d'%i)\n\
\x20return [s.recv(9) for s in all]==[b'0',b'1']\n\
def datagrams():\n\
\x20u=new(socket.SOCK_DGRAM)\n\
\x20for n in sizes:\n\
\x20\x20b=os.urandom(n); u.sendto(b,(to,port)); r,a=u.recvfrom(65536)\n\
\x20\x20if (r,a[:2])!=(b,(to,port)): return (n,len(r),a)\n\
\x20return True\n\
def segments():\n\
\x20u=new(socket.SOCK_DGRAM); u.connect((to,port)); u.setsockopt(17,103,1000); b=os.urandom(2500); u.send(b)\n\
\x20u.setsockopt(17,103,0); return sorted([u.recv(65536) for _ in range(3)])==sorted([b[:1000],b[1000:2000],b[2000:]])\n\
def refused_datagram():\n\
\x20u=new(socket.SOCK_DGRAM); u.connect((to,closed)); u.send(b'x')\n\
\x20try: u.recv(1)\n\
\x20except ConnectionRefusedError: return True\n\
for f in (whole,refused,from_one_port,datagrams,segments,refused_datagram): print(f.__name__,f())";

const ALL_WELL: &str = "whole True\nrefused True\nfrom_one_port True\ndatagrams True\nsegments True\nrefused_datagram True";

/// Tries it all in a container with these flags.
fn attempt(rl: &Rl, flags: &[&str], ip: IpAddr, sizes: &[usize]) -> String {
    let (server, other) = (echo(ip), echo(ip));
    let numbers = [server.port(), other.port(), closed_port(ip)].map(usize::from);
    let mut arguments = vec![ip.to_string()];
    arguments.extend(numbers.iter().chain(sizes).map(usize::to_string));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let run = [&["run", "--rm"], flags, &["rootfs:/", "/usr/bin/python3", "-c", TRY], &arguments].concat();
    rl.cmd(run).ok().stdout().to_string()
}

#[test]
fn connections_and_datagrams_go_and_come_whole_or_are_refused() {
    require!(Feature::SubIds, Feature::Tool("python3"));
    let rl = Rl::new();
    for method in METHODS {
        for ip in worlds() {
            let network = format!("gateway:{method}");
            assert_eq!(attempt(&rl, &["--network", &network], ip, &[1, 0, 1472, 9000, 60000]), ALL_WELL, "{method} {ip}");
        }
    }
}

#[test]
fn they_do_on_a_user_defined_network_whose_datagrams_come_in_fragments() {
    require!(Feature::SubIds, Feature::Tool("python3"));
    let rl = Rl::new();
    for method in METHODS {
        let (name, option) = (format!("by-{method}"), format!("method={method}"));
        rl.cmd(["network", "create", "-o", "mtu=1500", "-o", &option, &name]).ok();
        assert_eq!(attempt(&rl, &["--network", &name], host_v4(), &[1, 0, 1472, 1473, 9000, 60000]), ALL_WELL, "{method}");
        assert_eq!(rl.cmd(["network", "inspect", &name]).ok().json()[0]["Options"]["method"], *method);
    }
    rl.cmd(["network", "create", "-o", "method=redirect", "other"]).code(1).says("want tproxy or anyip, not \"redirect\"");
}

#[test]
fn names_on_a_user_defined_network_are_told_over_udp_and_tcp() {
    require!(Feature::SubIds, Feature::Image("alpine"), Feature::Tool("python3"));
    let rl = Rl::new();
    let alpine = image("alpine");
    for method in METHODS {
        let (name, option, server) = (format!("of-{method}"), format!("method={method}"), format!("db-{method}"));
        rl.cmd(["network", "create", "-o", &option, &name]).ok();
        rl.cmd(["run", "-d", "--name", &server, "--network", &name, &alpine, "sleep", "1000"]).ok();
        let address = rl.inspect(&server)["NetworkSettings"]["Networks"][&name]["IPAddress"].as_str().unwrap().to_string();
        let ask = format!("nslookup {server} | grep -q {address} && echo udp");
        assert_eq!(rl.sh(&["--network", &name], &ask).ok().stdout(), "udp");
        // Two of them at once, for one listener.
        let script = format!(
            "import socket,struct\nq=b'\\x12\\x34\\x01\\0\\0\\x01\\0\\0\\0\\0\\0\\0'+bytes([{}])+b'{server}\\0\\0\\x01\\0\\x01'\n\
             ns=[l.split()[1] for l in open('/etc/resolv.conf') if l.startswith('nameserver')][0]\n\
             all=[socket.create_connection((ns,53),30) for _ in range(2)]\n\
             for s in all: s.sendall(struct.pack('>H',len(q))+q)\n\
             for s in all: print(socket.inet_ntoa(s.recv(500)[-4:]))",
            server.len()
        );
        let python = ["run", "--rm", "--network", &name, "rootfs:/", "/usr/bin/python3", "-c", &script];
        assert_eq!(rl.cmd(python).ok().stdout(), format!("{address}\n{address}"), "{method}");
        rl.cmd(["rm", "-f", &server]).ok();
    }
}

/// Tells each TCP or UDP client on port 80 who it is.
const TELL: &str = "import socket,threading\n\
def tcp(f,a):\n s=socket.create_server((a,80),family=f)\n while True:\n  c,p=s.accept(); c.sendall(f'{p[0]} {p[1]}'.encode()); c.close()\n\
def udp(f,a):\n s=socket.socket(f,socket.SOCK_DGRAM)\n \
if f==socket.AF_INET6: s.setsockopt(socket.IPPROTO_IPV6,socket.IPV6_V6ONLY,1)\n s.bind((a,80))\n \
while True:\n  b,p=s.recvfrom(100); s.sendto(f'{p[0]} {p[1]}'.encode(),p)\n\
ts=[threading.Thread(target=t,args=k) for k in ((socket.AF_INET,'0.0.0.0'),(socket.AF_INET6,'::')) for t in (tcp,udp)]\n\
[t.start() for t in ts]; print('up',flush=True)";

#[test]
fn published_ports_show_their_clients_own_address() {
    require!(Feature::SubIds, Feature::Tool("python3"));
    let rl = Rl::new();
    let patience = Some(Duration::from_secs(20));
    for method in METHODS {
        let network = format!("gateway:{method}");
        let flags = ["run", "--rm", "--name", "web", "--network", &network, "-p", "80", "-p", "80/udp"];
        let running = rl.start([&flags[..], &["rootfs:/", "/usr/bin/python3", "-c", TELL]].concat());
        running.expect("up");
        let port = |protocol: &str| -> u16 {
            let ports = rl.cmd(["port", "web", &format!("80/{protocol}")]).ok();
            ports.stdout().lines().next().unwrap().rsplit_once(':').unwrap().1.parse().unwrap()
        };
        for ip in worlds() {
            let mut stream = TcpStream::connect((ip, port("tcp"))).unwrap();
            let mut seen = String::new();
            stream.set_read_timeout(patience).unwrap();
            stream.read_to_string(&mut seen).unwrap();
            let own = stream.local_addr().unwrap();
            assert_eq!(seen, format!("{} {}", own.ip(), own.port()), "{method}");
        }
        for ip in worlds().into_iter().chain([Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]) {
            let Ok(socket) = UdpSocket::bind((ip, 0)) else { continue };
            socket.connect((ip, port("udp"))).unwrap();
            socket.set_read_timeout(patience).unwrap();
            let own = socket.local_addr().unwrap();
            // More than once: what was answered goes on.
            for _ in 0..3 {
                socket.send(b"who am I").unwrap();
                let mut buffer = [0; 100];
                let length = socket.recv(&mut buffer).unwrap();
                let seen = String::from_utf8_lossy(&buffer[..length]);
                let as_it_is = seen == format!("{} {}", own.ip(), own.port());
                assert!(
                    as_it_is || ip.is_loopback() && seen.starts_with(if ip.is_ipv4() { "10.0.2.1 " } else { "fd72:6c::1 " }),
                    "{method} {seen}"
                );
            }
        }
        rl.cmd(["rm", "-f", "web"]).ok();
        running.finish();
    }
}

#[test]
fn what_may_not_be_reached_is_refused_and_the_hosts_loopback_is_opened_by_name() {
    require!(Feature::SubIds, Feature::Tool("python3"));
    let rl = Rl::new();
    let (open, shut, inner) = (echo(host_v4()), echo(host_v4()), echo(Ipv4Addr::LOCALHOST.into()));
    let script = format!(
        "import socket\nfor a in (('{ip}',{}),('{ip}',{}),('10.0.2.2',{}),('10.0.2.1',{}),('127.0.0.1',{})):\n\
         \x20for k in (socket.SOCK_STREAM,socket.SOCK_DGRAM):\n\
         \x20\x20s=socket.socket(socket.AF_INET,k); s.settimeout(20)\n\
         \x20\x20try: s.connect(a); s.send(b'x'); print(s.recv(1)==b'x',end=' ')\n\
         \x20\x20except ConnectionRefusedError: print('refused',end=' ')",
        open.port(),
        shut.port(),
        inner.port(),
        inner.port(),
        inner.port(),
        ip = host_v4(),
    );
    for method in METHODS {
        let ask = |options: &str, flags: &[&str]| {
            let network = format!("gateway:{options}");
            let run = [&["run", "--rm", "--network", &network], flags, &["rootfs:/", "/usr/bin/python3", "-c", &script]].concat();
            rl.cmd(run).ok().stdout().trim().to_string()
        };
        let no = "refused refused";
        assert_eq!(ask(method, &[]), format!("True True True True {no} {no} {no}"), "{method}");
        let allow = ["--egress-allow", &open.to_string()];
        assert_eq!(ask(method, &allow), format!("True True {no} {no} {no} {no}"), "{method}");
        let both = format!("host-loopback,{method}");
        assert_eq!(ask(&both, &[]), format!("True True True True True True {no} {no}"), "{method}");
    }
}

#[test]
fn a_method_that_was_asked_for_is_kept() {
    require!(Feature::SubIds, Feature::Image("alpine"));
    let rl = Rl::new();
    let network = ["--network", "gateway:anyip,host-loopback"];
    rl.cmd([&["create", "--name", "kept"], &network[..], &[&image("alpine"), "sleep", "1000"]].concat()).ok();
    for _ in 0..2 {
        rl.cmd(["restart", "-t", "0", "kept"]).ok();
        assert_eq!(rl.inspect("kept")["HostConfig"]["NetworkMode"], "gateway:host-loopback,anyip");
        let mut stream = echo(Ipv4Addr::LOCALHOST.into());
        stream.set_ip(Ipv4Addr::new(10, 0, 2, 2).into());
        let ask = format!("echo hello | nc {} {}", stream.ip(), stream.port());
        assert_eq!(rl.cmd(["exec", "kept", "sh", "-c", &ask]).ok().stdout(), "hello");
    }
    rl.cmd(["rm", "-f", "kept"]).ok();
    let wrong = rl.cmd(["run", "--network", "gateway:redirect", &image("alpine"), "true"]).code(125);
    wrong.says("unknown option \"redirect\" of the network gateway: there are host-loopback, tproxy and anyip");
}
