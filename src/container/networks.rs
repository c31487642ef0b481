//! The user-defined networks of containers: which are asked for, and the container's places on them.

use std::net::IpAddr;
use std::os::fd::AsFd;

use anyhow::{Result, anyhow, bail};

use super::config::Config;
use super::events;
use super::hold::{Held, hold};
use super::options::Options;
use super::record::{self, Record};
use super::wire::FromClient;
use crate::error::Advise;
use crate::host::paths::Paths;
use crate::network::NetworkMode;
use crate::network::bridge::connector::Party;
use crate::network::bridge::join::{Asked, Join};
use crate::network::bridge::leases::{self, Attachment, Leases};
use crate::network::bridge::store::Definition;
use crate::network::bridge::{self, store};
use crate::sys::failpoint::milestone;

/// What the flags ask for: a mode, or none in particular, or networks. Each of these exists, and is called by its name.
pub fn asked(options: &Options, paths: &Paths) -> Result<(Option<NetworkMode>, Vec<Join>)> {
    let (mut modes, mut joins) = (Vec::new(), Vec::new());
    for asked in &options.usual.network {
        match asked {
            Asked::Mode(mode) => modes.push(mode),
            Asked::Join(more) => joins.extend(more.iter().cloned()),
        }
    }
    let particular = [
        (options.more.ip.is_some(), "--ip"),
        (options.more.ip6.is_some(), "--ip6"),
        (!options.more.network_alias.is_empty(), "--network-alias"),
        (!options.more.link.is_empty(), "--link"),
    ];
    if joins.is_empty() {
        if let Some((_, flag)) = particular.iter().find(|(given, _)| *given) {
            return Err(anyhow!("{flag} needs a network of yours")).hint(|| "rl network create NAME, then --network NAME");
        }
        if modes.len() > 1 {
            bail!("conflicting options: --network {} and --network {}", modes[0], modes[1]);
        }
        return Ok((modes.first().copied().cloned(), joins));
    }
    if let Some(mode) = modes.first() {
        bail!("conflicting options: --network {} and --network {mode}, which is none of yours", joins[0].network);
    }
    if joins.len() > 1 && (options.more.ip.is_some() || options.more.ip6.is_some()) {
        return Err(anyhow!("--ip and --ip6 say nothing of which network they are for"))
            .hint(|| format!("--network {}:ip=…", joins[0].network));
    }
    for at in 0..joins.len() {
        joins[at].network = store::find(paths, &joins[at].network)?.name;
        if joins[..at].iter().any(|other| other.network == joins[at].network) {
            bail!("the network \"{}\" is asked for twice", joins[at].network);
        }
        joins[at].aliases.extend(options.more.network_alias.iter().cloned());
        joins[at].v4 = joins[at].v4.or(options.more.ip);
        joins[at].v6 = joins[at].v6.or(options.more.ip6);
    }
    Ok((Some(NetworkMode::User(joins[0].network.clone())), joins))
}

/// Takes places on networks for the container `id`, in the order of its interfaces.
pub fn take(paths: &Paths, joins: &[Join], id: &str) -> Result<(Vec<Attachment>, Leases)> {
    let mut leases = Leases::default();
    let mut numbered: Vec<(usize, &Join)> = joins.iter().enumerate().collect();
    // Locked in one order by all, so that no two wait for each other.
    numbered.sort_by(|a, b| a.1.network.cmp(&b.1.network));
    let mut places = Vec::new();
    for (number, join) in numbered {
        let network = store::find(paths, &join.network)?;
        places.push((number, leases.take(paths, &network, id, join, format!("eth{number}"))?));
    }
    places.sort_by_key(|(number, _)| *number);
    Ok((places.into_iter().map(|(_, place)| place).collect(), leases))
}

/// Where a container asks for names whose /etc/resolv.conf is made now.
pub fn resolvers(config: &Config) -> Vec<IpAddr> {
    bridge::in_turn(&config.networks).map(|place| place.v4.gateway).collect()
}

