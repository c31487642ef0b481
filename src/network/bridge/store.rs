//! The networks of a store: made, found, removed. One directory each, which appears and disappears by a rename.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use super::leases;
use crate::error::Advise;
use crate::host::paths::{Paths, make_dirs};
use crate::network::Method;
use crate::network::subnet::{self, Subnet};

/// A user-defined network (`config.json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Definition {
    /// 64 hex digits.
    pub id: String,
    pub name: String,
    /// RFC 3339.
    pub created: String,
    pub v4: Pool,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub v6: Option<Pool>,
    /// Nobody on it reaches anything but the others on it.
    pub internal: bool,
    /// As they were given; see [`check_options`].
    pub options: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
}

/// The addresses of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    pub subnet: Subnet,
    pub gateway: IpAddr,
    /// Where the addresses come from that nobody asks for in particular.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub range: Option<Subnet>,
}

/// What `rl network create` asks for.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub name: String,
    pub subnets: Vec<Subnet>,
    pub gateways: Vec<IpAddr>,
    pub ranges: Vec<Subnet>,
    pub ipv6: bool,
    pub internal: bool,
    pub options: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
}

const CONFIG: &str = "config.json";
/// Names that mean something else to `--network`.
const RESERVED: [&str; 12] =
    ["bridge", "container", "default", "gateway", "host", "none", "ns", "pasta", "private", "slirp4netns", "nat", "null"];

/// A name that a network can have, in the grammar of containers' names.
pub fn check_name(name: &str) -> Result<()> {
    let is_char = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(is_char) || name.len() > 128 {
        bail!("bad network name \"{name}\": want letters, digits, and after the first also . _ -");
    }
    if RESERVED.contains(&name) {
        bail!("a network cannot be named \"{name}\": that means something else to --network");
    }
    Ok(())
}

/// Docker's name of the option for the MTU, and Podman's.
const MTU: [&str; 2] = ["com.docker.network.driver.mtu", "mtu"];
/// What links are made for that nobody set one for: nothing of this leaves the machine as such.
const DEFAULT_MTU: u32 = 65520;

/// The option for the gateway's method.
const METHOD: &str = "method";

/// Refuses options that would do nothing.
pub fn check_options(options: &BTreeMap<String, String>) -> Result<()> {
    for (name, value) in options {
        if name == METHOD {
            value.parse::<Method>().map_err(|error| anyhow!("bad network option {name}={value}: {error}"))?;
            continue;
        }
        if !MTU.contains(&name.as_str()) {
            return Err(anyhow!("unknown network option \"{name}\"")).hint(|| "there are mtu=BYTES and method=tproxy|anyip");
        }
        if !value.parse::<u32>().is_ok_and(|mtu| (1280..=65535).contains(&mtu)) {
            bail!("bad network option {name}={value}: want 1280 to 65535");
        }
    }
    Ok(())
}

impl Definition {
    /// The links' MTU.
    pub fn mtu(&self) -> u32 {
        MTU.iter().find_map(|name| self.options.get(*name)?.parse().ok()).unwrap_or(DEFAULT_MTU)
    }

    /// How its gateway is to have the containers' packets, where it is not the best that works.
    pub fn method(&self) -> Option<Method> {
        self.options.get(METHOD)?.parse().ok()
    }

    /// IPv4's, then IPv6's.
    pub fn pools(&self) -> impl Iterator<Item = &Pool> {
        std::iter::once(&self.v4).chain(&self.v6)
    }

    /// Its directory in the store.
    pub fn directory(&self, paths: &Paths) -> PathBuf {
        paths.networks().join(&self.name)
    }

    /// Twelve digits, as listings print it.
    pub fn short_id(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }
}

/// Makes a network; `id` is to be its id, `owner` root of U, to whom the leases belong. None: there is one of that name.
pub fn create(paths: &Paths, wanted: &Wanted, id: String, created: String, owner: (u32, u32)) -> Result<Option<Definition>> {
    let purpose = || format!("cannot create network \"{}\"", wanted.name);
    check_name(&wanted.name)?;
    check_options(&wanted.options)?;
    let all = paths.networks();
    make_dirs(&all, 0o711)?;
    give(&all, owner)?;
    let _lock = lock(&all)?;
    clear(&all)?;
    if all.join(&wanted.name).exists() {
        return Ok(None);
    }
    let taken: Vec<Subnet> =
        list(paths)?.iter().flat_map(|network| network.pools().map(|p| p.subnet).collect::<Vec<_>>()).collect();
    let (v4, v6) = pools(wanted, &taken).with_context(purpose)?;
    let Wanted { name, internal, options, labels, .. } = wanted.clone();
    let network = Definition { id, name, created, v4, v6, internal, options, labels };
    let new = all.join(format!(".new-{}", network.name));
    let make = || -> Result<()> {
        make_dirs(&new.join(leases::DIRECTORY), 0o711)?;
        File::create(new.join(CONFIG))?.write_all(&serde_json::to_vec(&network)?)?;
        for path in [new.clone(), new.join(leases::DIRECTORY), new.join(CONFIG)] {
            give(&path, owner)?;
        }
        Ok(fs::rename(&new, network.directory(paths))?)
    };
    make().with_context(purpose)?;
    Ok(Some(network))
}

