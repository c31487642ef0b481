//! Who has which address of a network: a symlink for each, to the container's id. The kernel sees to it that none is given twice.
//!
//! Whoever takes addresses holds the network's directory locked (shared) until the container's record says so, so that under the exclusive
//! lock an address that no record names is one that a killed process left.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use nix::fcntl::readlinkat;
use nix::unistd::{UnlinkatFlags, unlinkat};
use serde::{Deserialize, Serialize};

use super::join::{self, Join, Mac};
use super::store::{Definition, Pool};
use crate::error::Advise;
use crate::host::paths::Paths;
use crate::network::Method;

/// In the network's directory.
pub const DIRECTORY: &str = "leases";

/// A container's place on a network, as its record keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attachment {
    pub network: String,
    pub network_id: String,
    /// In the container.
    pub interface: String,
    pub v4: Place,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub v6: Option<Place>,
    pub mac: String,
    pub mtu: u32,
    pub internal: bool,
    /// How the network's gateway has its packets.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub method: Option<Method>,
    /// Names beside the container's own.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub aliases: Vec<String>,
}

/// An address of one family, and the way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub address: IpAddr,
    pub prefix: u8,
    pub gateway: IpAddr,
}

impl Attachment {
    /// IPv4's, then IPv6's.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        std::iter::once(&self.v4).chain(&self.v6)
    }
}

/// Addresses that a container to be has taken. Dropped before [`keep`](Leases::keep), they are given back.
#[derive(Debug, Default)]
pub struct Leases {
    taken: Vec<PathBuf>,
    /// Held until there is a record.
    locks: Vec<File>,
}

impl Leases {
    /// Takes addresses of a network for the container `id` and its interface of this name.
    pub fn take(
        &mut self,
        paths: &Paths,
        network: &Definition,
        id: &str,
        wanted: &Join,
        interface: String,
    ) -> Result<Attachment> {
        let purpose = || format!("cannot join network \"{}\"", network.name);
        self.locks.push(lock(paths, network).with_context(purpose)?);
        let v4 = self.place(paths, network, &network.v4, id, wanted.v4.map(IpAddr::from)).with_context(purpose)?;
        let v6 = match (&network.v6, wanted.v6) {
            (None, Some(_)) => {
                let error = anyhow!("{}: it has no IPv6", purpose());
                return Err(error).hint(|| "rl network create --ipv6");
            }
            (None, None) => None,
            (Some(pool), asked) => Some(self.place(paths, network, pool, id, asked.map(IpAddr::from)).with_context(purpose)?),
        };
        Ok(Attachment {
            network: network.name.clone(),
            network_id: network.id.clone(),
            interface,
            mac: join::show_mac(wanted.mac.unwrap_or_else(|| mac_of(v4.address))),
            v4,
            v6,
            mtu: network.mtu(),
            internal: network.internal,
            method: network.method(),
            aliases: wanted.aliases.clone(),
        })
    }

    fn place(&mut self, paths: &Paths, network: &Definition, pool: &Pool, id: &str, asked: Option<IpAddr>) -> Result<Place> {
        let directory = network.directory(paths).join(DIRECTORY);
        let mut taken = Vec::new();
        let mut take = |address: IpAddr| -> Result<bool> {
            let lease = directory.join(address.to_string());
            match symlink(id, &lease) {
                Ok(()) => taken.push(lease),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
                Err(error) => return Err(error).with_context(|| format!("cannot take the address {address}")),
            }
            Ok(true)
        };
        let mut find = || match asked {
            Some(address) if !pool.subnet.is_host(address) => bail!("{address} is no address of its subnet {}", pool.subnet),
            Some(address) if address == pool.gateway => bail!("{address} is its gateway"),
            Some(address) => Ok(take(address)?.then_some(address)),
            None => {
                let within = pool.range.unwrap_or(pool.subnet);
                pool.subnet.first_free(within, |address| if address == pool.gateway { Ok(false) } else { take(address) })
            }
        };
        let mut found = find()?;
        if found.is_none() && self.sweep(paths, network)? {
            found = find()?;
        }
        self.taken.extend(taken);
        let refused = || match asked {
            Some(address) => {
                let holder = fs::read_link(directory.join(address.to_string())).unwrap_or_default();
                let short: String = holder.to_string_lossy().chars().take(12).collect();
                anyhow!("the address {address} is in use by container {short}")
            }
            None => anyhow!("no address of {} is free", pool.range.unwrap_or(pool.subnet)),
        };
        let address = found.ok_or_else(refused)?;
        Ok(Place { address, prefix: pool.subnet.prefix(), gateway: pool.gateway })
    }

