//! User-defined networks: containers on the same one reach each other by name, and nobody else.

mod support;

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;

use support::{Feature, Rl, Run, eventually, host_v4, image, require};

/// Starts a container in the background that answers every connection to port 7 with its name.
#[track_caller]
fn server(rl: &Rl, name: &str, flags: &[&str]) {
    let script = format!("nc -lk -p 7 -e echo {name}");
    let image = image("alpine");
    rl.cmd([&["run", "-d", "--name", name], flags, &[image.as_str(), "sh", "-c", &script]].concat()).ok();
}

/// A script that asks until somebody answers: the server may not listen yet.
fn until(ask: &str) -> String {
    format!("until {ask}; do sleep 0.05; done")
}

#[track_caller]
fn in_container(rl: &Rl, name: &str, script: &str) -> Run {
    rl.cmd(["exec", name, "sh", "-c", script])
}

#[track_caller]
fn address(rl: &Rl, name: &str, network: &str) -> String {
    rl.inspect(name)["NetworkSettings"]["Networks"][network]["IPAddress"].as_str().unwrap().into()
}

/// The hubs of a network, by their title.
fn hubs(network: &str) -> Vec<i32> {
    support::titled(&format!("rl[{network}]: hub"))
}

/// Answers every connection with `hello`.
fn outside(ip: IpAddr) -> SocketAddr {
    let listener = TcpListener::bind((ip, 0)).expect("listen");
    let address = listener.local_addr().unwrap();
    thread::spawn(move || listener.incoming().flatten().for_each(|mut s| drop(std::io::Write::write_all(&mut s, b"hello\n"))));
    address
}

#[test]
fn containers_on_a_network_reach_each_other_by_name_alias_and_id() {
    require!(Feature::SubIds, Feature::Image("alpine"));
    let rl = Rl::new();
    rl.cmd(["network", "create", "back"]).ok();
    server(&rl, "db", &["--network", "back:alias=postgres", "--network-alias", "sql"]);
    server(&rl, "web", &["--network", "back", "--link", "db:store"]);
    let id = rl.inspect("db")["Id"].as_str().unwrap()[..12].to_string();
    let cases =
        [("web", "db"), ("web", "postgres"), ("web", "SQL"), ("web", "store"), ("web", "db.rl.internal"), ("web", id.as_str())];
    for (from, to) in cases {
        assert_eq!(in_container(&rl, from, &until(&format!("nc {to} 7"))).ok().stdout(), "db", "{to}");
    }
    assert_eq!(in_container(&rl, "db", &until("nc web 7")).ok().stdout(), "web");
    assert!(in_container(&rl, "db", "getent hosts store").code(2).stdout().is_empty(), "a link is of one container alone");
    let name = in_container(&rl, "web", &format!("nslookup -type=ptr {}", reverse(&address(&rl, "db", "back")))).ok();
    assert!(name.stdout().contains("name = db"), "{name}");
}

fn reverse(address: &str) -> String {
    address.split('.').rev().collect::<Vec<_>>().join(".") + ".in-addr.arpa"
}

#[test]
fn a_name_is_known_as_long_as_its_container_runs() {
    require!(Feature::SubIds, Feature::Image("alpine"));
    let rl = Rl::new();
    rl.cmd(["network", "create", "back"]).ok();
    server(&rl, "db", &["--network", "back"]);
    server(&rl, "web", &["--network", "back"]);
    let before = address(&rl, "db", "back");
    assert_eq!(in_container(&rl, "web", "getent hosts db").ok().stdout().split_whitespace().next(), Some(before.as_str()));
    rl.cmd(["stop", "-t", "0", "db"]).ok();
    eventually("the name is gone", || in_container(&rl, "web", "nslookup db.rl.internal").stdout().contains("NXDOMAIN"));
    rl.cmd(["start", "db"]).ok();
    assert_eq!(address(&rl, "db", "back"), before, "it keeps its address");
    assert_eq!(in_container(&rl, "web", &until("nc db 7")).ok().stdout(), "db");
}

