//! `--network NAME[:OPTIONS]` of a user-defined network, in Podman's words and in Docker's (docker-run(1), podman-run(1)). Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use anyhow::{Context, Result, anyhow, bail};

use super::store::check_name;
use crate::network::NetworkMode;

/// An Ethernet address.
pub type Mac = [u8; 6];

/// One network that a container is to be on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Join {
    /// Its name, or an id.
    pub network: String,
    pub v4: Option<Ipv4Addr>,
    pub v6: Option<Ipv6Addr>,
    pub mac: Option<Mac>,
    pub aliases: Vec<String>,
}

/// What one `--network` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    Mode(NetworkMode),
    Join(Vec<Join>),
}

/// Modes: what follows their colon is theirs.
const MODES: [&str; 10] = ["none", "host", "gateway", "bridge", "default", "private", "pasta", "slirp4netns", "container", "ns"];

impl FromStr for Asked {
    type Err = anyhow::Error;

    /// A mode; `NAME[:ip=…,ip6=…,mac=…,alias=…]`; `NAME,NAME`; or Docker's `name=NAME,ip=…`.
    fn from_str(text: &str) -> Result<Asked> {
        let head = text.split([':', ',']).next().unwrap_or_default();
        if text.is_empty() || MODES.contains(&head) {
            return text.parse().map(Asked::Mode);
        }
        // In one message: what reads the command line shows no causes.
        let bad = |error: anyhow::Error| anyhow!("bad network \"{text}\": {error:#}");
        if text.contains('=') && !head.contains('=') {
            let (network, options) = text.split_once(':').context("want NAME:OPTIONS").map_err(bad)?;
            return join(network, options).map_err(bad).map(|join| Asked::Join(vec![join]));
        }
        if head.contains('=') {
            let name = text.split(',').find_map(|part| part.strip_prefix("name=")).context("want name=NAME").map_err(bad)?;
            let options: Vec<&str> = text.split(',').filter(|part| !part.starts_with("name=")).collect();
            return join(name, &options.join(",")).map_err(bad).map(|join| Asked::Join(vec![join]));
        }
        let names = text.trim_end_matches(':').split(',');
        names.map(|name| join(name, "")).collect::<Result<_>>().map(Asked::Join)
    }
}

fn join(network: &str, options: &str) -> Result<Join> {
    check_name(network)?;
    let mut join = Join { network: network.into(), ..Join::default() };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').with_context(|| format!("want NAME=VALUE instead of \"{option}\""))?;
        match name {
            "ip" | "ip6" => match value.parse().with_context(|| format!("\"{value}\" is no IP address"))? {
                IpAddr::V4(address) if name == "ip" => join.v4 = Some(address),
                // Podman's `ip` takes both.
                IpAddr::V6(address) => join.v6 = Some(address),
                IpAddr::V4(_) => bail!("\"{value}\" is no IPv6 address"),
            },
            "alias" => join.aliases.push(alias(value).map_err(|error| anyhow!(error))?),
            "mac" | "mac-address" => join.mac = Some(mac(value)?),
            _ => bail!("unknown option \"{name}\": there are ip, ip6, mac and alias"),
        }
    }
    Ok(join)
}

/// A name that a container may have beside its own: dots part labels of at most 63 characters.
pub fn alias(text: &str) -> Result<String, String> {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    match text.len() <= 253 && text.split('.').all(is_label) {
        true => Ok(text.to_string()),
        false => Err(format!("bad alias \"{text}\": want letters, digits, - and _, in parts of at most 63 between dots")),
    }
}

/// `--link NAME[:ALIAS]`: how a container calls another.
pub fn link(text: &str) -> Result<(String, String), String> {
    let (name, own) = text.split_once(':').unwrap_or((text, text));
    let name = name.strip_prefix('/').unwrap_or(name);
    let own = own.strip_prefix('/').unwrap_or(own);
    Ok((alias(own)?, alias(name)?))
}

/// Six hexadecimal bytes between colons or hyphens, of one host and not of a group.
pub fn mac(text: &str) -> Result<Mac> {
    let bytes: Option<Vec<u8>> = text
        .split([':', '-'])
        .map(|part| u8::from_str_radix(part, 16).ok().filter(|_| part.len() == 2 && !part.starts_with('+')))
        .collect();
    let mac: Option<Mac> = bytes.and_then(|bytes| bytes.try_into().ok());
    mac.filter(|mac| mac[0] & 1 == 0 && *mac != [0; 6]).with_context(|| format!("\"{text}\" is no MAC address of a container"))
}

/// As [`mac`] reads it.
pub fn show_mac(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn joins(text: &str) -> Vec<Join> {
        match text.parse().unwrap() {
            Asked::Join(joins) => joins,
            Asked::Mode(mode) => panic!("{text} is the mode {mode}"),
        }
    }

    #[test]
    fn a_network_is_asked_for_in_podmans_words_or_dockers() {
        let wanted = Join {
            network: "net".into(),
            v4: Some(Ipv4Addr::new(10, 1, 2, 3)),
            v6: Some("fd00::3".parse().unwrap()),
            mac: Some([2, 0, 0, 0, 0, 9]),
            aliases: vec!["db".into(), "postgres".into()],
        };
        assert_eq!(
            joins("net:ip=10.1.2.3,ip6=fd00::3,mac=02:00:00:00:00:09,alias=db,alias=postgres"),
            std::slice::from_ref(&wanted)
        );
        assert_eq!(joins("name=net,ip=10.1.2.3,ip6=fd00::3,mac-address=02-00-00-00-00-09,alias=db,alias=postgres"), [wanted]);
        let names: Vec<String> = joins("a,b").into_iter().map(|join| join.network).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn modes_stay_what_they_are() {
        for text in ["host", "bridge", "container:web", "slirp4netns:mtu=1500", "pasta:--mtu=1500", "gateway:host-loopback"] {
            assert!(matches!(text.parse(), Ok(Asked::Mode(_))), "{text}");
        }
        for text in
            ["", "host:x", "gateway:ip=10.0.0.1", "net:ip=x", "net:ip6=10.0.0.1", "net:colour=red", "net:alias=", "-x", "a b"]
        {
            assert!(text.parse::<Asked>().is_err(), "{text}");
        }
        for text in ["net:mac=01:00:00:00:00:00", "net:mac=0:0:0:0:0:1", "net:mac=00:00:00:00:00:00", "net:mac=x"] {
            assert!(text.parse::<Asked>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_link_is_another_name_of_another() {
        assert_eq!(link("/db:sql").unwrap(), ("sql".into(), "db".into()));
        assert_eq!(link("db").unwrap(), ("db".into(), "db".into()));
        assert!(link("db:a b").is_err() && link("").is_err());
    }

    proptest! {
        #[test]
        fn any_text_can_be_parsed(text in "(net|name=net|host|a,b)?:?[-a-z0-9_=,.:]{0,40}") {
            if let Ok(Asked::Join(joins)) = text.parse() {
                prop_assert!(joins.iter().all(|join| check_name(&join.network).is_ok()));
            }
        }

        #[test]
        fn a_mac_is_written_as_it_is_read(bytes: [u8; 6]) {
            let mut bytes = bytes;
            bytes[0] = bytes[0] & 0xfe | 0x02;
            prop_assert_eq!(mac(&show_mac(bytes)).unwrap(), bytes);
        }
    }
}