    /// Takes away what killed processes have left; true when something was. Waits while others create containers.
    fn sweep(&mut self, paths: &Paths, network: &Definition) -> Result<bool> {
        let Some(shared) = self.locks.pop() else { return Ok(false) };
        // Not upgraded: two that hold it shared and want it exclusively would wait for each other.
        drop(shared);
        let exclusive = File::open(network.directory(paths)).context("cannot open the network")?;
        exclusive.lock().context("cannot lock the network")?;
        let mut any = false;
        for entry in fs::read_dir(network.directory(paths).join(DIRECTORY)).context("cannot read the leases")?.flatten() {
            let holder = fs::read_link(entry.path()).unwrap_or_default();
            let own = self.taken.contains(&entry.path());
            let address = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if !own && !address.is_some_and(|address| is_named(paths, network, &holder, address)) {
                any |= fs::remove_file(entry.path()).is_ok();
            }
        }
        drop(exclusive);
        self.locks.push(lock(paths, network)?);
        // Another may have done the same in between, and our addresses have no record yet.
        if !self.taken.iter().all(|lease| lease.symlink_metadata().is_ok()) {
            bail!("other containers were given the addresses meanwhile");
        }
        Ok(any)
    }

    /// The container has a record, which says what it has.
    pub fn keep(mut self) {
        self.taken.clear();
    }
}

impl Drop for Leases {
    fn drop(&mut self) {
        for lease in &self.taken {
            let _ = fs::remove_file(lease);
        }
    }
}

/// The network's directory, locked against removal; still there.
fn lock(paths: &Paths, network: &Definition) -> Result<File> {
    let path = network.directory(paths);
    let gone = || anyhow!("no such network: {}", network.name);
    let file = File::open(&path).map_err(|_| gone())?;
    file.lock_shared().context("cannot lock the network")?;
    let same = fs::metadata(&path).is_ok_and(|there| file.metadata().is_ok_and(|locked| locked.ino() == there.ino()));
    if same { Ok(file) } else { Err(gone()) }
}

/// Whether the container's record says that it has this address. One that cannot be understood may say so.
fn is_named(paths: &Paths, network: &Definition, id: &Path, address: IpAddr) -> bool {
    #[derive(Deserialize)]
    struct Kept {
        #[serde(default)]
        networks: Vec<Attachment>,
    }
    let Ok(text) = fs::read(paths.containers().join(id).join("config.json")) else { return false };
    let is_it = |place: &Attachment| place.network_id == network.id && place.places().any(|place| place.address == address);
    serde_json::from_slice(&text).map_or(true, |kept: Kept| kept.networks.iter().any(is_it))
}

/// Locally administered, and as unique as the address within its network.
fn mac_of(address: IpAddr) -> Mac {
    let [a, b, c, d] = match address {
        IpAddr::V4(v4) => v4.octets(),
        IpAddr::V6(v6) => (u128::from(v6) as u32).to_be_bytes(),
    };
    [0x02, 0x42, a, b, c, d]
}

