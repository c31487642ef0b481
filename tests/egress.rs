//! What a container may reach: `--egress`, `--egress-allow`, `--egress-log`, and the note of it. The outside world is this host.

mod support;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};

use support::{Feature, Rl, Run, eventually, host_address, host_v4, image, require};

/// Greets over TCP and echoes over UDP until the test ends, on one port.
fn serve(ip: IpAddr) -> SocketAddr {
    support::serve(ip, |mut peer| drop(peer.write_all(b"hello")))
}

/// What becomes of trying each of `tcp ADDRESS PORT`, `udp ADDRESS PORT` and `name NAME`, one a line: `ok`, or the error's name.
const TRY: &str = "import socket,sys\n\
def one(kind,to,port=0):\n\
\x20f=socket.AF_INET6 if ':' in to else socket.AF_INET\n\
\x20if kind=='name': return socket.getaddrinfo(to,80) and 'ok'\n\
\x20s=socket.socket(f,socket.SOCK_STREAM if kind=='tcp' else socket.SOCK_DGRAM); s.settimeout(20); s.connect((to,int(port)))\n\
\x20if kind=='udp': s.send(b'hello')\n\
\x20return 'ok' if s.recv(100)==b'hello' else 'nothing'\n\
for line in sys.argv[1:]:\n\
\x20try: print(one(*line.split()))\n\
\x20except Exception as e: print(type(e).__name__)";

fn attempt(rl: &Rl, flags: &[&str], lines: &[String]) -> Vec<String> {
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let run = rl.cmd([&["run"], flags, &["rootfs:/", "/usr/bin/python3", "-c", TRY], &lines[..]].concat()).ok();
    run.stdout().lines().map(String::from).collect()
}

/// Over TCP and UDP.
fn both(to: SocketAddr) -> [String; 2] {
    ["tcp", "udp"].map(|kind| format!("{kind} {} {}", to.ip(), to.port()))
}

/// The log without its times, each of which is one.
fn noted(run: &Run) -> Vec<String> {
    let line = |line: &str| {
        let (time, rest) = line.split_once(' ').expect("a time and more");
        assert!(time.starts_with("20") && time.ends_with('Z'), "{line}");
        rest.to_string()
    };
    run.stdout().lines().map(line).collect()
}

const REFUSED: &str = "ConnectionRefusedError";

/// How a network's gateway may have its packets.
const METHODS: [&str; 2] = ["method=tproxy", "method=anyip"];

#[test]
fn nothing_is_reached_where_all_is_denied_and_each_try_is_noted() {
    require!(Feature::SubIds, Feature::Tool("python3"));
    let rl = Rl::new();
    let server = serve(host_v4());
    let mut tries = both(server).to_vec();
    tries.push("name example.com".to_string());
    let got = attempt(&rl, &["--name", "shut", "--egress", "deny"], &tries);
    assert_eq!(got, [REFUSED, REFUSED, "gaierror"]);
    let noted = noted(&rl.cmd(["logs", "--egress", "shut"]).ok());
    assert_eq!(noted[..2], [format!("deny tcp {server}"), format!("deny udp {server}")]);
    assert!(noted[2..].iter().all(|line| line.starts_with("deny dns example.com")) && noted.len() > 2, "{noted:?}");
    assert_eq!(rl.cmd(["logs", "--egress", "--tail", "1", "shut"]).ok().stdout().lines().count(), 1);
    let shown = &rl.inspect("shut")["HostConfig"]["Egress"];
    assert_eq!(*shown, serde_json::json!({ "Policy": "deny", "Allow": [], "Log": false }));
}

#[test]
fn what_is_allowed_is_reached_and_nothing_else() {
    require!(Feature::SubIds, Feature::Tool("python3"));
    let rl = Rl::new();
    let mut worlds = vec![host_v4()];
    worlds.extend(host_address("[2001:db8::1]:9"));
    for ip in worlds {
        let (open, other) = (serve(ip), serve(ip));
        let tries = [both(open), both(other)].concat();
        let flags = ["--rm", "--egress-allow", &open.to_string()];
        assert_eq!(attempt(&rl, &flags, &tries), ["ok", "ok", REFUSED, REFUSED], "{ip}");
        let everything = if ip.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
        let flags = ["--rm", "--egress", "deny", "--egress-allow", "192.0.2.0/24:80", "--egress-allow", everything];
        assert_eq!(attempt(&rl, &flags, &tries), ["ok"; 4], "{ip}");
    }
}

