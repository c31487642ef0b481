//! The processes of a running container, as the host sees them (`rl top`). Found through /proc (proc_pid(5)), with or without a cgroup: who is
//! in the payload's PID namespace, or in its mount namespace where that one is shared with others, and their descendants.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use anyhow::{Result, bail};

use super::record::{self, Record};

/// In which the kernel tells times of processes, on every architecture `rl` is built for (time(7), "The software clock").
const TICKS: u64 = 100;

/// One process, in the host's numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pub pid: i32,
    pub parent: i32,
    /// Effective.
    pub uid: u32,
    /// Seconds since 1970.
    pub started: i64,
    /// Seconds of CPU time used.
    pub cpu_seconds: u64,
    /// Of the time since its start, in percent.
    pub cpu_share: u64,
    /// As ps(1) names it; None without one.
    pub terminal: Option<String>,
    /// Its arguments, or in brackets the name of one that has none.
    pub command: String,
}

/// Those of a container, by PID. What ends meanwhile is left out.
pub fn of(record: &Record) -> Result<Vec<Process>> {
    let clock = Clock::now();
    Ok(pids(record)?.into_iter().filter_map(|pid| read(pid, &clock)).collect())
}

/// Their PIDs, sorted.
pub fn pids(record: &Record) -> Result<Vec<i32>> {
    let name = &record.config.name;
    let Some(first) = record.state.pid.filter(|_| record.alive) else { bail!("container \"{name}\" is not running") };
    let own = |kind: &str| record.config.spec.linux.has(kind);
    let kind = if own("pid") { "pid" } else { "mnt" };
    let namespace = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok();
    let payloads = namespace(first);
    if payloads.is_none() || record::start_time(first) != record.state.pid_start {
        bail!("container \"{name}\" has just ended");
    }
    let all = parents();
    let inside: HashSet<i32> = all.keys().copied().filter(|&pid| pid == first || is(namespace(pid), &payloads)).collect();
    Ok(all.keys().copied().filter(|&pid| descends(pid, &inside, &all)).collect())
}

fn is(found: Option<PathBuf>, wanted: &Option<PathBuf>) -> bool {
    found.is_some() && found == *wanted
}

/// Whether it or one of its forebears is among `inside`: a process may have made namespaces of its own.
fn descends(pid: i32, inside: &HashSet<i32>, parents: &BTreeMap<i32, i32>) -> bool {
    let mut line = std::iter::successors(Some(pid), |pid| parents.get(pid).copied().filter(|parent| *parent > 0));
    // PIDs are read one after the other: numbers used again could make a circle of them.
    line.by_ref().take(parents.len() + 1).any(|pid| inside.contains(&pid))
}

/// The parent of every process that there is.
fn parents() -> BTreeMap<i32, i32> {
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| Some((pid, Stat::read(pid)?.parent))).collect()
}

fn read(pid: i32, clock: &Clock) -> Option<Process> {
    let stat = Stat::read(pid)?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let lived = clock.uptime.saturating_sub(stat.start / TICKS).max(1);
    Some(Process {
        pid,
        parent: stat.parent,
        uid: uids.split_whitespace().nth(1)?.parse().ok()?,
        started: clock.booted + i64::try_from(stat.start / TICKS).ok()?,
        cpu_seconds: stat.cpu / TICKS,
        cpu_share: (stat.cpu / TICKS * 100 / lived).min(99),
        terminal: terminal(stat.terminal),
        command: command(&arguments, &stat.name),
    })
}

/// What is needed of `/proc/PID/stat` (proc_pid_stat(5)). Times in ticks.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    name: String,
    parent: i32,
    terminal: i32,
    cpu: u64,
    start: u64,
}

