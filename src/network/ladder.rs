//! Which network a container has that asked for none in particular: the best that this host allows.
//!
//! ```text
//! gateway (TPROXY)   the kernel has nftables' tproxy and lets users' namespaces use it: tried once per boot
//! gateway (AnyIP)    nftables without it
//! pasta              the program, and /dev/net/tun open to the caller
//! slirp4netns        the same
//! ```
//!
//! The trial is the gateway's own first step, in a user namespace that ends with it: what it cannot do there it could not do for a
//! container. What came of it is kept in the runtime directory (`network.json`), under this boot's id.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use super::mode::{Gateway, Method, NetworkMode, Pasta, Slirp};
use super::{carrier, driver, embedded};
use crate::error::{Advise, Failure};
use crate::host::debug;
use crate::host::facts::boot_id;
use crate::sys::process::{self, Fork, ns};
use crate::sys::sock;

const CACHE: &str = "network.json";

/// What is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Tried {
    boot_id: String,
    /// How the gateway works, if at all.
    method: Option<Method>,
    /// Why it does not in a better way.
    failed: Vec<String>,
}

/// One rung of the ladder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rung {
    pub network: &'static str,
    pub usable: bool,
    /// What it has, or why it cannot be used.
    pub why: String,
}

/// What a container gets by default; `network`: what was asked for.
pub fn choose(network: Option<&NetworkMode>, runtime: &Path) -> Result<NetworkMode> {
    if let Some(network) = network {
        return Ok(network.clone());
    }
    let begun = std::time::Instant::now();
    let tried = tried(runtime)?;
    debug::tell(|| format!("network: {} ({} µs)", tried.words(), begun.elapsed().as_micros()));
    if tried.method.is_some() {
        // Which way is left to the gateway itself, at each start: another kernel may have another.
        return Ok(NetworkMode::Gateway(Gateway::default()));
    }
    let rungs = climb(&tried);
    rungs.iter().for_each(|rung| debug::tell(|| format!("network: {}: {}", rung.network, rung.why)));
    match rungs.iter().find(|rung| rung.usable) {
        Some(rung) => rung.network.parse(),
        None => {
            let why: Vec<String> = rungs.iter().map(|rung| format!("{}: {}", rung.network, rung.why)).collect();
            Err(anyhow!("no network can be made for containers here ({})", why.join("; ")))
                .hint(|| "--network none, or --network host to share the host's")
        }
    }
}

/// Every rung, best first; the first usable one is the default.
pub fn survey(runtime: &Path) -> Result<Vec<Rung>> {
    tried(runtime).map(|tried| climb(&tried))
}

fn climb(tried: &Tried) -> Vec<Rung> {
    let driver = |network, mode: NetworkMode| {
        let checked = driver::check(&mode);
        let why = checked.as_ref().map_or_else(|error| format!("{error:#}"), |()| "with /dev/net/tun".to_string());
        Rung { network, usable: checked.is_ok(), why }
    };
    vec![
        Rung { network: "gateway", usable: tried.method.is_some(), why: tried.words() },
        driver("pasta", NetworkMode::Pasta(Pasta::default())),
        driver("slirp4netns", NetworkMode::Slirp(Slirp::default())),
    ]
}

impl Tried {
    fn words(&self) -> String {
        let families =
            if Path::new("/proc/sys/net/ipv6").exists() { "IPv4 and IPv6" } else { "IPv4 only: the kernel has no IPv6" };
        let failed = self.failed.join("; ");
        match self.method {
            None => failed,
            Some(Method::Tproxy) => format!("TPROXY, {families}"),
            Some(Method::AnyIp) => format!("AnyIP, {families}; no TPROXY: {failed}"),
        }
    }
}

/// From the cache, or by trying.
fn tried(runtime: &Path) -> Result<Tried> {
    let boot_id = boot_id();
    if let Some(known) = known(runtime, &boot_id) {
        return Ok(known);
    }
    let mut tried = Tried { boot_id, method: None, failed: Vec::new() };
    for method in Method::ALL {
        match attempt(method)? {
            Ok(()) => {
                tried.method = Some(method);
                break;
            }
            // A reason that is not the method's is one for all.
            Err(failure) if tried.failed.contains(&failure.message) => {}
            Err(failure) => tried.failed.push(failure.message),
        }
    }
    keep(runtime, &tried)?;
    Ok(tried)
}

fn known(runtime: &Path, boot_id: &str) -> Option<Tried> {
    let tried: Tried = serde_json::from_slice(&fs::read(runtime.join(CACHE)).ok()?).ok()?;
    (tried.boot_id == boot_id).then_some(tried)
}

/// Where it cannot be kept it is tried again. Whole or not at all: another may read it at this moment.
fn keep(runtime: &Path, tried: &Tried) -> Result<()> {
    let new = runtime.join(format!(".{CACHE}.{}", std::process::id()));
    let _ = fs::write(&new, serde_json::to_vec(tried)?).and_then(|()| fs::rename(&new, runtime.join(CACHE)));
    Ok(())
}

/// Makes a gateway's namespace, in a child. The inner result is the gateway's.
fn attempt(method: Method) -> Result<Result<(), Failure>> {
    let (ours, childs) = sock::pair().context("cannot create a socket pair")?;
    match process::fork(ns::USER) {
        // It is told by everything else as well, and there better.
        Err(error) => Ok(Err(Failure::from(&anyhow::Error::new(error).context("cannot create a user namespace")))),
        Ok(Fork::Child) => {
            carrier::report(childs.as_fd(), &embedded::probe(method));
            process::exit_now(0)
        }
        Ok(Fork::Parent(child)) => {
            drop(childs);
            let told = carrier::connected(ours.as_fd());
            if child.wait().is_err() {
                bail!("cannot wait for the trial of the gateway");
            }
            Ok(told.map_err(|error| Failure::from(&error)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_tried_is_known_until_the_next_boot() {
        let runtime = std::env::temp_dir().join(format!("rl-ladder-{}", std::process::id()));
        fs::create_dir_all(&runtime).unwrap();
        let without = Tried { boot_id: "this".into(), method: None, failed: vec!["no tproxy".into()] };
        assert_eq!(known(&runtime, "this"), None);
        keep(&runtime, &without).unwrap();
        assert_eq!(known(&runtime, "this").as_ref(), Some(&without));
        assert_eq!(known(&runtime, "the next"), None);
        fs::write(runtime.join(CACHE), "{").unwrap();
        assert_eq!(known(&runtime, "this"), None);
        assert!(!climb(&without)[0].usable && climb(&without)[0].why == "no tproxy");
        let second = Tried { method: Some(Method::AnyIp), ..without };
        assert!(climb(&second)[0].usable && climb(&second)[0].why.starts_with("AnyIP, IPv4"));
        let asked = NetworkMode::None;
        assert_eq!(choose(Some(&asked), &runtime).unwrap(), asked);
        fs::remove_dir_all(&runtime).unwrap();
    }
}
