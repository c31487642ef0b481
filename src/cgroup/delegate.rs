//! Where a container's cgroup comes from: a scope that the systemd user manager makes, or a directory of cgroup v2 that is the caller's.
//!
//! The scope is asked for while everything else of a start goes on ([`Delegation::ask`]), and awaited only where it is needed
//! ([`Delegation::finish`]). systemd moves Monitor into it: from a login session the kernel lets nobody else do that.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use clap::ValueEnum;
use nix::fcntl::AtFlags;
use nix::unistd::AccessFlags;
use serde::{Deserialize, Serialize};

use super::limits::{self, DEFAULT_PIDS, Setting};
use super::systemd::ScopeRequest;
use super::tree;
use crate::error::Advise;
use crate::host::facts::proc_text;

/// The drop-in that gives user sessions every controller, as shipped in helpers/host.
pub const DROP_IN: &str = include_str!("../../helpers/host/delegate.conf");

/// Where cgroup v2 is mounted on a host that uses it alone; beside v1 it has no controllers.
pub const ROOT: &str = "/sys/fs/cgroup";

/// The leaf into which processes move that sit where controllers are to be enabled for others.
const CALLERS: &str = "rl-callers";

/// `--cgroup-manager`: who makes the container's cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Manager {
    /// systemd, in a scope
    Systemd,
    /// rl itself, in a cgroup directory of yours
    Cgroupfs,
    /// Nobody: the container stays in your own cgroup
    None,
}

/// Whose a cgroup is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    Container,
    /// The processes of a user-defined network.
    Network,
}

/// What a container's cgroup is to be.
#[derive(Debug, Clone)]
pub struct Wish {
    pub whose: Whose,
    /// Its name: the scope is called after it.
    pub name: String,
    pub id: String,
    /// None: whichever works.
    pub manager: Option<Manager>,
    /// `--cgroup-parent`: a slice, or a directory below the caller's own.
    pub parent: Option<String>,
    /// Without a cgroup there is to be no container.
    pub required: bool,
    pub settings: Vec<Setting>,
    /// Processes and threads in all; None: no limit of ours.
    pub tasks_max: Option<u64>,
    /// uid and gid of who will work in it: root of U.
    pub owner: (u32, u32),
}

impl Wish {
    /// With nothing special about it.
    pub fn new(whose: Whose, name: &str) -> Wish {
        Wish {
            whose,
            name: name.into(),
            id: String::new(),
            manager: None,
            parent: None,
            required: false,
            settings: Vec::new(),
            tasks_max: None,
            owner: (0, 0),
        }
    }

    /// The scope's name, without its suffix.
    pub fn unit(&self) -> String {
        match self.whose {
            Whose::Container => format!("rl-{}", self.name),
            Whose::Network => format!("rl-network-{}", self.name),
        }
    }

    /// What it is, for people.
    pub fn description(&self) -> String {
        match self.whose {
            Whose::Container => format!("rl container {}", self.name),
            Whose::Network => format!("rl network {}", self.name),
        }
    }

    /// Nothing that was asked for needs the cgroup.
    fn is_optional(&self) -> bool {
        self.settings.is_empty() && self.manager.is_none() && !self.required
    }
}

/// A cgroup on its way, or none.
pub enum Delegation {
    Scope(Box<ScopeRequest>),
    Directory {
        own: PathBuf,
        wish: Wish,
    },
    /// With the reason, unless that is what was asked for.
    None(Option<Lack>),
}

/// Why there is no cgroup, and what would give one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    pub why: String,
    pub cure: String,
    /// Sessions are meant to be here: it is worth a line each time.
    pub unexpected: bool,
}

/// The cgroup that is the container's.
#[derive(Debug)]
pub struct Base {
    /// Its path below [`ROOT`], beginning with a slash.
    pub path: String,
    pub directory: OwnedFd,
    /// Where it must be removed by us: its parent.
    pub parent: Option<OwnedFd>,
}