/// What was asked for, completed, and checked against the subnets that are `taken`.
fn pools(wanted: &Wanted, taken: &[Subnet]) -> Result<(Pool, Option<Pool>)> {
    let one = |v4: bool| -> Result<Option<Subnet>> {
        let mut of_family = wanted.subnets.iter().filter(|subnet| subnet.is_ipv4() == v4);
        match (of_family.next(), of_family.next()) {
            (_, Some(_)) => bail!("more than one subnet of a family is not supported"),
            (one, None) => Ok(one.copied()),
        }
    };
    let (asked4, asked6) = (one(true)?, one(false)?);
    if asked6.is_some() && !wanted.ipv6 {
        return Err(anyhow!("an IPv6 subnet on a network without IPv6")).hint(|| "add --ipv6");
    }
    for subnet in asked4.iter().chain(&asked6) {
        let (least, most) = if subnet.is_ipv4() { (4, 30) } else { (16, 126) };
        if !(least..=most).contains(&subnet.prefix()) {
            bail!("the subnet {subnet} cannot be used: its prefix must be {least} to {most}");
        }
        if let Some(other) = taken.iter().find(|other| other.overlaps(*subnet)) {
            bail!("the subnet {subnet} overlaps with {other} of another network");
        }
    }
    let v4 = match asked4 {
        Some(subnet) => subnet,
        None => {
            let mut taken = taken.to_vec();
            taken.extend(subnet::routed(&fs::read_to_string("/proc/net/route").unwrap_or_default()));
            subnet::free_ipv4(&taken).context("every subnet that networks get by themselves is taken").hint(|| "--subnet")?
        }
    };
    let v6 = match (asked6, wanted.ipv6) {
        (None, true) => Some(random_ipv6()?),
        (asked, _) => asked,
    };
    let pool = |subnet: Subnet| -> Result<Pool> {
        let of_subnet = |address: &&IpAddr| subnet.is_ipv4() == address.is_ipv4();
        let gateway = wanted.gateways.iter().find(of_subnet).copied();
        let range = wanted.ranges.iter().find(|range| range.is_ipv4() == subnet.is_ipv4()).copied();
        let gateway = gateway.or_else(|| subnet.nth(1)).context("the subnet is too small")?;
        if !subnet.is_host(gateway) {
            bail!("the gateway {gateway} is no address of the subnet {subnet}");
        }
        if let Some(range) = range.filter(|range| !subnet.covers(*range)) {
            bail!("the range {range} is not in the subnet {subnet}");
        }
        Ok(Pool { subnet, gateway, range })
    };
    let pools = (pool(v4)?, v6.map(pool).transpose()?);
    let has_v6 = pools.1.is_some();
    let homeless = wanted.gateways.iter().find(|ip| ip.is_ipv6() && !has_v6).map(ToString::to_string);
    let homeless = homeless.or_else(|| wanted.ranges.iter().find(|r| !r.is_ipv4() && !has_v6).map(ToString::to_string));
    if let Some(homeless) = homeless {
        return Err(anyhow!("{homeless} on a network without IPv6")).hint(|| "add --ipv6");
    }
    for v4 in [true, false] {
        let gateways = wanted.gateways.iter().filter(|gateway| gateway.is_ipv4() == v4).count();
        let ranges = wanted.ranges.iter().filter(|range| range.is_ipv4() == v4).count();
        if gateways > 1 || ranges > 1 {
            bail!("more than one gateway or range of a family is not supported");
        }
    }
    Ok(pools)
}

fn random_ipv6() -> Result<Subnet> {
    let mut random = [0; 5];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut random)).context("cannot read /dev/urandom")?;
    Ok(subnet::local_ipv6(random))
}

/// Every network, by name.
pub fn list(paths: &Paths) -> Result<Vec<Definition>> {
    let entries = match fs::read_dir(paths.networks()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.with_context(|| format!("cannot read {}", paths.networks().display()))?,
    };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut networks = Vec::new();
    for name in names.filter(|name| !name.starts_with('.')) {
        networks.extend(read(&paths.networks().join(name))?);
    }
    networks.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(networks)
}

fn read(directory: &Path) -> Result<Option<Definition>> {
    let bytes = match fs::read(directory.join(CONFIG)) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
        other => other.with_context(|| format!("cannot read {}", directory.join(CONFIG).display()))?,
    };
    let damaged = || format!("{} is damaged", directory.join(CONFIG).display());
    serde_json::from_slice(&bytes).map(Some).with_context(damaged)
}

/// Finds a network by name, by id, or by the beginning of an id that only one has.
pub fn find(paths: &Paths, wanted: &str) -> Result<Definition> {
    if check_name(wanted).is_ok()
        && let Some(network) = read(&paths.networks().join(wanted))?
    {
        return Ok(network);
    }
    let mut found = list(paths)?.into_iter().filter(|network| !wanted.is_empty() && network.id.starts_with(wanted));
    match (found.next(), found.next()) {
        (Some(network), None) => Ok(network),
        (Some(_), Some(_)) => bail!("more than one network's id begins with {wanted}"),
        (None, _) => Err(anyhow!("no such network: {wanted}")).hint(|| "rl network ls"),
    }
}