/// Gives an address of the container `id` back; for whoever has only the store's directory.
pub fn release(store: BorrowedFd, id: &str, attachment: &Attachment) {
    for place in attachment.places() {
        let lease = format!("networks/{}/{DIRECTORY}/{}", attachment.network, place.address);
        if readlinkat(store, lease.as_str()).is_ok_and(|holder| holder == id) {
            let _ = unlinkat(store, lease.as_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}

/// The containers that have addresses of a network, by id. What no record names is nobody's any more.
pub fn holders(paths: &Paths, network: &Definition) -> Result<BTreeMap<String, Vec<IpAddr>>> {
    let directory = network.directory(paths).join(DIRECTORY);
    let mut found: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
    for entry in fs::read_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))?.flatten() {
        let address = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let holder = fs::read_link(entry.path()).ok().and_then(|id| id.into_os_string().into_string().ok());
        if let (Some(address), Some(id)) = (address, holder)
            && is_named(paths, network, Path::new(&id), address)
        {
            found.entry(id).or_default().push(address);
        }
    }
    found.values_mut().for_each(|addresses| addresses.sort());
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::bridge::store::{self, Wanted};

    fn in_a_store(subnet: &str, test: impl FnOnce(&Paths, &Definition)) {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths { store: directory.path().join("store"), runtime: directory.path().join("run") };
        let wanted = Wanted { name: "net".into(), subnets: vec![subnet.parse().unwrap()], ..Wanted::default() };
        let owner = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        let network = store::create(&paths, &wanted, "ab".repeat(32), String::new(), owner).unwrap().unwrap();
        test(&paths, &network);
    }

    fn record(paths: &Paths, id: &str, networks: &[&Attachment]) {
        let directory = paths.containers().join(id);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("config.json"), serde_json::json!({ "id": id, "networks": networks }).to_string()).unwrap();
    }

    fn at(address: &str) -> Join {
        Join { v4: Some(address.parse().unwrap()), ..Join::default() }
    }

    #[test]
    fn an_address_is_taken_kept_and_given_back() {
        in_a_store("10.7.0.0/29", |paths, network| {
            let mut first = Leases::default();
            let a = first.take(paths, network, "a", &Join::default(), "eth0".into()).unwrap();
            assert_eq!((a.v4.address.to_string().as_str(), a.mac.as_str()), ("10.7.0.2", "02:42:0a:07:00:02"));
            record(paths, "a", &[&a]);
            first.keep();
            let mut second = Leases::default();
            assert_eq!(
                second.take(paths, network, "b", &Join::default(), "eth0".into()).unwrap().v4.address.to_string(),
                "10.7.0.3"
            );
            drop(second);
            assert_eq!(holders(paths, network).unwrap().into_keys().collect::<Vec<_>>(), ["a"]);
            assert!(store::remove(paths, network).unwrap_err().to_string().contains("in use by container a"));
            let directory = File::open(&paths.store).unwrap();
            release(std::os::fd::AsFd::as_fd(&directory), "b", &a);
            assert_eq!(holders(paths, network).unwrap().len(), 1, "it is not b's");
            release(std::os::fd::AsFd::as_fd(&directory), "a", &a);
            store::remove(paths, network).unwrap();
        });
    }

    #[test]
    fn an_address_asked_for_is_had_or_refused() {
        in_a_store("10.7.0.0/29", |paths, network| {
            let mut leases = Leases::default();
            let a = leases.take(paths, network, "a", &at("10.7.0.6"), "eth0".into()).unwrap();
            assert_eq!(a.v4.address.to_string(), "10.7.0.6");
            record(paths, "a", &[&a]);
            // Who is still creating a container is waited for.
            leases.keep();
            for address in ["10.7.0.6", "10.7.0.1", "10.7.0.0", "10.7.0.7", "10.8.0.2"] {
                assert!(Leases::default().take(paths, network, "b", &at(address), "eth0".into()).is_err(), "{address}");
            }
            let v6 = Join { v6: Some("fd00::5".parse().unwrap()), ..Join::default() };
            assert!(Leases::default().take(paths, network, "b", &v6, "eth0".into()).unwrap_err().to_string().contains("no IPv6"));
        });
    }

    #[test]
    fn what_a_killed_process_left_is_found_when_it_is_needed() {
        in_a_store("10.7.0.0/29", |paths, network| {
            let leases = network.directory(paths).join(DIRECTORY);
            // One is gone, another is there but was killed in between.
            record(paths, "left", &[]);
            for (host, holder) in (2..=6).zip(["gone", "left", "gone", "left", "gone"]) {
                symlink(holder, leases.join(format!("10.7.0.{host}"))).unwrap();
            }
            assert!(holders(paths, network).unwrap().is_empty());
            let mut one = Leases::default();
            assert_eq!(one.take(paths, network, "a", &at("10.7.0.4"), "eth0".into()).unwrap().v4.address.to_string(), "10.7.0.4");
            let mut two = Leases::default();
            drop(one);
            assert_eq!(
                two.take(paths, network, "b", &Join::default(), "eth0".into()).unwrap().v4.address.to_string(),
                "10.7.0.2"
            );
        });
    }
}