/// Chooses, and connects; nothing is waited for. Fails where limits are asked for that nobody can set.
pub fn begin(uid: u32, wish: Wish) -> Result<Delegation> {
    if wish.manager == Some(Manager::None) {
        let lack = Lack { why: "--cgroup-manager none".into(), cure: "leave that flag out".into(), unexpected: false };
        return none(&wish, lack);
    }
    let unified = is_unified();
    if wish.manager != Some(Manager::Cgroupfs)
        && unified
        && let Some(request) = ScopeRequest::connect(uid, &wish)
    {
        if !wish.settings.is_empty() {
            check_delegated(uid, &wish)?;
        }
        return Ok(Delegation::Scope(Box::new(request)));
    }
    if wish.manager != Some(Manager::Systemd)
        // Whoever is somebody else in U could not move anything there.
        && wish.owner.0 == uid
        && unified
        && let Some(own) = own_directory(wish.parent.as_deref())
    {
        return Ok(Delegation::Directory { own, wish });
    }
    none(&wish, lack(uid, wish.manager, unified))
}

/// Without a cgroup: a failure where one was asked for.
fn none(wish: &Wish, lack: Lack) -> Result<Delegation> {
    if let Some(controller) = limits::controllers(&wish.settings).first() {
        let files: Vec<&str> = wish.settings.iter().map(|s| s.file.as_str()).collect();
        return Err(anyhow!("{}", lack.why))
            .with_context(|| format!("cannot set {}: no {controller} controller", files.join(", ")))
            .hint(|| lack.cure);
    }
    if wish.required || matches!(wish.manager, Some(Manager::Systemd | Manager::Cgroupfs)) {
        return Err(anyhow!("{}", lack.why)).context("cannot make a cgroup of its own").hint(|| lack.cure);
    }
    Ok(Delegation::None(wish.manager.is_none().then_some(lack)))
}

/// Whether cgroup v2 is all there is.
pub fn is_unified() -> bool {
    File::open(ROOT).is_ok_and(|root| tree::is_cgroup2(root.as_fd()))
}

/// Why nobody makes a cgroup for `uid` here; `unified`: as [`is_unified`] has it.
fn lack(uid: u32, manager: Option<Manager>, unified: bool) -> Lack {
    if !unified {
        return Lack {
            why: format!("{ROOT} is not cgroup v2"),
            cure: "boot with systemd.unified_cgroup_hierarchy=1; inside a container, one with a writable cgroup v2".into(),
            unexpected: false,
        };
    }
    if manager == Some(Manager::Cgroupfs) {
        return Lack {
            why: "this process's own cgroup is not the caller's to write".into(),
            cure: "systemd-run --user --scope -p Delegate=yes rl …".into(),
            unexpected: false,
        };
    }
    Lack {
        why: format!("no systemd session of user {uid} can be reached, and the own cgroup is not the caller's to write"),
        cure: "log in by ssh or on a terminal; or, for good: sudo loginctl enable-linger".into(),
        unexpected: Path::new("/run/systemd/system").exists(),
    }
}

/// Who would make a cgroup, for `rl info`.
pub struct Survey {
    pub manager: Manager,
    /// Where it was found.
    pub place: String,
    pub controllers: Vec<String>,
}

impl Survey {
    /// One line for people.
    pub fn words(&self) -> String {
        let missing: Vec<&str> = ["cpu", "cpuset", "io", "memory", "pids"]
            .into_iter()
            .filter(|name| !self.controllers.iter().any(|c| c == name))
            .collect();
        let by = match self.manager {
            Manager::Systemd => "a scope of systemd's, asked for at",
            _ => "a directory below",
        };
        let missing = if missing.is_empty() { String::new() } else { format!("; not delegated: {}", missing.join(" ")) };
        format!("{by} {} ({}{missing})", self.place, self.controllers.join(" "))
    }
}

/// Looks who would make a cgroup for `uid`.
pub fn survey(uid: u32) -> Result<Survey, Lack> {
    let wish = Wish::new(Whose::Container, "info");
    let listed = |dir: &Path| {
        let text = std::fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
        text.split_whitespace().map(String::from).collect::<Vec<_>>()
    };
    let unified = is_unified();
    if unified && let Some(request) = ScopeRequest::connect(uid, &wish) {
        let (place, controllers) = (request.server().into(), listed(&session_cgroup(uid)));
        return Ok(Survey { manager: Manager::Systemd, place, controllers });
    }
    match unified.then(|| own_directory(None)).flatten() {
        Some(own) => Ok(Survey { manager: Manager::Cgroupfs, place: own.display().to_string(), controllers: listed(&own) }),
        None => Err(lack(uid, None, unified)),
    }
}