#[test]
fn a_name_of_etc_hosts_admits_its_address() {
    require!(Feature::SubIds, Feature::Tool("python3"));
    let rl = Rl::new();
    let server = serve(host_v4());
    let (entry, rule) = (format!("depot.test:{}", server.ip()), format!("depot.test:{}", server.port()));
    let tries = [both(server).to_vec(), vec![format!("tcp depot.test {}", server.port())]].concat();
    let flags = ["--rm", "--add-host", &entry, "--egress-allow", &rule];
    assert_eq!(attempt(&rl, &flags, &tries), ["ok"; 3]);
    let flags = ["--rm", "--add-host", &entry, "--egress-allow", "*.test"];
    assert_eq!(attempt(&rl, &flags, &tries), ["ok"; 3]);
    let flags = ["--rm", "--add-host", &entry, "--egress-allow", "another.test"];
    assert_eq!(attempt(&rl, &flags, &tries), [REFUSED; 3]);
}

#[test]
fn the_hosts_loopback_needs_a_rule_as_well() {
    require!(Feature::SubIds, Feature::Tool("python3"));
    let rl = Rl::new();
    let server = serve(Ipv4Addr::LOCALHOST.into());
    let tries = [format!("tcp host.containers.internal {}", server.port())];
    let network = ["--rm", "--network", "gateway:host-loopback"];
    assert_eq!(attempt(&rl, &[&network[..], &["--egress", "deny"]].concat(), &tries), [REFUSED]);
    for rule in ["host.containers.internal", "10.0.2.2"] {
        let rule = format!("{rule}:{}", server.port());
        assert_eq!(attempt(&rl, &[&network[..], &["--egress-allow", &rule]].concat(), &tries), ["ok"]);
    }
    let rule = format!("10.0.2.2:{}", server.port());
    assert_eq!(attempt(&rl, &["--rm", "--egress-allow", &rule], &tries[..0]), [""; 0]);
    let closed = [format!("tcp 10.0.2.2 {}", server.port())];
    assert_eq!(attempt(&rl, &["--rm", "--egress-allow", &rule], &closed), [REFUSED], "a rule opens nothing that is closed");
}

#[test]
fn what_is_let_out_is_noted_where_that_is_asked_for() {
    require!(Feature::SubIds, Feature::Tool("python3"));
    let rl = Rl::new();
    let server = serve(host_v4());
    assert_eq!(attempt(&rl, &["--name", "open", "--egress-log"], &both(server)), ["ok", "ok"]);
    let lines = noted(&rl.cmd(["logs", "--egress", "open"]).ok());
    assert_eq!(lines, [format!("allow tcp {server}"), format!("allow udp {server}")]);
    attempt(&rl, &["--name", "plain"], &[]);
    rl.cmd(["logs", "--egress", "plain"]).code(1).says("keeps no note of what it reaches").says("--egress-log");
}

#[test]
fn ports_are_published_to_who_may_reach_nothing_and_a_restart_changes_nothing() {
    require!(Feature::SubIds, Feature::Image("alpine"));
    let rl = Rl::new();
    let server = serve(host_v4());
    let serving = "while :; do echo served | nc -l -p 80; done";
    let flags = ["--name", "in", "--egress", "deny", "-p", "127.0.0.1::80"];
    rl.cmd([&["run", "-d"], &flags[..], &[&image("alpine"), "sh", "-c", serving]].concat()).ok();
    let check = || {
        let published: SocketAddr = rl.cmd(["port", "in", "80"]).ok().stdout().parse().unwrap();
        eventually("its port is served", || {
            let mut text = String::new();
            let read = TcpStream::connect(published).and_then(|mut stream| stream.read_to_string(&mut text));
            read.is_ok() && text == "served\n"
        });
        let out = format!("nc -w 20 {} {}", server.ip(), server.port());
        rl.cmd(["exec", "in", "sh", "-c", &out]).code(1);
    };
    check();
    rl.cmd(["restart", "-t", "0", "in"]).ok();
    check();
    let lines = noted(&rl.cmd(["logs", "--egress", "in"]).ok());
    assert_eq!(lines, [format!("deny tcp {server}"), format!("deny tcp {server}")]);
    rl.cmd(["rm", "-f", "in"]).ok();
}

#[test]
fn a_container_that_shares_the_network_shares_what_may_be_reached() {
    require!(Feature::SubIds, Feature::Image("alpine"), Feature::Tool("python3"));
    let rl = Rl::new();
    let server = serve(host_v4());
    rl.cmd(["run", "-d", "--name", "first", "--egress", "deny", &image("alpine"), "sleep", "1000"]).ok();
    assert_eq!(attempt(&rl, &["--rm", "--network", "container:first"], &both(server)), [REFUSED, REFUSED]);
    rl.cmd(["run", "--network", "container:first", "--egress", "allow", &image("alpine"), "true"]).code(125).says("--network");
    rl.cmd(["rm", "-f", "first"]).ok();
}