/// Removes a network that no container uses.
pub fn remove(paths: &Paths, network: &Definition) -> Result<()> {
    let all = paths.networks();
    let _lock = lock(&all)?;
    clear(&all)?;
    // Exclusive: nobody is in the middle of taking an address.
    let _leases = lock(&network.directory(paths))?;
    let users: Vec<String> = leases::holders(paths, network)?.into_keys().map(|id| id.chars().take(12).collect()).collect();
    if !users.is_empty() {
        return Err(anyhow!("network \"{}\" is in use by container {}", network.name, users.join(", ")))
            .hint(|| format!("rl rm {}", users.join(" ")));
    }
    let old = all.join(format!(".rm-{}", network.name));
    fs::rename(network.directory(paths), &old).with_context(|| format!("cannot remove network \"{}\"", network.name))?;
    let _ = fs::remove_dir_all(&old);
    Ok(())
}

/// What killed processes left half made or half removed.
fn clear(all: &Path) -> Result<()> {
    for entry in fs::read_dir(all).context("cannot read the networks")?.flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    Ok(())
}

fn lock(directory: &Path) -> Result<File> {
    let file = File::open(directory).with_context(|| format!("cannot open {}", directory.display()))?;
    file.lock().with_context(|| format!("cannot lock {}", directory.display()))?;
    Ok(file)
}

/// To root of U, where that is somebody else: the caller is root on the host.
fn give(path: &Path, (uid, gid): (u32, u32)) -> Result<()> {
    if uid == nix::unistd::geteuid().as_raw() {
        return Ok(());
    }
    std::os::unix::fs::chown(path, Some(uid), Some(gid))
        .with_context(|| format!("cannot give {} to container root", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(subnets: &[&str], gateways: &[&str], ranges: &[&str]) -> Wanted {
        Wanted {
            name: "net".into(),
            subnets: subnets.iter().map(|text| text.parse().unwrap()).collect(),
            gateways: gateways.iter().map(|text| text.parse().unwrap()).collect(),
            ranges: ranges.iter().map(|text| text.parse().unwrap()).collect(),
            ipv6: subnets.iter().any(|text| text.contains("::")),
            ..Wanted::default()
        }
    }

    #[test]
    fn a_network_is_completed_with_its_first_address_as_the_gateway() {
        let (v4, v6) = pools(&wanted(&["10.7.0.0/16", "fd07::/64"], &[], &["10.7.8.0/24"]), &[]).unwrap();
        assert_eq!((v4.gateway.to_string(), v4.range.unwrap().to_string()), ("10.7.0.1".into(), "10.7.8.0/24".into()));
        assert_eq!(v6.unwrap().gateway.to_string(), "fd07::1");
        let (own, _) = pools(&wanted(&["10.7.0.0/16"], &["10.7.0.254"], &[]), &[]).unwrap();
        assert_eq!(own.gateway.to_string(), "10.7.0.254");
        let taken = [own.subnet];
        assert!(!pools(&wanted(&[], &[], &[]), &taken).unwrap().0.subnet.overlaps(taken[0]));
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let refused = |wanted: Wanted| pools(&wanted, &["10.9.0.0/16".parse().unwrap()]).is_err();
        assert!(refused(wanted(&["10.9.1.0/24"], &[], &[])), "overlap");
        assert!(refused(wanted(&["10.7.0.0/24"], &["10.8.0.1"], &[])), "a gateway elsewhere");
        assert!(refused(wanted(&["10.7.0.0/24"], &["10.7.0.255"], &[])), "the broadcast address");
        assert!(refused(wanted(&["10.7.0.0/24"], &[], &["10.7.0.0/23"])), "a range beyond");
        assert!(refused(wanted(&["10.7.0.0/31"], &[], &[])), "too small");
        assert!(refused(wanted(&["10.7.0.0/24", "10.8.0.0/24"], &[], &[])), "two of a family");
        assert!(refused(wanted(&["10.7.0.0/24"], &["fd07::1"], &[])), "IPv6 on a network without");
        assert!(refused(Wanted { ipv6: false, ..wanted(&["fd07::/64"], &[], &[]) }));
    }

    #[test]
    fn names_are_as_those_of_containers_and_none_that_means_something() {
        for name in ["web", "a.b_c-d", "0"] {
            check_name(name).unwrap();
        }
        for name in ["", "-a", ".a", "a/b", "host", "gateway", "ü"] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn of_options_only_those_that_do_something_are_taken() {
        let options = |name: &str, value: &str| BTreeMap::from([(name.to_string(), value.to_string())]);
        check_options(&options("mtu", "1500")).unwrap();
        check_options(&options("com.docker.network.driver.mtu", "9000")).unwrap();
        check_options(&options("method", "anyip")).unwrap();
        for (name, value) in [("mtu", "1"), ("mtu", "x"), ("method", "x"), ("isolate", "true")] {
            assert!(check_options(&options(name, value)).is_err(), "{name}={value}");
        }
    }
}