fn session_cgroup(uid: u32) -> PathBuf {
    match uid {
        0 => PathBuf::from(ROOT),
        _ => format!("{ROOT}/user.slice/user-{uid}.slice/user@{uid}.service").into(),
    }
}

/// Fails before anything is made where the session lacks a controller.
fn check_delegated(uid: u32, wish: &Wish) -> Result<()> {
    match File::open(session_cgroup(uid)) {
        Ok(session) => check_controllers(&tree::words(session.as_fd(), "cgroup.controllers"), &wish.settings),
        Err(_) => Ok(()),
    }
}

/// Fails at the first setting whose controller is not among those.
pub fn check_controllers(available: &[String], settings: &[Setting]) -> Result<()> {
    let lacks = |setting: &&Setting| !available.iter().any(|name| name == setting.controller());
    let Some(setting) = settings.iter().find(lacks) else { return Ok(()) };
    let (file, controller) = (&setting.file, setting.controller());
    Err(anyhow!(
        "cannot set {file}: the {controller} controller is not delegated to your session (it has: {})",
        available.join(" ")
    ))
    .hint(enable_controllers)
}

/// The lines that give user sessions every controller.
pub fn enable_controllers() -> String {
    format!(
        "sudo mkdir -p /etc/systemd/system/user@.service.d\n\
         sudo tee /etc/systemd/system/user@.service.d/delegate.conf >/dev/null <<'EOF'\n{DROP_IN}EOF\n\
         sudo systemctl daemon-reload\n\
         then end your session and log in again (or: sudo systemctl restart user@$(id -u).service, which ends all that runs in it)"
    )
}

/// The caller's own cgroup, where the caller may make others.
fn own_directory(parent: Option<&str>) -> Option<PathBuf> {
    let own = cgroup_of("self").ok()?;
    // Earlier the caller's processes had to step aside.
    let own = own.strip_suffix(&format!("/{CALLERS}")).unwrap_or(&own);
    let mut path = PathBuf::from(format!("{ROOT}{own}"));
    if let Some(parent) = parent {
        let below = Path::new(parent).components().filter(|part| matches!(part, std::path::Component::Normal(_)));
        path.extend(below);
    }
    let writable =
        |path: &Path| nix::unistd::faccessat(nix::fcntl::AT_FDCWD, path, AccessFlags::W_OK, AtFlags::AT_EACCESS).is_ok();
    (writable(&path) && writable(&path.join("cgroup.procs"))).then_some(path)
}

/// Below a cgroup of the caller's, where those live that are no container's: the callers themselves. No process may sit in a cgroup that tells
/// those below apart by controllers.
pub fn beside_callers(own: BorrowedFd) -> Result<OwnedFd> {
    let leaf = if tree::words(own, "cgroup.subtree_control").is_empty() {
        tree::open_child(own, ".")
    } else {
        tree::child(own, CALLERS)
    };
    leaf.context("cannot open the callers' cgroup")
}

/// The cgroup v2 path of a process (proc_pid_cgroup(5)).
pub fn cgroup_of(pid: &str) -> Result<String> {
    let text = proc_text(format!("/proc/{pid}/cgroup")).context("cannot read the process's cgroup")?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::")).context("the process is in no cgroup v2")?;
    Ok(if path == "/" { String::new() } else { path.to_string() })
}

impl Delegation {
    /// Whether [`finish`](Self::finish) may give a cgroup.
    pub fn is_some(&self) -> bool {
        !matches!(self, Delegation::None(_))
    }

    /// Asks for process `pid` to be moved into a scope; the answer is not waited for.
    pub fn ask(&mut self, pid: i32) {
        if let Delegation::Scope(request) = self {
            request.send(pid);
        }
    }