/// Who a container is on its networks; `resolvers`: where it asks for names.
pub fn party<'a>(config: &'a Config, resolvers: &'a [IpAddr]) -> Party<'a> {
    let gateways = || config.networks.iter().flat_map(Attachment::places).map(|place| place.gateway);
    // Where `host-gateway` was asked for, that is the address it has become.
    let names_host = |(_, address): &(String, IpAddr)| gateways().any(|gateway| gateway == *address);
    Party {
        id: &config.id,
        name: &config.name,
        hostname: &config.spec.hostname,
        attachments: &config.networks,
        links: &config.links,
        servers: &config.dns,
        resolvers,
        host_loopback: config.add_hosts.iter().any(names_host),
        egress: config.egress.as_ref(),
    }
}

/// `rl network connect`: a container, running or not, is on one more network.
pub fn connect(paths: &Paths, wanted: &str, join: &Join, links: &[(String, String)]) -> Result<()> {
    let network = store::find(paths, &join.network)?;
    loop {
        let held = hold(paths, wanted)?;
        let record = held.record();
        let (config, name) = (&record.config, &record.config.name);
        if !matches!(config.network, NetworkMode::User(_)) {
            return Err(anyhow!(
                "cannot connect \"{name}\" to the network \"{}\": it has the network {}",
                network.name,
                config.network
            ))
            .hint(|| {
                format!("rl rm {name}, then rl run --network {}: who is on a network of yours can join others", network.name)
            });
        }
        if config.networks.iter().any(|place| place.network_id == network.id) {
            bail!("container \"{name}\" is on the network \"{}\" already", network.name);
        }
        if !links.is_empty() && matches!(held, Held::Up(_)) {
            bail!("container \"{name}\" is running: links are known from its start on");
        }
        let interfaces = (0..).map(|number| format!("eth{number}"));
        let mut free = interfaces.filter(|name| !config.networks.iter().any(|place| place.interface == *name));
        let interface = free.next().unwrap_or_default();
        let mut leases = Leases::default();
        let place = leases.take(paths, &network, &config.id, join, interface)?;
        milestone("network-leased");
        let done = held.change(&FromClient::ClientJoin(Box::new(place.clone())), |config| {
            config.networks.push(place.clone());
            config.links.extend(links.iter().cloned());
        });
        milestone("network-changed");
        // Who was asked may have noted it before something went wrong, or before it died.
        let is_noted = || record::find(paths, &config.id).is_ok_and(|record| record.config.networks.contains(&place));
        let noted = matches!(done, Ok(true)) || is_noted();
        if noted {
            leases.keep();
        }
        if done? || noted {
            tell(paths, "connect", &network, record);
            return Ok(());
        }
    }
}

/// `rl network disconnect`. `force`: no error where the container is not on it.
pub fn disconnect(paths: &Paths, wanted: &str, network: &str, force: bool) -> Result<()> {
    let network = store::find(paths, network)?;
    loop {
        let held = hold(paths, wanted)?;
        let record = held.record();
        let Some(place) = record.config.networks.iter().find(|place| place.network_id == network.id) else {
            if force {
                return Ok(());
            }
            bail!("container \"{}\" is not on the network \"{}\"", record.config.name, network.name);
        };
        let leave = FromClient::ClientLeave(network.id.clone());
        let done = held.change(&leave, |config| config.networks.retain(|other| other != place))?;
        milestone("network-changed");
        if done {
            leases::release(record::open_directory(&paths.store)?.as_fd(), &record.config.id, place);
            tell(paths, "disconnect", &network, record);
            return Ok(());
        }
    }
}

/// As Docker: an event of the network.
fn tell(paths: &Paths, action: &str, network: &Definition, record: &Record) {
    let attributes = [("container", record.config.id.as_str()), ("name", &network.name), ("type", "bridge")];
    events::of_object(&paths.store, "network", action, &network.id, &attributes);
}
