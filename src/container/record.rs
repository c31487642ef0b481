//! The record of one container: its directory in the store.
//!
//! ```text
//! containers/<id>/config.json   what it is; written once, by Client
//! containers/<id>/state.json    how it is; written by Monitor, absent before
//! containers/<id>               flock on the directory itself: Client's while it creates, then Monitor's for as long as it lives
//! containers/<id>/upper.* work.*  the overlays'
//! containers/.rm-<id> .rmv-<id>  a record that is being removed (with its volumes): invisible, deleted by whoever comes next
//! names/<name>                  a symlink to the id; a random name needs none, since it holds the beginning of the id
//! ```
//!
//! Alive means that the lock is held, never that a stored pid exists. A directory without config.json whose lock is free was left by a
//! Client that was killed: nothing.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use super::config::Config;
use super::names;
use super::state::{Event, Status};
use crate::error::Advise;
use crate::host::facts::{boot_id, proc_text};
use crate::host::paths::{Paths, make_dirs};

/// The name of the file that says how a container is.
pub const STATE: &str = "state.json";

/// How a container is ([`STATE`]).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    pub status: Status,
    /// The payload's PID on the host while running.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pid: Option<i32>,
    /// When that process started, in clock ticks since boot: with the number, it names one process for good.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pid_start: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub exit_code: Option<u8>,
    /// Why it could not start, or what is broken while it runs.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
    /// Path of its cgroup below the mount of cgroup v2.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cgroup: Option<String>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub finished_at: Option<String>,
    /// Boot in which this was written (/proc/sys/kernel/random/boot_id).
    pub boot_id: String,
    /// How often its policy has started it again.
    #[serde(skip_serializing_if = "is_default", default)]
    pub restart_count: u32,
    /// A person ended it: `unless-stopped` leaves it so.
    #[serde(skip_serializing_if = "is_default", default)]
    pub stopped: bool,
    /// The kernel killed it for want of memory.
    #[serde(skip_serializing_if = "is_default", default)]
    pub oom_killed: bool,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl State {
    /// A container that was made and not started.
    pub fn created(boot_id: &str) -> State {
        State {
            status: Status::Created,
            pid: None,
            pid_start: None,
            exit_code: None,
            error: None,
            cgroup: None,
            started_at: None,
            finished_at: None,
            boot_id: boot_id.into(),
            restart_count: 0,
            stopped: false,
            oom_killed: false,
        }
    }

    /// The state after the payload was executed.
    pub fn started(self, pid: i32, pid_start: Option<u64>) -> Result<State> {
        let status = self.status.after(Event::Started)?;
        let started_at = Some(now());
        Ok(State { status, pid: Some(pid), pid_start, started_at, exit_code: None, error: None, oom_killed: false, ..self })
    }

    /// The state after the end, with the exit code and, where it never started, the reason. `event`: whether it is for good.
    pub fn ended(self, event: Event, exit_code: u8, error: Option<String>) -> Result<State> {
        let status = self.status.after(event)?;
        Ok(State { status, pid: None, pid_start: None, exit_code: Some(exit_code), error, finished_at: Some(now()), ..self })
    }
}

/// Field 22 of `/proc/PID/stat` (proc_pid_stat(5)).
pub fn start_time(pid: i32) -> Option<u64> {
    let stat = proc_text(format!("/proc/{pid}/stat")).ok()?;
    // The second field, the name, may hold anything, brackets and spaces too.
    let after_name = stat.rsplit_once(')')?.1;
    after_name.split_whitespace().nth(19)?.parse().ok()
}

/// The processes of the session that `leader` began (proc_pid_stat(5), field 6).
pub fn session_members(leader: i32) -> Vec<i32> {
    let of = |pid: &i32| {
        let stat = proc_text(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(')')?.1.split_whitespace().nth(3)?.parse::<i32>().ok()
    };
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(|pid| of(pid) == Some(leader)).collect()
}

/// The time as RFC 3339 in UTC.
pub fn now() -> String {
    humantime::format_rfc3339_nanos(std::time::SystemTime::now()).to_string()
}

/// A record being made: its directory, with the lock on it held.
pub struct Draft {
    pub path: PathBuf,
    pub directory: File,
}

/// Makes the store's directories where one is missing. Nobody but the caller and container root may pass: what containers made
/// set-user-id must not be in any other user's reach (CVE-2021-41091).
pub fn make_store(paths: &Paths, owner: (u32, u32)) -> Result<()> {
    let look = || fs::metadata(&paths.store);
    let found = match look() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => make_dirs(&paths.store, 0o700).map(|()| look())?,
        found => found,
    };
    let found = found.with_context(|| format!("cannot read {}", paths.store.display()))?;
    let (mode, group) = if owner.0 == found.uid() { (0o700, found.gid()) } else { (0o710, owner.1) };
    if found.mode() & 0o777 != mode || found.gid() != group {
        std::os::unix::fs::chown(&paths.store, None, Some(group))
            .and_then(|()| fs::set_permissions(&paths.store, std::os::unix::fs::PermissionsExt::from_mode(mode)))
            .with_context(|| format!("cannot close {} to other users", paths.store.display()))?;
    }
    for dir in
        [paths.containers(), paths.names(), paths.volumes(), paths.networks(), paths.events()].iter().filter(|dir| !dir.is_dir())
    {
        make_dirs(dir, 0o711)?;
        give(dir, owner)?;
    }
    Ok(())
}