    /// Waits for the cgroup, and opens it. None where there is none and no limit was asked for; the reason goes to stderr.
    pub fn finish(self, pid: i32) -> Result<Option<Base>> {
        match self {
            Delegation::None(_) => Ok(None),
            Delegation::Directory { own, wish } => make_directory(&own, &wish).map(Some),
            Delegation::Scope(mut request) => match request.wait(pid) {
                Ok(base) => Ok(Some(base)),
                Err(error) if request.wish().is_optional() => {
                    eprintln!("rl: running without a cgroup: {error:#}");
                    Ok(None)
                }
                Err(error) => Err(error),
            },
        }
    }
}

/// A cgroup below the caller's own, with the controllers that the settings need.
fn make_directory(own: &Path, wish: &Wish) -> Result<Base> {
    let failed = || format!("cannot make a cgroup in {}", own.display());
    let parent: OwnedFd = File::open(own).with_context(failed)?.into();
    let needed = limits::controllers(&wish.settings);
    let available = tree::words(parent.as_fd(), "cgroup.controllers");
    if let Some(missing) = needed.iter().find(|name| !available.iter().any(|a| a == *name)) {
        return Err(anyhow!("the {missing} controller is not delegated to {} (it has: {})", own.display(), available.join(" ")))
            .hint(|| "whoever made that cgroup must enable it in the cgroup.subtree_control of the one above");
    }
    if let Err(error) = tree::enable(parent.as_fd(), &needed) {
        if error.raw_os_error() != Some(libc::EBUSY) {
            return Err(error).with_context(|| format!("cannot enable {} in {}", needed.join(", "), own.display()));
        }
        tree::move_all_to(parent.as_fd(), CALLERS).with_context(failed)?;
        tree::enable(parent.as_fd(), &needed).with_context(|| format!("cannot enable {}", needed.join(", ")))?;
    }
    let name = directory_name(wish);
    let directory = tree::make_child(parent.as_fd(), &name).with_context(failed)?;
    if let Some(tasks) = wish.tasks_max {
        // A default, not a request: where the controller is not enabled, there is none.
        let _ = tree::write(directory.as_fd(), "pids.max", &tasks.to_string());
    }
    let path = own.strip_prefix(ROOT).unwrap_or(own).join(&name);
    Ok(Base { path: format!("/{}", path.display()), directory, parent: Some(parent) })
}

fn directory_name(wish: &Wish) -> String {
    format!("rl-{}-{}", wish.name, wish.id.get(..12).unwrap_or(&wish.id))
}

/// What the flags mean for the scope as a whole: with a limit of its own the payload's cgroup has it, without one the scope has the default.
pub fn tasks_max(pids: Option<i64>) -> Option<u64> {
    match pids {
        None => Some(DEFAULT_PIDS as u64),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(settings: Vec<Setting>) -> Wish {
        Wish {
            id: "ab".repeat(32),
            manager: Some(Manager::None),
            settings,
            owner: (1000, 1000),
            ..Wish::new(Whose::Container, "web")
        }
    }

    fn memory() -> Vec<Setting> {
        let memory = crate::oci::runtime::Memory { limit: Some(64 << 20), ..Default::default() };
        limits::settings(&crate::oci::runtime::Resources { memory, ..Default::default() }).unwrap()
    }

    #[test]
    fn without_a_cgroup_a_limit_is_refused_by_its_controllers_name() {
        assert!(matches!(begin(1000, wish(vec![])), Ok(Delegation::None(None))));
        let Err(error) = begin(1000, wish(memory())) else { panic!("accepted") };
        let failure = crate::error::Failure::from(&error);
        assert!(failure.message.contains("memory.max") && failure.message.contains("no memory controller"), "{failure}");
        assert!(failure.hint.is_some());
    }

    #[test]
    fn a_controller_that_is_not_delegated_is_named_with_the_drop_in() {
        let available = ["cpu".to_string(), "pids".to_string()];
        let failure = crate::error::Failure::from(&check_controllers(&available, &memory()).unwrap_err());
        assert!(failure.message.contains("the memory controller") && failure.message.contains("cpu pids"), "{failure}");
        assert!(failure.hint.unwrap().contains(DROP_IN));
        assert!(check_controllers(&["memory".to_string()], &memory()).is_ok());
    }
}
