//! `/etc/hosts` and `/etc/resolv.conf` of a container, as text (hosts(5), resolv.conf(5)).

use std::net::IpAddr;

use anyhow::{Context, Result};

use super::NetworkMode;
use super::bridge::leases::Attachment;
use super::bridge::{self, DOMAIN};
use super::driver::PASTA_DNS;
use super::embedded::addresses::{CONTAINER, V4};

/// One `--add-host NAME:IP` (also `NAME=IP`, as Docker takes it since 25). `host-gateway` is the address that stands for the host.
pub fn parse_add_host(text: &str) -> Result<(String, IpAddr)> {
    let (name, address) = text.split_once(['=', ':']).with_context(|| format!("bad --add-host \"{text}\": want NAME:IP"))?;
    if address == "host-gateway" {
        return Ok((name.to_string(), V4.host));
    }
    let bare = address.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse().with_context(|| format!("bad --add-host \"{text}\": \"{address}\" is no IP address"))?;
    Ok((name.to_string(), address))
}

/// The text of /etc/hosts: the host's own lines on its network, else loopback and the container's name. `attachments`: its places on
/// user-defined networks.
pub fn hosts(mode: &NetworkMode, attachments: &[Attachment], hostname: &str, added: &[(String, IpAddr)]) -> String {
    let addresses = own_addresses(mode, attachments);
    let mut text = String::new();
    if *mode == NetworkMode::Host {
        text = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    }
    if text.is_empty() {
        let own = if addresses.is_empty() { hostname } else { "" };
        text = format!("127.0.0.1\tlocalhost {own}").trim_end().to_string() + "\n::1\tlocalhost ip6-localhost ip6-loopback\n";
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    for address in addresses {
        text += &format!("{address}\t{hostname}\n");
    }
    if let Some(host) = host_address(mode) {
        // Podman's and Docker's name for it.
        text += &format!("{host}\thost.containers.internal host.docker.internal\n");
    }
    for (name, address) in added {
        text += &format!("{address}\t{name}\n");
    }
    text
}

/// Where the container is, as far as that is known before.
fn own_addresses(mode: &NetworkMode, attachments: &[Attachment]) -> Vec<IpAddr> {
    let one = match mode {
        NetworkMode::Gateway { .. } => Some(CONTAINER.v4),
        NetworkMode::Slirp(slirp) => Some(slirp.container().into()),
        NetworkMode::Pasta(pasta) => pasta.container(),
        NetworkMode::User(_) => return attachments.iter().flat_map(Attachment::places).map(|place| place.address).collect(),
        NetworkMode::None | NetworkMode::Host | NetworkMode::Container(_) => None,
    };
    one.into_iter().collect()
}

/// Where the host's loopback is, if it is open.
fn host_address(mode: &NetworkMode) -> Option<IpAddr> {
    match mode {
        NetworkMode::Gateway(gateway) if gateway.host_loopback => Some(V4.host),
        NetworkMode::Slirp(slirp) if slirp.allow_host_loopback => Some(slirp.host().into()),
        NetworkMode::Pasta(pasta) if pasta.map_gateway => pasta.value(&["--gateway", "-g"])?.parse().ok(),
        _ => None,
    }
}

/// What was asked for with `--dns`, `--dns-search` and `--dns-option`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Dns<'a> {
    pub servers: &'a [IpAddr],
    /// `.` alone: none.
    pub search: &'a [String],
    pub options: &'a [String],
}

/// The text of /etc/resolv.conf: what was asked for, and for the rest the host's own file, whose servers are reached as the network has it.
pub fn resolv_conf(mode: &NetworkMode, attachments: &[Attachment], dns: &Dns) -> String {
    let host = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let server = match mode {
        NetworkMode::Gateway { .. } => Some(V4.gateway),
        NetworkMode::Slirp(slirp) => Some(slirp.dns().into()),
        NetworkMode::Pasta(pasta) => {
            let asked = pasta.value(&["--dns-forward"]).and_then(|address| address.parse().ok());
            Some(asked.unwrap_or(PASTA_DNS.into()))
        }
        NetworkMode::User(_) => {
            // Names of containers first, and without asking anybody else. What was asked for is asked by the network's hub.
            let search = dns.search.is_empty().then(|| format!("search {DOMAIN}"));
            let host = search.iter().map(String::as_str).chain(host.lines()).collect::<Vec<_>>().join("\n");
            let gateways = bridge::in_turn(attachments).map(|attachment| attachment.v4.gateway).collect::<Vec<_>>();
            return write(&Dns { servers: &gateways, ..*dns }, &merged_search(&host), None);
        }
        NetworkMode::Host if dns.servers.is_empty() && dns.search.is_empty() && dns.options.is_empty() => return host,
        NetworkMode::Host => None,
        NetworkMode::None | NetworkMode::Container(_) => return write(dns, "", None),
    };
    write(dns, &host, server)
}

