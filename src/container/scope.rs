//! The container's cgroup between the processes: Client has it made and hands it over, Monitor sets the limits and removes it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};

use super::config::Config;
use super::options::{Cgroups, Options, Systemd};
use super::wire::{self, FromClient};
use crate::cgroup::delegate::{self, Delegation, Manager, Whose, Wish};
use crate::cgroup::limits::{self, Setting};
use crate::cgroup::systemd::ScopeRequest;
use crate::cgroup::{Cgroup, tree};
use crate::error::Advise;
use crate::host::paths::Paths;
use crate::network::bridge::connector::{Abode, Settle};
use crate::oci::runtime::Resources;
use crate::userns::idmap::{IdMaps, to_host};

/// What the flags say of the cgroup as a whole; in the record, since `start` asks again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CgroupConfig {
    /// None: whichever works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manager: Option<Manager>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// No start without one: the payload is a systemd.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
}

impl CgroupConfig {
    /// Of the flags. `--cgroups disabled` and `--cgroup-manager none` are the same.
    pub fn of(options: &Options) -> CgroupConfig {
        let manager = if options.more.cgroups == Cgroups::Disabled { Some(Manager::None) } else { options.more.cgroup_manager };
        let required = options.more.systemd == Systemd::Always;
        CgroupConfig { manager, parent: options.more.cgroup_parent.clone(), required }
    }
}

/// The writes that the record asks for.
pub fn settings(config: &Config) -> Result<Vec<Setting>> {
    limits::settings(&config.spec.linux.resources)
}

/// Monitor, while the container runs: from one set of limits to another.
pub fn update(scope: Option<&mut Scope>, old: &Resources, new: &Resources) -> Result<()> {
    let changes = limits::changes(old, new)?;
    match scope {
        _ if changes.is_empty() => Ok(()),
        Some(scope) => scope.cgroup.update(&changes),
        None => Err(anyhow!("cannot be limited: it has no cgroup of its own")).hint(|| "rl info says why there is none"),
    }
}

/// Client, before it clones Monitor: who will make the cgroup. `owner`: root of U. That there is none is told to who could expect one
/// each time, and to others once.
pub fn begin(config: &Config, paths: &Paths, owner: (u32, u32)) -> Result<Delegation> {
    let pids = config.spec.linux.resources.pids.as_ref().map(|pids| pids.limit);
    let delegation = delegate::begin(
        nix::unistd::geteuid().as_raw(),
        Wish {
            whose: Whose::Container,
            name: config.name.clone(),
            id: config.id.clone(),
            manager: config.cgroup.manager,
            parent: config.cgroup.parent.clone(),
            required: config.cgroup.required,
            settings: settings(config)?,
            tasks_max: delegate::tasks_max(pids),
            owner,
        },
    )?;
    if let Delegation::None(Some(lack)) = &delegation
        && (lack.unexpected || paths.first_time("cgroup-warned"))
    {
        eprintln!("rl: running without a cgroup: {} (try: {})", lack.why, lack.cure);
    }
    Ok(delegation)
}

/// Client, once the cgroup is needed: waits for it and hands it over. Monitor waits for this message when [`Delegation::is_some`].
pub fn hand_over(delegation: Delegation, monitor: i32, owner: (u32, u32), conversation: &OwnedFd) -> Result<()> {
    if !delegation.is_some() {
        return Ok(());
    }
    let base = delegation.finish(monitor)?;
    if let Some(base) = base.as_ref().filter(|_| owner.0 != nix::unistd::geteuid().as_raw()) {
        tree::give(base.directory.as_fd(), owner)?;
    }
    let fds = base.iter().flat_map(|base| [Some(base.directory.as_fd()), base.parent.as_ref().map(|fd| fd.as_fd())]);
    let fds: Vec<BorrowedFd> = fds.flatten().collect();
    let path = base.as_ref().map(|base| base.path.clone());
    let uid = nix::unistd::geteuid().as_raw();
    // A Monitor that died is noticed by the end of the conversation.
    let _ = wire::send(conversation, &FromClient::ClientScoped { path, uid }, &fds);
    Ok(())
}

/// Monitor's part: the cgroup and its path, where there is one.
pub struct Scope {
    pub cgroup: Cgroup,
    /// Below the mount of cgroup v2.
    pub path: String,
    /// Whose session it is of.
    uid: u32,
}

/// Where the hubs are to live that this container starts: others will need them when it is gone, and its cgroup with it.
pub fn abode(scope: Option<&Scope>) -> Abode {
    let Some(Scope { cgroup, uid, .. }) = scope else { return Abode::default() };
    match cgroup.parent() {
        Some(own) => Abode { cgroup: delegate::beside_callers(own).ok(), settle: None },
        None => Abode { cgroup: None, settle: Some(settler(*uid)) },
    }
}

/// In a process of its own, which may wait: has systemd make a scope for a network's hub.
fn settler(uid: u32) -> Settle {
    Box::new(move |network, hub| {
        let Some(mut request) = ScopeRequest::connect(uid, &Wish::new(Whose::Network, network)) else { return };
        // The number is still its own.
        if hub.signal(0).is_ok() {
            request.send(hub.pid);
            // Without one it ends with this container, and whoever needs it starts another.
            let _ = request.wait(hub.pid);
        }
    })
}

/// Makes of what Client has handed over the cgroup that the payload will be born in.
/// `maps`: the payload's ids within U.
pub fn take(config: &Config, maps: &IdMaps, (path, uid): (Option<String>, u32), fds: Vec<OwnedFd>) -> Result<Option<Scope>> {
    let Some(path) = path else { return Ok(None) };
    let root = || Some((to_host(&maps.uid, 0)?, to_host(&maps.gid, 0)?));
    let delegated = if config.systemd { Some(root().context("container root does not exist")?) } else { None };
    let mut fds = fds.into_iter();
    let base = fds.next().context("the cgroup did not come along")?;
    let name = path.rsplit('/').next().unwrap_or_default().to_string();
    let parent = fds.next().map(|parent| (parent, name));
    let cgroup = Cgroup::prepare(base, parent, &settings(config)?, delegated)?;
    Ok(Some(Scope { cgroup, path, uid }))
}