#[test]
fn on_a_network_each_container_reaches_what_it_may_and_all_reach_each_other() {
    require!(Feature::SubIds, Feature::Image("alpine"), Feature::Tool("python3"));
    let rl = Rl::new();
    for method in METHODS {
        rl.cmd(["network", "create", "-o", method, "net"]).ok();
        rl.cmd([
            "run",
            "-d",
            "--name",
            "db",
            "--network",
            "net",
            &image("alpine"),
            "nc",
            "-lk",
            "-p",
            "7",
            "-e",
            "printf",
            "hello",
        ])
        .ok();
        rl.cmd(["exec", "db", "sh", "-c", "until nc 127.0.0.1 7; do sleep 0.05; done"]).ok();
        let mut worlds = vec![host_v4()];
        worlds.extend(host_address("[2001:db8::1]:9"));
        rl.cmd(["network", "create", "-o", method, "--ipv6", "both"]).ok();
        for ip in worlds {
            let network = if ip.is_ipv4() { "net" } else { "both" };
            let (server, other) = (serve(ip), serve(ip));
            let tries = [both(server), both(other)].concat();
            let its = |name: &'static str, flags: &[&'static str]| [&["--network", network, "--name", name], flags].concat();
            assert_eq!(attempt(&rl, &its("shut", &["--egress", "deny"]), &tries), [REFUSED; 4], "{ip}");
            let rule = server.to_string();
            let allowed = attempt(&rl, &[&its("some", &["--egress-log"])[..], &["--egress-allow", &rule]].concat(), &tries);
            assert_eq!(allowed, ["ok", "ok", REFUSED, REFUSED], "{ip}");
            assert_eq!(attempt(&rl, &its("open", &[]), &tries), ["ok"; 4], "{ip}");
            let lines = |name: &str| noted(&rl.cmd(["logs", "--egress", name]).ok());
            let told = |server: SocketAddr, verdict: &str| ["tcp", "udp"].map(|kind| format!("{verdict} {kind} {server}"));
            assert_eq!(lines("shut"), [told(server, "deny"), told(other, "deny")].concat());
            assert_eq!(lines("some"), [told(server, "allow"), told(other, "deny")].concat());
            rl.cmd(["logs", "--egress", "open"]).code(1).says("keeps no note");
            rl.cmd(["rm", "shut", "some", "open"]).ok();
        }
        let shut = ["--rm", "--network", "net", "--egress", "deny"];
        let db = rl.inspect("db")["NetworkSettings"]["Networks"]["net"]["IPAddress"].as_str().unwrap().to_string();
        let tries = ["tcp db 7".to_string(), format!("tcp {db} 7"), "name db".into(), "name example.com".into()];
        assert_eq!(attempt(&rl, &shut, &tries), ["ok", "ok", "ok", "gaierror"]);
        rl.cmd(["rm", "-f", "db"]).ok();
        rl.cmd(["network", "rm", "net", "both"]).ok();
    }
}

#[test]
fn on_networks_a_policy_holds_whatever_is_joined_left_or_dies() {
    require!(Feature::SubIds, Feature::Image("alpine"));
    let rl = Rl::new();
    let (open, other) = (serve(host_v4()), serve(host_v4()));
    let networks = ["a", "b"].map(|name| format!("{name}-{}", std::process::id()));
    networks.iter().for_each(|network| drop(rl.cmd(["network", "create", network]).ok()));
    let ci = &*format!("ci-{}", std::process::id());
    let [a, b] = networks.each_ref().map(String::as_str);
    let rule = open.to_string();
    rl.cmd(["run", "-d", "--name", ci, "--network", a, "--egress-allow", &rule, &image("alpine"), "sleep", "1000"]).ok();
    rl.cmd(["run", "-d", "--name", "stays", "--network", a, &image("alpine"), "sleep", "1000"]).ok();
    let script = |to: SocketAddr| format!("nc -w 20 {} {}", to.ip(), to.port());
    let reaches = |to: SocketAddr| rl.cmd(["exec", ci, "sh", "-c", &script(to)]).stdout() == "hello";
    let check = |when: &str| {
        eventually(when, || reaches(open));
        assert!(!reaches(other), "{when}");
    };
    check("at first");
    for change in [["connect", b], ["disconnect", a], ["connect", a], ["disconnect", b], ["connect", b], ["disconnect", b]] {
        rl.cmd(["network", change[0], change[1], ci]).ok();
        check(&change.join(" "));
    }
    rl.cmd(["rename", ci, "job"]).ok();
    rl.cmd(["rename", "job", ci]).ok();
    check("renamed");
    rl.cmd(["restart", "-t", "0", ci]).ok();
    check("restarted");
    // Whoever dies, nothing more is reached before somebody else is there.
    let trying = rl.start(["exec", ci, "sh", "-c", &format!("while :; do {} && echo; echo tried; done", script(other))]);
    trying.expect("tried");
    for title in [format!("rl[{a}]: hub"), format!("rl[{ci}]: connector")] {
        let victim = support::titled(&title);
        assert_eq!(victim.len(), 1, "{title}");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(victim[0]), nix::sys::signal::Signal::SIGKILL).unwrap();
        eventually(&title, || support::titled(&title).iter().any(|pid| *pid != victim[0]));
        check(&title);
    }
    assert!(!trying.stdout().contains("hello"));
    assert!(noted(&rl.cmd(["logs", "--egress", ci]).ok()).contains(&format!("deny tcp {other}")));
    rl.cmd(["rm", "-f", ci, "stays"]).ok();
}