#[test]
fn networks_are_apart() {
    require!(Feature::SubIds, Feature::Image("alpine"));
    let rl = Rl::new();
    for network in ["front", "back"] {
        rl.cmd(["network", "create", network]).ok();
    }
    server(&rl, "db", &["--network", "back"]);
    server(&rl, "web", &["--network", "front"]);
    in_container(&rl, "web", "nslookup db.rl.internal").code(1);
    let there = address(&rl, "db", "back");
    assert_ne!(in_container(&rl, "web", &format!("nc -w 2 {there} 7")).stdout(), "db");
    // Nor by way of its own interface.
    let around = format!("ip route add {there} dev eth0; nc -w 2 {there} 7");
    server(&rl, "admin", &["--network", "front", "--cap-add", "NET_ADMIN"]);
    assert_ne!(in_container(&rl, "admin", &around).stdout(), "db");
}

#[test]
fn a_container_on_several_networks_knows_the_names_of_all() {
    require!(Feature::SubIds, Feature::Image("alpine"));
    let rl = Rl::new();
    for network in ["front", "back"] {
        rl.cmd(["network", "create", network]).ok();
    }
    server(&rl, "db", &["--network", "back"]);
    server(&rl, "proxy", &["--network", "front"]);
    server(&rl, "web", &["--network", "front", "--network", "back"]);
    for to in ["db", "proxy"] {
        assert_eq!(in_container(&rl, "web", &until(&format!("nc {to} 7"))).ok().stdout(), to);
    }
    for from in ["db", "proxy"] {
        assert_eq!(in_container(&rl, from, &until("nc web 7")).ok().stdout(), "web");
    }
    let links = in_container(&rl, "web", "ip -o -4 addr").ok();
    assert!(links.stdout().contains("eth0 ") && links.stdout().contains("eth1 "), "{links}");
    // One that comes later is known as well.
    server(&rl, "cache", &["--network", "back"]);
    assert_eq!(in_container(&rl, "web", &until("nc cache 7")).ok().stdout(), "cache");
    in_container(&rl, "proxy", "nslookup db.rl.internal").code(1);
}

#[test]
fn the_world_is_reached_from_a_network_unless_it_is_internal() {
    require!(Feature::SubIds, Feature::Image("alpine"));
    let rl = Rl::new();
    rl.cmd(["network", "create", "open"]).ok();
    rl.cmd(["network", "create", "--internal", "closed"]).ok();
    let server = outside(host_v4());
    let ask = format!("nc -w 20 {} {}", server.ip(), server.port());
    assert_eq!(rl.sh(&["--network", "open"], &ask).ok().stdout(), "hello");
    assert_eq!(rl.sh(&["--network", "closed"], &ask).stdout(), "");
    // By a route of one's own making neither.
    let around = format!("ip route add default via $(sed -n 's/nameserver //p' /etc/resolv.conf); {ask}");
    assert_eq!(rl.sh(&["--network", "closed", "--cap-add", "NET_ADMIN"], &around).stdout(), "");
    assert_eq!(rl.sh(&["--network", "closed", "--network", "open"], &ask).ok().stdout(), "hello");
    let image = image("alpine");
    rl.cmd(["run", "--rm", "--network", "closed", "-p", "80", &image, "true"]).code(125).says("internal");
}

#[test]
fn the_hosts_loopback_is_closed_unless_it_is_opened_by_name() {
    require!(Feature::SubIds, Feature::Image("alpine"));
    let rl = Rl::new();
    rl.cmd(["network", "create", "net"]).ok();
    let port = outside(Ipv4Addr::LOCALHOST.into()).port();
    let gateway = "$(sed -n 's/nameserver //p' /etc/resolv.conf)";
    assert_eq!(rl.sh(&["--network", "net"], &format!("nc -w 20 {gateway} {port}")).code(1).stdout(), "");
    let opened = rl.sh(&["--network", "net", "--add-host", "me:host-gateway"], &format!("nc -w 20 me {port}"));
    assert_eq!(opened.ok().stdout(), "hello");
}