impl Stat {
    fn read(pid: i32) -> Option<Stat> {
        Stat::parse(&String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/stat")).ok()?))
    }

    /// The second field, the name, may hold anything, brackets and spaces too.
    fn parse(text: &str) -> Option<Stat> {
        let (before, after) = text.rsplit_once(')')?;
        let fields: Vec<&str> = after.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).copied();
        let time = |number: usize| field(number)?.parse::<u64>().ok();
        Some(Stat {
            name: before.split_once('(')?.1.into(),
            parent: field(4)?.parse().ok()?,
            terminal: field(7)?.parse().ok()?,
            cpu: time(14)? + time(15)?,
            start: time(22)?,
        })
    }
}

/// When the host started (`btime` of proc_stat(5)), in seconds since 1970, and how long ago that was.
struct Clock {
    booted: i64,
    uptime: u64,
}

impl Clock {
    fn now() -> Clock {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let booted = stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok());
        let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
        let uptime = uptime.split('.').next().and_then(|seconds| seconds.parse().ok());
        Clock { booted: booted.unwrap_or(0), uptime: uptime.unwrap_or(0) }
    }
}

/// The device's name; numbers as in the kernel's admin-guide/devices.txt.
fn terminal(device: i32) -> Option<String> {
    let device = u64::from(device.cast_unsigned());
    let (major, minor) = (libc::major(device), libc::minor(device));
    match (major, minor) {
        (0, _) => None,
        (4, 0..=63) => Some(format!("tty{minor}")),
        (4, _) => Some(format!("ttyS{}", minor - 64)),
        (136..=143, _) => Some(format!("pts/{}", (major - 136) * 256 + minor)),
        _ => Some(format!("{major}:{minor}")),
    }
}

/// Arguments end with NUL each. What would break the line, or move the cursor, is shown as what it is.
fn command(arguments: &[u8], name: &str) -> String {
    let arguments = arguments.strip_suffix(b"\0").unwrap_or(arguments);
    let words = arguments.split(|byte| *byte == 0).map(|word| std::ffi::OsStr::from_bytes(word).to_string_lossy());
    let text = if arguments.is_empty() { format!("[{name}]") } else { words.collect::<Vec<_>>().join(" ") };
    text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.into() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_is_read_whatever_the_name_holds() {
        let line = "4711 (a) S (b) S 4242 4711 4711 34817 4711 4194304 1 2 3 4 150 250 7 8 20 0 1 0 99900 1 1";
        let wanted = Stat { name: "a) S (b".into(), parent: 4242, terminal: 34817, cpu: 400, start: 99900 };
        assert_eq!(Stat::parse(line), Some(wanted));
        for short in ["", "1 (a", "1 (a) S", "1 (a) S x 1 1 0"] {
            assert_eq!(Stat::parse(short), None, "{short}");
        }
    }

    #[test]
    fn terminals_have_ps_names() {
        for (device, name) in
            [(0, None), (1024, Some("tty0")), (1088, Some("ttyS0")), (34817, Some("pts/1")), (35072, Some("pts/256"))]
        {
            assert_eq!(terminal(device).as_deref(), name, "{device}");
        }
    }

    #[test]
    fn a_command_stays_in_its_line() {
        assert_eq!(command(b"sh\0-c\0echo a\nb\0", "sh"), "sh -c echo a\\nb");
        assert_eq!(command(b"", "kworker/0:1"), "[kworker/0:1]");
        assert_eq!(command(b"\0", "x"), "[x]");
    }

    #[test]
    fn descendants_belong_to_the_container_and_a_circle_ends() {
        let parents = BTreeMap::from([(1, 0), (10, 1), (11, 10), (12, 11), (20, 1), (30, 31), (31, 30)]);
        let inside = HashSet::from([10]);
        let found: Vec<i32> = parents.keys().copied().filter(|&pid| descends(pid, &inside, &parents)).collect();
        assert_eq!(found, [10, 11, 12]);
    }

    #[test]
    fn this_very_process_is_read() {
        let own = read(std::process::id().cast_signed(), &Clock::now()).unwrap();
        assert_eq!((own.uid, own.parent), (nix::unistd::geteuid().as_raw(), nix::unistd::getppid().as_raw()));
        let now = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap().as_secs().cast_signed();
        assert!((now - 36_000..=now + 2).contains(&own.started), "{own:?}");
    }
}
