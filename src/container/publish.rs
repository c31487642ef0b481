//! `rl port add` and `rl port rm`: which ports of a running container are published.

use std::os::fd::{AsFd, BorrowedFd};

use anyhow::{Result, anyhow, bail};

use super::control;
use super::launch;
use super::record::Record;
use super::wire::FromClient;
use crate::error::Advise;
use crate::network::NetworkMode;
use crate::network::ports::{PortMapping, Published, Wish};

/// Publishes them, all or none; returns what they are published as.
pub fn add(record: &Record, wishes: Vec<Wish>) -> Result<Vec<PortMapping>> {
    check(record)?;
    let published = launch::bind(&record.config.network, wishes)?;
    let mappings: Vec<PortMapping> = published.iter().map(|published| published.mapping.clone()).collect();
    let mut done: Vec<&PortMapping> = Vec::new();
    for Published { socket, mapping } in published {
        // slirp4netns binds it itself.
        let socket = (!matches!(record.config.network, NetworkMode::Slirp(_))).then_some(socket);
        let sockets: Vec<BorrowedFd> = socket.iter().map(|socket| socket.as_fd()).collect();
        if let Err(error) = control::tell_with(record, &FromClient::ClientPublish(mapping.clone()), &sockets) {
            for mapping in done {
                let _ = control::tell(record, &FromClient::ClientWithdraw(mapping.clone()));
            }
            return Err(error);
        }
        done.extend(mappings.iter().find(|known| **known == mapping));
    }
    Ok(mappings)
}

/// Publishes them no longer: every port that one of the wishes could have become.
pub fn remove(record: &Record, wishes: &[Wish]) -> Result<()> {
    check(record)?;
    let found =
        |wish: &Wish| -> Vec<&PortMapping> { record.config.ports.iter().filter(|mapping| is_of(mapping, wish)).collect() };
    if let Some(wish) = wishes.iter().find(|wish| found(wish).is_empty()) {
        let port = format!("{}/{}", wish.container_port, wish.protocol);
        bail!("container \"{}\" does not publish its port {port} so", record.config.name);
    }
    for mapping in wishes.iter().flat_map(found) {
        control::tell(record, &FromClient::ClientWithdraw(mapping.clone()))?;
    }
    Ok(())
}

fn is_of(mapping: &PortMapping, wish: &Wish) -> bool {
    let (first, last) = wish.host_ports;
    (mapping.container_port, mapping.protocol) == (wish.container_port, wish.protocol)
        && (first == 0 || (first..=last).contains(&mapping.host_port))
        && wish.host_ip.is_none_or(|ip| mapping.host().ip() == ip)
}

fn check(record: &Record) -> Result<()> {
    let name = &record.config.name;
    if !record.alive || !record.state.status.has_processes() {
        bail!("container \"{name}\" is not running");
    }
    match &record.config.network {
        NetworkMode::Gateway { .. } | NetworkMode::Slirp(_) | NetworkMode::User(_) => Ok(()),
        NetworkMode::Pasta(_) => Err(anyhow!("cannot change the ports of \"{name}\": pasta takes them at the start only"))
            .hint(|| "the network gateway, which is the default, can change them while the container runs"),
        other => Err(anyhow!("container \"{name}\" has the network {other}, which publishes nothing")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::ports::parse;

    #[test]
    fn a_port_is_found_by_what_it_could_have_been_asked_for_as() {
        let mapping: PortMapping =
            serde_json::from_str(r#"{"hostIp":"127.0.0.1","hostPort":8080,"containerPort":80,"protocol":"tcp"}"#).unwrap();
        let is = |text: &str| is_of(&mapping, &parse(text).unwrap().0[0]);
        assert!(is("80") && is("8080:80") && is("127.0.0.1::80") && is("8000-8100:80") && is("127.0.0.1:8080:80/tcp"));
        assert!(!is("81") && !is("8081:80") && !is("[::1]::80") && !is("80/udp"));
    }
}