#[test]
fn an_address_is_asked_for_and_had_by_nobody_else() {
    require!(Feature::SubIds, Feature::Image("alpine"));
    let rl = Rl::new();
    let (image, long) = (image("alpine"), ["sleep", "1000"]);
    rl.cmd(["network", "create", "--subnet", "10.77.0.0/24", "--gateway", "10.77.0.254", "--ip-range", "10.77.0.64/28", "net"])
        .ok();
    let create = |flags: &[&str]| rl.cmd([&["create", "--network", "net"], flags, &[image.as_str()], &long].concat());
    create(&["--name", "static", "--ip", "10.77.0.9"]).ok();
    create(&["--name", "range"]).ok();
    assert_eq!(address(&rl, "static", "net"), "10.77.0.9");
    assert_eq!(address(&rl, "range", "net"), "10.77.0.64");
    create(&["--ip", "10.77.0.9"]).code(1).says("in use by container");
    create(&["--ip", "10.77.0.254"]).code(1).says("is its gateway");
    create(&["--ip", "10.78.0.1"]).code(1).says("no address of its subnet 10.77.0.0/24");
    create(&["--ip6", "fd00::9"]).code(1).says("no IPv6");
    rl.cmd(["rm", "static"]).ok();
    create(&["--ip", "10.77.0.9"]).ok();
    let seen = rl.sh(&["--network", "net:ip=10.77.0.10,mac=02:00:00:00:00:07"], "ip addr show eth0; ip route").ok();
    for text in ["10.77.0.10/24", "02:00:00:00:00:07", "default via 10.77.0.254"] {
        assert!(seen.stdout().contains(text), "{text}: {seen}");
    }
}

#[test]
fn ipv6_is_there_where_it_was_asked_for() {
    require!(Feature::SubIds, Feature::Image("alpine"));
    if !std::path::Path::new("/proc/net/if_inet6").exists() {
        return println!("SKIP: this host has no IPv6");
    }
    let rl = Rl::new();
    rl.cmd(["network", "create", "--ipv6", "--subnet", "fd77::/64", "net"]).ok();
    server(&rl, "web", &["--network", "net", "--ip6", "fd77::9"]);
    let got = rl.sh(&["--network", "net"], &until("nc fd77::9 7")).ok();
    assert_eq!(got.stdout(), "web");
    assert!(rl.sh(&["--network", "net"], "nslookup -type=aaaa web").ok().stdout().contains("fd77::9"));
    assert_eq!(rl.inspect("web")["NetworkSettings"]["Networks"]["net"]["GlobalIPv6Address"], "fd77::9");
}

#[test]
fn a_network_in_use_is_not_removed_and_one_that_is_not_is() {
    require!(Feature::SubIds, Feature::Image("alpine"));
    let rl = Rl::new();
    let image = image("alpine");
    for network in ["used", "unused", "kept"] {
        rl.cmd(["network", "create", "--label", &format!("which={network}"), network]).ok();
    }
    rl.cmd(["create", "--name", "web", "--network", "used", &image]).ok();
    rl.cmd(["network", "rm", "used"]).code(1).says("is in use by container");
    assert_eq!(rl.cmd(["ps", "-aq", "--filter", "network=used"]).ok().stdout().len(), 12);
    assert_eq!(rl.cmd(["ps", "-aq", "--filter", "network=unused"]).ok().stdout(), "");
    let dangling = rl.cmd(["network", "ls", "--filter", "dangling=true", "--format", "{{.Name}}"]).ok();
    assert_eq!(dangling.stdout(), "kept\nunused");
    let pruned = rl.cmd(["network", "prune", "-f", "--filter", "label!=which=kept"]).ok();
    assert_eq!(pruned.stdout().trim(), "Deleted Networks:\nunused");
    rl.cmd(["rm", "web"]).ok();
    assert_eq!(rl.cmd(["network", "rm", "used", "kept"]).ok().stdout(), "used\nkept");
    rl.cmd(["network", "rm", "used"]).code(1).says("no such network: used");
    rl.cmd(["network", "rm", "-f", "used"]).ok();
    rl.cmd(["network", "exists", "used"]).code(1);
    rl.cmd(["run", "--rm", "--network", "used", &image, "true"]).code(125).says("no such network: used");
}