#[test]
fn on_a_network_nothing_leaves_from_an_address_that_nobody_has_given() {
    require!(Feature::SubIds, Feature::Image("alpine"));
    let rl = Rl::new();
    for method in METHODS {
        rl.cmd(["network", "create", "-o", method, "--subnet", "10.77.0.0/24", "net"]).ok();
        let server = serve(host_v4());
        let (ip, port) = (server.ip(), server.port());
        let script = format!(
            "nc -w 20 {ip} {port}; echo; ip addr add 10.77.0.99/24 dev eth0; ip route replace default via 10.77.0.1 src 10.77.0.99; \
         nc -w 20 {ip} {port} || echo refused; nslookup -type=a who.rl.internal 10.77.0.1 >/dev/null || echo unanswered"
        );
        let run = rl.sh(&["--network", "net", "--cap-add", "NET_ADMIN"], &script);
        assert_eq!(run.ok().stdout(), "hello\nrefused\nunanswered");
        rl.cmd(["network", "rm", "net"]).ok();
    }
}

#[test]
fn on_a_network_nobody_takes_the_address_of_who_may_reach_more() {
    require!(Feature::SubIds, Feature::Image("alpine"));
    let rl = Rl::new();
    for method in METHODS {
        rl.cmd(["network", "create", "-o", method, "--subnet", "10.77.0.0/24", "net"]).ok();
        let (server, image) = (serve(host_v4()), image("alpine"));
        let open = ["run", "-d", "--name", "open", "--network", "net", "--ip", "10.77.0.5", "--cap-add", "NET_ADMIN"];
        // It does not speak up when another has its address.
        rl.cmd([&open[..], &[&image, "sh", "-c", "ip link set eth0 down; sleep 1000"]].concat()).ok();
        eventually("it is silent", || rl.cmd(["exec", "open", "cat", "/sys/class/net/eth0/operstate"]).stdout() == "down");
        let reach = format!("nc -w 5 {} {} || echo refused", server.ip(), server.port());
        let take = format!(
            "ip link set eth0 down; ip link set eth0 address $1; ip addr flush dev eth0; ip addr add 10.77.0.5/24 dev eth0; \
         ip link set eth0 up; ip route add default via 10.77.0.1; {reach}"
        );
        let own = ["run", "--rm", "--network", "net:mac=02:42:0a:4d:00:09", "--cap-add", "NET_ADMIN", "--cap-add", "NET_RAW"];
        for mac in ["02:42:0a:4d:00:05", "02:42:0a:4d:00:09"] {
            let script = |flags: &[&str]| rl.cmd([&own[..], flags, &[&image, "sh", "-c", &take, "sh", mac]].concat()).ok();
            assert_eq!(script(&[]).stdout(), "hello", "{mac}: as anybody may who has the capabilities");
            assert_eq!(script(&["--egress", "deny"]).stdout(), "refused", "{mac}");
        }
        rl.cmd(["rm", "-f", "open"]).ok();
        rl.cmd(["network", "rm", "net"]).ok();
    }
}

#[test]
fn what_cannot_be_kept_is_refused() {
    require!(Feature::SubIds, Feature::Image("alpine"));
    let rl = Rl::new();
    let alpine = image("alpine");
    let refused = |flags: &[&str]| rl.cmd([&["run", "--rm"], flags, &[&alpine, "true"]].concat());
    for network in ["none", "host"] {
        refused(&["--network", network, "--egress", "deny"])
            .code(125)
            .says("cannot limit what is reached")
            .says("--network gateway");
    }
    refused(&["--egress", "allow", "--egress-allow", "10.0.0.0/8"]).code(125).says("says nothing beside --egress allow");
    for rule in ["", "*", "10.0.0.1/8", "a:b", "host:99999", "http://example.com"] {
        refused(&["--egress-allow", rule]).code(125).says("--egress-allow");
    }
    refused(&["--dns", "192.0.2.53", "--egress-allow", "example.com"]).code(125).says("--dns and --egress-allow example.com");
    refused(&["--egress", "maybe"]).code(125).says("maybe");
}