/// Makes the directory of a container, owned by root of U (`owner`), with the overlay's directories unless they are to be elsewhere, and
/// takes the container's name.
pub fn create(paths: &Paths, config: &Config, owner: (u32, u32), overlay: bool) -> Result<Draft> {
    let path = paths.containers().join(&config.id);
    DirBuilder::new().mode(0o700).create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    let filled = File::open(&path).context("cannot open the container's directory").and_then(|directory| {
        directory.try_lock().context("cannot lock the container")?;
        give(&path, owner)?;
        if overlay {
            for (name, mode) in [("upper.root", 0o755), ("work.root", 0o700)] {
                make_dir(&path.join(name), mode)?;
                give(&path.join(name), owner)?;
            }
        }
        write_json(&directory, "config.json", config)?;
        give(&path.join("config.json"), owner)?;
        // Last: who finds the container by its name finds it complete.
        if config.named {
            take_name(paths, &config.name, &config.id)?;
        }
        Ok(directory)
    });
    match filled {
        Ok(directory) => Ok(Draft { path, directory }),
        Err(error) => {
            let _ = fs::remove_dir_all(&path);
            Err(error)
        }
    }
}

/// Makes one directory with exactly this mode: a container's root that the caller's umask had closed would be closed inside too. Whoever
/// calls this has no other thread that makes files.
pub fn make_dir(path: &Path, mode: u32) -> Result<()> {
    use nix::sys::stat::{Mode, umask};
    let callers = umask(Mode::empty());
    let made = DirBuilder::new().mode(mode).create(path);
    umask(callers);
    made.with_context(|| format!("cannot create {}", path.display()))
}

/// Gives what the caller made to root of U, where that is somebody else: the caller is root on the host.
pub fn give(path: &Path, (uid, gid): (u32, u32)) -> Result<()> {
    if uid == nix::unistd::geteuid().as_raw() {
        return Ok(());
    }
    std::os::unix::fs::chown(path, Some(uid), Some(gid))
        .with_context(|| format!("cannot give {} to container root", path.display()))
}

/// Makes `name` lead to the container with this id.
pub fn take_name(paths: &Paths, name: &str, id: &str) -> Result<()> {
    let link = paths.names().join(name);
    match symlink(id, &link) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error).with_context(|| format!("cannot take the name \"{name}\"")),
    }
    // Taken; by a container, or by one that was removed half-way. Only one may decide that at a time.
    let names = File::open(paths.names()).context("cannot open the names")?;
    names.lock().context("cannot lock the names")?;
    let holder = fs::read_link(&link).unwrap_or_default();
    // A temporary container whose Monitor was killed only waits to be swept away; one that was renamed has another name.
    let lives = |record: Record| record.config.name == name && (record.alive || !record.config.auto_remove);
    if Record::load(&paths.containers().join(&holder))?.is_some_and(lives) {
        let short: String = holder.to_string_lossy().chars().take(12).collect();
        return Err(anyhow!("the name \"{name}\" is in use by container {short}"))
            .hint(|| format!("rl rm {name}, or another --name"));
    }
    let _ = fs::remove_file(&link);
    symlink(id, &link).with_context(|| format!("cannot take the name \"{name}\""))
}

/// Writes a file of the record: whole or not at all. By directory descriptor, since Monitor has no paths.
pub fn write_json<T: Serialize>(directory: impl AsFd, file: &str, value: &T) -> Result<()> {
    stage_json(&directory, file, value)?;
    publish_json(&directory, file)
}

/// The first half of that, which takes longest: nobody sees it yet.
pub fn stage_json<T: Serialize>(directory: impl AsFd, file: &str, value: &T) -> Result<()> {
    use nix::fcntl::{OFlag, openat};
    use nix::sys::stat::Mode;
    let bytes = serde_json::to_vec(value)?;
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_CLOEXEC;
    let written = openat(&directory, staged(file).as_str(), flags, Mode::from_bits_truncate(0o600))
        .map_err(io::Error::from)
        .and_then(|fd| io::Write::write_all(&mut File::from(fd), &bytes));
    written.with_context(|| format!("cannot write the container's {file}"))
}

fn staged(file: &str) -> String {
    format!("{file}.tmp")
}

/// The second half.
pub fn publish_json(directory: impl AsFd, file: &str) -> Result<()> {
    nix::fcntl::renameat(&directory, staged(file).as_str(), &directory, file)
        .with_context(|| format!("cannot write the container's {file}"))
}

/// A record as it is found in the store.
#[derive(Debug, Clone)]
pub struct Record {
    pub directory: PathBuf,
    pub config: Config,
    pub state: State,
    /// Its lock is held: by Monitor, or by a Client that is still creating it.
    pub alive: bool,
}