#[test]
fn networks_are_listed_and_inspected_in_dockers_shape() {
    require!(Feature::SubIds, Feature::Image("alpine"));
    let rl = Rl::new();
    let id = rl.cmd(["network", "create", "--subnet", "10.77.0.0/24", "--label", "a=b", "-o", "mtu=1400", "net"]).ok();
    let short = &id.stdout()[..12];
    assert_eq!(rl.cmd(["network", "ls", "-q"]).ok().stdout(), short);
    assert_eq!(rl.cmd(["network", "ls", "--no-trunc", "-q"]).ok().stdout(), id.stdout());
    let table = rl.cmd(["network", "ls"]).ok();
    assert_eq!(table.stdout(), format!("NETWORK ID     NAME      DRIVER    SCOPE\n{short}   net       bridge    local"));
    server(&rl, "web", &["--network", "net"]);
    let shown = rl.cmd(["network", "inspect", short]).ok().json()[0].clone();
    assert_eq!((&shown["Name"], &shown["Id"], &shown["Driver"]), (&"net".into(), &id.stdout().into(), &"bridge".into()));
    assert_eq!(shown["IPAM"]["Config"], serde_json::json!([{"Subnet": "10.77.0.0/24", "Gateway": "10.77.0.1"}]));
    assert_eq!((&shown["Labels"]["a"], &shown["Options"]["mtu"]), (&"b".into(), &"1400".into()));
    let web = rl.inspect("web");
    let on = &shown["Containers"][web["Id"].as_str().unwrap()];
    assert_eq!((&on["Name"], &on["IPv4Address"]), (&"web".into(), &"10.77.0.2/24".into()));
    let place = &web["NetworkSettings"]["Networks"]["net"];
    assert_eq!(
        (&place["NetworkID"], &place["MacAddress"], &place["Gateway"]),
        (&shown["Id"], &on["MacAddress"], &"10.77.0.1".into())
    );
    assert!(in_container(&rl, "web", "ip link show eth0").ok().stdout().contains("mtu 1400"));
    assert_eq!(rl.cmd(["inspect", "--format", "{{.Name}}", "net"]).ok().stdout(), "net");
}

#[test]
fn what_a_network_cannot_be_is_refused() {
    let rl = Rl::new();
    for (flags, why) in [
        (&["--subnet", "10.77.0.1/24", "x"][..], "it should be 10.77.0.0/24"),
        (&["-d", "macvlan", "x"], "want bridge"),
        (&["-o", "isolate=true", "x"], "unknown network option"),
        (&["--subnet", "fd77::/64", "x"], "add --ipv6"),
        (&["host"], "means something else"),
        (&["../x"], "bad network name"),
    ] {
        let refused = rl.cmd([&["network", "create"], flags].concat());
        assert!(!refused.status.success() && refused.stderr().contains(why), "{why}: {refused}");
    }
    rl.cmd(["network", "create", "x"]).ok();
    rl.cmd(["network", "create", "x"]).code(1).says("exists already");
    rl.cmd(["network", "create", "--ignore", "x"]).ok();
    let subnet = rl.cmd(["network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", "x"]).ok();
    rl.cmd(["network", "create", "--subnet", subnet.stdout(), "y"]).code(1).says("overlaps");
}

#[test]
fn what_does_not_go_together_is_refused() {
    let rl = Rl::new();
    rl.cmd(["network", "create", "a"]).ok();
    rl.cmd(["network", "create", "b"]).ok();
    for (flags, why) in [
        (&["--network", "a", "--network", "host"][..], "conflicting options"),
        (&["--network", "a", "--network", "a"], "asked for twice"),
        (&["--network", "a,b", "--ip", "10.0.0.9"], "which network"),
        (&["--ip", "10.0.0.9"], "needs a network of yours"),
        (&["--link", "db", "--network", "none"], "needs a network of yours"),
        (&["--network", "a:colour=red"], "unknown option"),
    ] {
        let refused = rl.cmd([&["run", "--rm"], flags, &["rootfs:/", "true"]].concat()).code(125);
        assert!(refused.stderr().contains(why), "{why}: {refused}");
    }
}

