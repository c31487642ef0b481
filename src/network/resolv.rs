//! `/etc/hosts` and `/etc/resolv.conf` of a container, as text (hosts(5), resolv.conf(5)).

use std::net::IpAddr;

use anyhow::{Context, Result};

use super::NetworkMode;

/// One `--add-host NAME:IP` (also `NAME=IP`, as Docker takes it since 25).
pub fn parse_add_host(text: &str) -> Result<(String, IpAddr)> {
    let (name, address) = text.split_once(['=', ':']).with_context(|| format!("bad --add-host \"{text}\": want NAME:IP"))?;
    let bare = address.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse().with_context(|| format!("bad --add-host \"{text}\": \"{address}\" is no IP address"))?;
    Ok((name.to_string(), address))
}

/// The text of /etc/hosts: the host's own lines on its network, else loopback and the container's name.
pub fn hosts(mode: NetworkMode, hostname: &str, added: &[(String, IpAddr)]) -> String {
    let mut text = String::new();
    if mode == NetworkMode::Host {
        text = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    }
    if text.is_empty() {
        text = format!("127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    for (name, address) in added {
        text += &format!("{address}\t{name}\n");
    }
    text
}

/// The text of /etc/resolv.conf: the servers asked for, else the host's own file on its network, else nobody to ask.
pub fn resolv_conf(mode: NetworkMode, servers: &[IpAddr]) -> String {
    if servers.is_empty() {
        return match mode {
            NetworkMode::Host => std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default(),
            NetworkMode::None => String::new(),
        };
    }
    servers.iter().map(|server| format!("nameserver {server}\n")).collect()
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
    fn a_container_without_a_network_still_knows_its_own_name() {
        let text = hosts(NetworkMode::None, "web", &[("db".into(), "10.0.0.5".parse().unwrap())]);
        assert!(text.starts_with("127.0.0.1\tlocalhost web\n"));
        assert!(text.ends_with("10.0.0.5\tdb\n"));
    }
}
