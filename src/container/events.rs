//! What has happened to containers, images and volumes, for `rl events`: one JSON line for each, in the shape of Docker's API.
//!
//! `events/log` in the store, and `log.1` before it. Appended by whoever makes it happen, Monitor included, by the descriptor of the store
//! that it has anyway: open, look at the size, one write(2) of whole lines, close; about 10 µs. O_APPEND keeps lines of several writers apart.
//! What cannot be written is not recorded: nobody's container fails for that.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::SystemTime;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, Flock, FlockArg, OFlag, openat, renameat};
use nix::sys::stat::{Mode, fstat, fstatat};
use serde::{Deserialize, Serialize};

use super::config::Config;
use super::record::{self, Record};

/// The file's name in `events/`.
pub const LOG: &str = "log";
/// How many files there are at most.
pub const FILES: u32 = 2;
/// A file that has grown beyond this many bytes, some four thousand events, is put aside.
const LARGEST: i64 = 1 << 20;

/// One event (Engine API, "Monitor events").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// As older clients read it: the action, the id, the image; of containers and images only.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub status: String,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub id: String,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub from: String,
    /// container, image, volume, network.
    #[serde(rename = "Type")]
    pub kind: String,
    /// create, start, die, …
    #[serde(rename = "Action")]
    pub action: String,
    #[serde(rename = "Actor")]
    pub actor: Actor,
    pub scope: String,
    /// Seconds since 1970.
    pub time: u64,
    #[serde(rename = "timeNano")]
    pub time_nano: u64,
}

/// What it happened to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "Attributes")]
    pub attributes: BTreeMap<String, String>,
}

impl Event {
    /// Something that happens now.
    pub fn now(kind: &str, action: &str, id: &str, attributes: BTreeMap<String, String>) -> Event {
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let old = |text: &str| if matches!(kind, "container" | "image") { text.to_string() } else { String::new() };
        Event {
            status: old(action),
            id: old(id),
            from: attributes.get("image").filter(|_| kind == "container").cloned().unwrap_or_default(),
            kind: kind.into(),
            action: action.into(),
            actor: Actor { id: id.into(), attributes },
            scope: "local".into(),
            time: time.as_secs(),
            time_nano: time.as_nanos() as u64,
        }
    }

    /// Something that happens to a container: its labels, image and name go along, and what is particular to the action.
    pub fn of_container(config: &Config, action: &str, particular: &[(&str, String)]) -> Event {
        let mut attributes = config.labels.clone();
        attributes.insert("image".into(), config.image.clone());
        attributes.insert("name".into(), config.name.clone());
        attributes.extend(particular.iter().map(|(key, value)| (key.to_string(), value.clone())));
        Event::now("container", action, &config.id, attributes)
    }
}

/// Something that happens to an image, by a Client: what `pull` brings is known by its name, anything else by its id.
pub fn of_image(store: &Path, action: &str, id: &str, name: &str) {
    of_object(store, "image", action, id, &[("name", name)]);
}

/// Something that happens to an image, a volume or a network, by a Client.
pub fn of_object(store: &Path, kind: &str, action: &str, id: &str, attributes: &[(&str, &str)]) {
    let attributes = attributes.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    if let Ok(store) = record::open_directory(store) {
        tell(store.as_fd(), &[Event::now(kind, action, id, attributes)]);
    }
}

/// Records events; `store` is the store's directory.
pub fn tell(store: BorrowedFd, events: &[Event]) {
    let mut lines = Vec::new();
    for event in events {
        if serde_json::to_writer(&mut lines, event).is_ok() {
            lines.push(b'\n');
        }
    }
    let name = format!("events/{LOG}");
    let flags = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let opened = match openat(store, name.as_str(), flags, Mode::empty()) {
        Err(Errno::ENOENT) => create(store, &name, flags),
        other => other,
    };
    let Ok(log) = opened else { return };
    let large = fstat(&log).is_ok_and(|stat| stat.st_size > LARGEST);
    while let Err(Errno::EINTR) = nix::unistd::write(&log, &lines) {}
    if large {
        put_aside(store, log);
    }
}