#[test]
fn a_hub_ends_with_the_last_container_and_is_replaced_when_it_dies() {
    require!(Feature::SubIds, Feature::Image("alpine"));
    let rl = Rl::new();
    let network = format!("kill-{}", std::process::id());
    rl.cmd(["network", "create", &network]).ok();
    server(&rl, "db", &["--network", &network]);
    server(&rl, "web", &["--network", &network]);
    let before = hubs(&network);
    assert_eq!(before.len(), 1, "one for all");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(before[0]), nix::sys::signal::Signal::SIGKILL).unwrap();
    eventually("another hub connects them", || in_container(&rl, "web", "nc -w 1 db 7").stdout() == "db");
    let after = hubs(&network);
    assert!(after.len() == 1 && after != before, "{before:?} {after:?}");
    rl.cmd(["rm", "-f", "db"]).ok();
    assert_eq!(hubs(&network), after, "somebody is still there");
    rl.cmd(["rm", "-f", "web"]).ok();
    eventually("the hub ends", || hubs(&network).is_empty());
    assert_eq!(rl.sh(&["--network", &network], "hostname -i | cut -d. -f1").ok().stdout(), "10");
}

#[test]
fn a_killed_monitor_leaves_no_address_taken_for_ever() {
    require!(Feature::SubIds, Feature::Image("alpine"));
    let rl = Rl::new();
    rl.cmd(["network", "create", "--subnet", "10.77.0.0/30", "net"]).ok();
    server(&rl, "web", &["--network", "net", "--rm"]);
    rl.sh(&["--network", "net"], "true").code(125).says("no address of 10.77.0.0/30 is free");
    let pid = rl.inspect("web")["State"]["Pid"].as_i64().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let monitor = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(monitor), nix::sys::signal::Signal::SIGKILL).unwrap();
    // Whoever looks at the containers clears away what was left of it.
    eventually("it is gone", || rl.containers().is_empty());
    rl.sh(&["--network", "net"], "true").ok();
}

#[test]
fn a_running_container_joins_a_network_and_leaves_it() {
    require!(Feature::SubIds, Feature::Image("alpine"));
    let rl = Rl::new();
    for network in ["front", "back"] {
        rl.cmd(["network", "create", network]).ok();
    }
    server(&rl, "db", &["--network", "back"]);
    server(&rl, "web", &["--network", "front"]);
    rl.cmd(["network", "connect", "--alias", "site", "back", "web"]).ok();
    assert_eq!(in_container(&rl, "web", &until("nc db 7")).ok().stdout(), "db");
    assert_eq!(in_container(&rl, "db", &until("nc site 7")).ok().stdout(), "web");
    rl.cmd(["network", "connect", "back", "web"]).code(1).says("is on the network \"back\" already");
    rl.cmd(["network", "rm", "front"]).code(1);
    // The one by which it asked for names goes, and the other takes its place.
    let server = outside(host_v4());
    let ask = format!("nc -w 20 {} {}", server.ip(), server.port());
    assert_eq!(in_container(&rl, "web", &ask).ok().stdout(), "hello");
    rl.cmd(["network", "disconnect", "front", "web"]).ok();
    rl.cmd(["network", "rm", "front"]).ok();
    assert_eq!(in_container(&rl, "web", &until("nc db 7")).ok().stdout(), "db");
    assert_eq!(in_container(&rl, "web", &ask).ok().stdout(), "hello");
    assert_eq!(rl.cmd(["ps", "--format", "{{.Names}} {{.Networks}}", "--filter", "name=web"]).ok().stdout(), "web back");
    // And so it stays.
    rl.cmd(["restart", "-t", "0", "web"]).ok();
    assert_eq!(in_container(&rl, "web", &until("nc db 7")).ok().stdout(), "db");
    rl.cmd(["network", "disconnect", "back", "web"]).ok();
    assert!(!in_container(&rl, "web", "ip -o link").ok().stdout().contains("eth"));
    in_container(&rl, "db", "nslookup site.rl.internal").code(1);
    rl.cmd(["network", "disconnect", "back", "web"]).code(1).says("is not on the network");
    rl.cmd(["network", "disconnect", "-f", "back", "web"]).ok();
}

