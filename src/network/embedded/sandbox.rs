//! What the gateway gives up before the first packet: it handles whatever a container sends, so a mistake in it must be worth little.
//!
//! Gone for good: every capability (the thread in G keeps CAP_NET_RAW, for transparent sockets), the gain of others by execve, and by
//! Landlock all files but the directories of resolv.conf, to read, as well as signals and abstract sockets of processes outside.

use std::path::PathBuf;

use anyhow::{Context, Result};
use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr, Scope, path_beneath_rules,
};

use crate::sys::{caps, process};

/// capabilities(7).
const CAP_NET_RAW: u32 = 13;

/// For the thread that makes sockets in G.
pub fn restrict_maker() -> Result<()> {
    restrict(1 << CAP_NET_RAW, &[])
}

/// For the thread that moves the bytes; `readable` are directories.
pub fn restrict_mover(readable: &[PathBuf]) -> Result<()> {
    restrict(0, readable)
}

fn restrict(capabilities: u64, readable: &[PathBuf]) -> Result<()> {
    caps::set(capabilities).context("cannot drop the gateway's capabilities")?;
    process::set_no_new_privs().context("cannot give up new privileges")?;
    // A kernel without Landlock, or with less of it, takes what it knows: the rest holds all the same.
    let abi = ABI::V6;
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))
        .and_then(|rules| rules.scope(Scope::from_all(abi)))
        .and_then(Ruleset::create)
        .and_then(|rules| rules.add_rules(path_beneath_rules(readable, AccessFs::from_read(abi))))
        .and_then(|rules| rules.restrict_self())
        .map(drop)
        .context("cannot confine the gateway by Landlock")
}