/// All `search` lines as one: of several the last would count (resolv.conf(5)).
fn merged_search(text: &str) -> String {
    let is_search = |line: &&str| matches!(line.split_ascii_whitespace().next(), Some("search" | "domain"));
    let (search, rest): (Vec<&str>, Vec<&str>) = text.lines().partition(is_search);
    let mut domains: Vec<&str> = search.iter().flat_map(|line| line.split_ascii_whitespace().skip(1)).collect();
    domains.dedup();
    let search = if domains.is_empty() { String::new() } else { format!("search {}\n", domains.join(" ")) };
    search + &rest.join("\n") + "\n"
}

/// `server`: by which the host's are reached; None: directly.
fn write(dns: &Dns, host: &str, server: Option<IpAddr>) -> String {
    let of_host = |keywords: &[&str]| -> Vec<String> {
        let is = |line: &&str| keywords.contains(&line.split_ascii_whitespace().next().unwrap_or(""));
        host.lines().map(str::trim).filter(is).map(String::from).collect()
    };
    let mut lines = match dns.search {
        [] => of_host(&["search", "domain"]),
        search if search.iter().all(|domain| domain == ".") => Vec::new(),
        search => vec![format!("search {}", search.join(" "))],
    };
    lines.extend(match dns.options {
        [] => of_host(&["options"]),
        options => vec![format!("options {}", options.join(" "))],
    });
    lines.extend(match (dns.servers, server) {
        ([], Some(server)) => vec![format!("nameserver {server}")],
        ([], None) => of_host(&["nameserver"]),
        (servers, _) => servers.iter().map(|server| format!("nameserver {server}")).collect(),
    });
    lines.into_iter().map(|line| line + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_to_add_come_in_both_of_dockers_spellings() {
        assert_eq!(parse_add_host("db:10.0.0.5").unwrap(), ("db".into(), "10.0.0.5".parse().unwrap()));
        assert_eq!(parse_add_host("db=::1").unwrap().1, "::1".parse::<IpAddr>().unwrap());
        assert_eq!(parse_add_host("db:[::1]").unwrap().1, "::1".parse::<IpAddr>().unwrap());
        assert!(parse_add_host("db").is_err());
        assert!(parse_add_host("db:somewhere").is_err());
    }

    #[test]
    fn behind_the_gateway_names_are_completed_as_on_the_host_and_asked_of_the_gateway() {
        let host = "# made by hand\nnameserver 192.0.2.1\nsearch lan example.org\noptions ndots:2\nnameserver ::1\n";
        let through = write(&Dns::default(), host, Some(V4.gateway));
        assert_eq!(through, "search lan example.org\noptions ndots:2\nnameserver 10.0.2.1\n");
        let mode = "gateway:host-loopback".parse().unwrap();
        let text = hosts(&mode, &[], "web", &[]);
        assert!(text.contains("10.0.2.100\tweb\n") && text.contains("10.0.2.2\thost.containers.internal"), "{text}");
        assert_eq!(parse_add_host("me:host-gateway").unwrap().1.to_string(), "10.0.2.2");
    }

    #[test]
    fn what_is_asked_for_takes_the_place_of_the_hosts() {
        let host = "nameserver 192.0.2.1\nsearch lan\noptions ndots:2\n";
        let (servers, search, options) = (["192.0.2.9".parse().unwrap()], ["a".to_string(), "b".into()], ["ndots:1".to_string()]);
        let dns = Dns { servers: &servers, ..Dns::default() };
        assert_eq!(write(&dns, host, Some(V4.gateway)), "search lan\noptions ndots:2\nnameserver 192.0.2.9\n");
        let dns = Dns { search: &search, options: &options, ..Dns::default() };
        assert_eq!(write(&dns, host, None), "search a b\noptions ndots:1\nnameserver 192.0.2.1\n");
        let none = [".".to_string()];
        assert_eq!(write(&Dns { search: &none, ..dns }, host, None), "options ndots:1\nnameserver 192.0.2.1\n");
    }

    #[test]
    fn a_container_without_a_network_still_knows_its_own_name() {
        let text = hosts(&NetworkMode::None, &[], "web", &[("db".into(), "10.0.0.5".parse().unwrap())]);
        assert!(text.starts_with("127.0.0.1\tlocalhost web\n"));
        assert!(text.ends_with("10.0.0.5\tdb\n"));
    }
}