#[test]
fn published_ports_follow_the_network_that_leads_out() {
    require!(Feature::SubIds, Feature::Image("alpine"));
    let rl = Rl::new();
    for network in ["front", "back"] {
        rl.cmd(["network", "create", network]).ok();
    }
    server(&rl, "web", &["--network", "front", "-p", "127.0.0.1::7"]);
    let port: SocketAddr = rl.cmd(["port", "web", "7"]).ok().stdout().parse().unwrap();
    let asked = || {
        let mut text = String::new();
        let read = TcpStream::connect(port).is_ok_and(|mut stream| stream.read_to_string(&mut text).is_ok());
        read && text == "web\n"
    };
    eventually("it answers", asked);
    rl.cmd(["network", "connect", "back", "web"]).ok();
    rl.cmd(["network", "disconnect", "front", "web"]).ok();
    eventually("it answers again", asked);
    rl.cmd(["port", "rm", "web", "7"]).ok();
    assert!(TcpStream::connect(port).is_err());
}

#[test]
fn a_stopped_container_joins_a_network_and_leaves_it() {
    require!(Feature::SubIds, Feature::Image("alpine"));
    let rl = Rl::new();
    for network in ["front", "back"] {
        rl.cmd(["network", "create", network]).ok();
    }
    let image = image("alpine");
    rl.cmd(["create", "--name", "web", "--network", "front", &image, "ip", "-o", "-4", "addr"]).ok();
    rl.cmd(["network", "connect", "--ip", "10.77.0.9", "back", "web"]).code(1).says("no address of its subnet");
    rl.cmd(["network", "connect", "back", "web"]).ok();
    let both = rl.cmd(["start", "-a", "web"]).ok();
    assert!(both.stdout().contains("eth0 ") && both.stdout().contains("eth1 "), "{both}");
    rl.cmd(["network", "disconnect", "front", "web"]).ok();
    let one = rl.cmd(["start", "-a", "web"]).ok();
    assert!(!one.stdout().contains("eth0 ") && one.stdout().contains("eth1 "), "{one}");
    rl.cmd(["create", "--name", "alone", &image]).ok();
    rl.cmd(["network", "connect", "back", "alone"]).code(1).says("has the network gateway");
}

#[test]
fn a_container_that_is_renamed_is_found_by_its_new_name() {
    require!(Feature::SubIds, Feature::Image("alpine"));
    let rl = Rl::new();
    rl.cmd(["network", "create", "back"]).ok();
    server(&rl, "db", &["--network", "back"]);
    server(&rl, "web", &["--network", "back"]);
    rl.cmd(["rename", "db", "store"]).ok();
    assert_eq!(in_container(&rl, "web", &until("nc store 7")).ok().stdout(), "db");
    in_container(&rl, "web", "nslookup db.rl.internal").code(1);
}

/// It moves whatever containers send, so a mistake in it must be worth little.
#[test]
fn a_hub_has_no_capability_and_nobody_may_look_into_it() {
    require!(Feature::SubIds, Feature::Image("alpine"), Feature::Root(false));
    let rl = Rl::new();
    let network = format!("cap-{}", std::process::id());
    rl.cmd(["network", "create", &network]).ok();
    server(&rl, "web", &["--network", &network]);
    support::assert_confined(hubs(&network)[0]);
}

#[test]
fn names_are_told_over_tcp_too() {
    require!(Feature::SubIds, Feature::Image("alpine"), Feature::Tool("python3"));
    let rl = Rl::new();
    rl.cmd(["network", "create", "back"]).ok();
    server(&rl, "db", &["--network", "back"]);
    let script = "import socket,struct\n\
        server=open('/etc/resolv.conf').read().split('nameserver ')[1].split()[0]\n\
        ask=struct.pack('>6H',7,256,1,0,0,0)+b'\\x02db\\x00'+struct.pack('>2H',1,1)\n\
        s=socket.create_connection((server,53),20); s.sendall(struct.pack('>H',len(ask))+ask)\n\
        got=s.recv(2000); print(socket.inet_ntoa(got[-4:]))";
    let got = rl.cmd(["run", "--rm", "--network", "back", "rootfs:/", "/usr/bin/python3", "-c", script]).ok();
    assert_eq!(got.stdout(), address(&rl, "db", "back"));
}