impl Record {
    /// Reads one record; None where there is none, or only what a killed Client left.
    pub fn load(directory: &Path) -> Result<Option<Record>> {
        // The lock first: what is read afterwards is at least as new.
        Record::read(directory, is_locked(directory))
    }

    /// The same, by somebody who knows whether another holds the lock.
    pub fn read(directory: &Path, alive: bool) -> Result<Option<Record>> {
        let read = |file: &str| match fs::read(directory.join(file)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some).with_context(|| format!("cannot read {}", directory.join(file).display())),
        };
        let (Some(config), state) = (read("config.json")?, read(STATE)?) else { return Ok(None) };
        let broken = |file| format!("{} is damaged", directory.join(file).display());
        let config: Config = serde_json::from_slice(&config).with_context(|| broken("config.json"))?;
        let mut state: State = match state {
            Some(state) => serde_json::from_slice(&state).with_context(|| broken(STATE))?,
            None => State::created(&boot_id()),
        };
        if !alive {
            let event = if state.boot_id == boot_id() { Event::MonitorDied } else { Event::Rebooted };
            let after = state.status.after(event)?;
            if after != state.status {
                state = State { status: after, pid: None, ..state };
            }
        }
        Ok(Some(Record { directory: directory.to_path_buf(), config, state, alive }))
    }

    /// Twelve digits, as listings print it.
    pub fn short_id(&self) -> &str {
        self.config.id.get(..12).unwrap_or(&self.config.id)
    }
}

/// Whether somebody holds the record's lock; nobody does where there is none.
pub fn is_locked(directory: &Path) -> bool {
    match File::open(directory) {
        Ok(lock) => lock.try_lock_shared().is_err(),
        Err(_) => false,
    }
}

/// Every record, newest first. What killed processes left behind is put aside for [`remove`](super::remove) on the way.
pub fn list(paths: &Paths) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    let entries = match fs::read_dir(paths.containers()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(records),
        other => other.with_context(|| format!("cannot read {}", paths.containers().display()))?,
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        match Record::load(&entry.path()) {
            Ok(Some(record)) => records.push(record),
            Ok(None) => {}
            Err(error) => eprintln!("rl: skipping container {}: {error:#}", name.to_string_lossy()),
        }
    }
    records.sort_by(|a, b| b.config.created.cmp(&a.config.created));
    Ok(records)
}

/// Directories in `containers/` that are no record any more: being removed, or never finished, with nobody at work on them.
pub fn leftovers(paths: &Paths) -> Vec<PathBuf> {
    let entries = fs::read_dir(paths.containers()).into_iter().flatten().flatten();
    let abandoned = |path: &Path| {
        let removing = path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b".rm"));
        if is_locked(path) {
            return false;
        }
        let dead_and_temporary = || Record::load(path).is_ok_and(|r| r.is_some_and(|r| r.config.auto_remove && !r.alive));
        removing || !path.join("config.json").exists() || dead_and_temporary()
    };
    entries.map(|entry| entry.path()).filter(|path| abandoned(path)).collect()
}

/// Finds a container by name, by id, or by the beginning of an id that only one has.
pub fn find(paths: &Paths, wanted: &str) -> Result<Record> {
    let unknown = || anyhow!("no such container: {wanted}");
    // inspect shows names as Docker does, with a slash before them.
    let wanted = wanted.strip_prefix('/').unwrap_or(wanted);
    if wanted.is_empty() || wanted.contains('/') || wanted.starts_with('.') {
        return Err(unknown());
    }
    if let Ok(id) = fs::read_link(paths.names().join(wanted)) {
        return Record::load(&paths.containers().join(id))?.ok_or_else(unknown).hint(|| "rl ps -a");
    }
    if let Some(prefix) = names::id_prefix(wanted)
        && let Ok(id) = by_prefix(paths, prefix)
        && let Some(record) = Record::load(&paths.containers().join(id))?
        && record.config.name == wanted
    {
        return Ok(record);
    }
    Record::load(&paths.containers().join(by_prefix(paths, wanted)?))?.ok_or_else(unknown).hint(|| "rl ps -a")
}

fn by_prefix(paths: &Paths, prefix: &str) -> Result<String> {
    if paths.containers().join(prefix).is_dir() {
        return Ok(prefix.to_string());
    }
    let names = fs::read_dir(paths.containers()).into_iter().flatten().flatten();
    let mut found = names.filter_map(|entry| entry.file_name().into_string().ok()).filter(|id| id.starts_with(prefix));
    match (found.next(), found.next()) {
        (Some(id), None) => Ok(id),
        (Some(_), Some(_)) => bail!("more than one container's id begins with {prefix}"),
        (None, _) => Err(anyhow!("no such container: {prefix}")).hint(|| "rl ps -a"),
    }
}

/// Opens the record's directory, for work by descriptor.
pub fn open_directory(directory: &Path) -> Result<OwnedFd> {
    use nix::fcntl::{OFlag, open};
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    open(directory, flags, nix::sys::stat::Mode::empty()).with_context(|| format!("cannot open {}", directory.display()))
}