/// Whoever makes it gives it to the directory's owner: Monitor, who is not host root, writes to it as well.
fn create(store: BorrowedFd, name: &str, flags: OFlag) -> nix::Result<OwnedFd> {
    let directory = fstatat(store, "events", AtFlags::AT_SYMLINK_NOFOLLOW)?;
    let log = openat(store, name, flags | OFlag::O_CREAT, Mode::from_bits_truncate(0o600))?;
    let _ = nix::unistd::fchown(&log, Some(directory.st_uid.into()), Some(directory.st_gid.into()));
    Ok(log)
}

/// The same, by a Client that has just done it to a container.
pub fn by_client(record: &Record, action: &str, particular: &[(&str, String)]) {
    let store = record.directory.parent().and_then(Path::parent).map(record::open_directory);
    if let Some(Ok(store)) = store {
        tell(store.as_fd(), &[Event::of_container(&record.config, action, particular)]);
    }
}

/// Of several who find it too large, one renames it.
fn put_aside(store: BorrowedFd, log: OwnedFd) {
    let Ok(log) = Flock::lock(log, FlockArg::LockExclusiveNonblock) else { return };
    let (name, elder) = (format!("events/{LOG}"), format!("events/{LOG}.1"));
    let named = fstatat(store.as_fd(), name.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW).map(|stat| stat.st_ino);
    if named.is_ok() && named == fstat(&*log).map(|stat| stat.st_ino) {
        let _ = renameat(store, name.as_str(), store, elder.as_str());
    }
}

#[cfg(test)]
mod tests {
    use super::super::log::files::Lines;
    use super::*;
    use std::fs::{self, File};

    fn recorded(dir: &std::path::Path) -> Vec<Event> {
        let mut lines = Lines::open(File::open(dir.join("events")).unwrap().into(), LOG, FILES, None).unwrap().unwrap();
        let mut events = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            events.push(serde_json::from_slice(line).unwrap());
        }
        events
    }

    #[test]
    fn events_come_back_in_dockers_shape() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("events")).unwrap();
        let store = File::open(dir.path()).unwrap();
        let event =
            |action| Event::now("container", action, "3f2a", BTreeMap::from([("image".to_string(), "alpine".to_string())]));
        let events = [event("create"), event("start")];
        tell(store.as_fd(), &events);
        tell(store.as_fd(), &[Event::now("volume", "create", "data", BTreeMap::new())]);
        let found = recorded(dir.path());
        assert_eq!(found[..2], events);
        let json = serde_json::to_value(&found[0]).unwrap();
        assert_eq!((&json["status"], &json["from"], &json["Actor"]["ID"]), (&"create".into(), &"alpine".into(), &"3f2a".into()));
        assert!(serde_json::to_value(&found[2]).unwrap().get("status").is_none());
    }

    #[test]
    fn the_file_is_bounded_and_writers_do_not_disturb_each_other() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("events")).unwrap();
        let write = |writer: usize| {
            let store = File::open(dir.path()).unwrap();
            for n in 0..3000 {
                tell(store.as_fd(), &[Event::now("container", "start", &format!("{writer}-{n}"), BTreeMap::new())]);
            }
        };
        std::thread::scope(|scope| (0..4).for_each(|writer| drop(scope.spawn(move || write(writer)))));
        let size = |name: &str| fs::metadata(dir.path().join("events").join(name)).unwrap().len();
        assert!(size("log") < 2 << 20 && size("log.1") < 2 << 20);
        assert_eq!(fs::read_dir(dir.path().join("events")).unwrap().count(), 2);
        let events = recorded(dir.path());
        for writer in 0..4 {
            let own: Vec<usize> = events.iter().filter_map(|e| e.id.strip_prefix(&format!("{writer}-"))?.parse().ok()).collect();
            assert!(own.is_sorted() && own.last() == Some(&2999), "{writer}");
        }
    }

    #[test]
    fn where_nothing_can_be_written_nothing_fails() {
        let dir = tempfile::tempdir().unwrap();
        tell(File::open(dir.path()).unwrap().as_fd(), &[Event::now("volume", "create", "data", BTreeMap::new())]);
    }
}
