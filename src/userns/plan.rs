//! Which ids U maps and who writes the maps: decided from the caller's means, purely.

use std::fs;
use std::path::{Path, PathBuf};

use super::idmap::IdMaps;
use super::subid::{SubidRange, ranges};
use crate::host::advice;
use crate::host::facts::{Caller, tool};
use crate::sys::caps;

/// How the maps of a new U get written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Writer {
    /// newuidmap and newgidmap.
    Helpers { newuidmap: PathBuf, newgidmap: PathBuf },
    /// By the caller itself: one id needs no privilege, ranges need CAP_SETUID and CAP_SETGID.
    Caller,
}

/// Which U this caller gets.
#[derive(Debug, Clone)]
pub struct Plan {
    pub maps: IdMaps,
    pub writer: Writer,
    /// What this host does without, one line, and its cure: to be said once per run.
    pub warning: Option<(String, String)>,
}

/// What the plan depends on, so that it is a pure function of it.
struct Means {
    subuid: Vec<SubidRange>,
    subgid: Vec<SubidRange>,
    helpers: Option<(PathBuf, PathBuf)>,
    /// CAP_SETUID and CAP_SETGID in the caller's own user namespace.
    may_map: bool,
    /// The ids that exist in the caller's own user namespace (`/proc/self/uid_map`), as (first, size).
    own: Vec<(u32, u32)>,
}

impl Plan {
    /// Reads the caller's means and decides.
    pub fn of(caller: &Caller) -> Plan {
        let name = caller.name.as_deref();
        let is_root = caller.uid == 0;
        let means = Means {
            subuid: ranges(Path::new("/etc/subuid"), name, caller.uid),
            subgid: ranges(Path::new("/etc/subgid"), name, caller.uid),
            helpers: tool("newuidmap").zip(tool("newgidmap")),
            may_map: is_root && caps::effective().is_ok_and(|set| set & 0xC0 == 0xC0),
            own: if is_root { own_ids(&fs::read_to_string("/proc/self/uid_map").unwrap_or_default()) } else { Vec::new() },
        };
        decide(caller, means)
    }
}

fn decide(caller: &Caller, means: Means) -> Plan {
    let granted = !means.subuid.is_empty() && !means.subgid.is_empty();
    if means.may_map {
        let high = high_range(&means.own).map(|range| IdMaps::ranges_only(&[range], &[range]));
        let maps = if granted { Some(IdMaps::ranges_only(&means.subuid, &means.subgid)) } else { high };
        if let Some(maps) = maps {
            return Plan { maps, writer: Writer::Caller, warning: None };
        }
    }
    match means.helpers {
        Some((newuidmap, newgidmap)) if granted => {
            let maps = match caller.uid {
                0 => IdMaps::ranges_only(&means.subuid, &means.subgid),
                uid => IdMaps::with_ranges(uid, caller.gid, &means.subuid, &means.subgid),
            };
            Plan { maps, writer: Writer::Helpers { newuidmap, newgidmap }, warning: None }
        }
        helpers => Plan {
            maps: IdMaps::single(caller.uid, caller.gid),
            writer: Writer::Caller,
            warning: Some(single_warning(caller, helpers.is_some())),
        },
    }
}

fn single_warning(caller: &Caller, has_helpers: bool) -> (String, String) {
    let who = caller.label();
    if caller.uid == 0 {
        return ("container root is this root: no other ids can be mapped here".into(), advice::add_ranges(caller));
    }
    if has_helpers {
        (
            format!("only one id in the container: no range for \"{who}\" in /etc/subuid and /etc/subgid"),
            advice::add_ranges(caller),
        )
    } else {
        ("only one id in the container: newuidmap and newgidmap are not installed".into(), advice::install_uidmap().into())
    }
}

/// Ids for a root that was given none: far above what distributions and systemd hand out, else the top of what exists here.
fn high_range(own: &[(u32, u32)]) -> Option<SubidRange> {
    const START: u32 = 1_000_000_000;
    const SIZE: u32 = 65536;
    let holds = |&&(first, size): &&(u32, u32)| first <= START && size - (START - first).min(size) >= SIZE;
    if own.iter().find(holds).is_some() {
        return Some(SubidRange { start: START, size: SIZE });
    }
    let &(first, size) = own.iter().max_by_key(|(_, size)| *size)?;
    (size >= 2 * SIZE).then(|| SubidRange { start: first + (size - SIZE), size: SIZE })
}

fn own_ids(uid_map: &str) -> Vec<(u32, u32)> {
    uid_map
        .lines()
        .filter_map(|line| {
            let mut numbers = line.split_whitespace().map(|n| n.parse::<u32>().ok());
            Some((numbers.next()??, numbers.nth(1)??))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn means(granted: bool, helpers: bool) -> Means {
        let range = vec![SubidRange { start: 100_000, size: 65536 }];
        Means {
            subuid: if granted { range.clone() } else { vec![] },
            subgid: if granted { range } else { vec![] },
            helpers: helpers.then(|| ("/usr/bin/newuidmap".into(), "/usr/bin/newgidmap".into())),
            may_map: false,
            own: vec![(0, u32::MAX)],
        }
    }

    fn ann() -> Caller {
        Caller { uid: 1000, gid: 1000, name: Some("ann".into()) }
    }

    fn root() -> Caller {
        Caller { uid: 0, gid: 0, name: Some("root".into()) }
    }

    #[test]
    fn ranges_and_helpers_give_a_full_map() {
        let plan = decide(&ann(), means(true, true));
        assert!(plan.maps.has_ranges() && plan.warning.is_none());
        assert!(matches!(plan.writer, Writer::Helpers { .. }));
    }

    #[test]
    fn without_ranges_or_helpers_there_is_one_id_and_a_cure() {
        let plan = decide(&ann(), means(false, true));
        assert_eq!(plan.maps, IdMaps::single(1000, 1000));
        assert!(plan.warning.unwrap().1.contains("usermod"));
        assert!(decide(&ann(), means(true, false)).warning.unwrap().1.contains("uidmap"));
    }

    #[test]
    fn container_root_is_never_silently_host_root() {
        let able = |granted, own| decide(&root(), Means { may_map: true, own, ..means(granted, true) });
        assert_eq!(able(true, vec![(0, u32::MAX)]).maps.root(), (100_000, 100_000));
        assert_eq!(able(false, vec![(0, u32::MAX)]).maps.root(), (1_000_000_000, 1_000_000_000));
        assert_eq!(able(false, vec![(0, 200_000)]).maps.root().0, 200_000 - 65536);
        let poor = able(false, vec![(0, 65536)]);
        assert_eq!(poor.maps.root(), (0, 0));
        assert!(poor.warning.is_some());
    }
}
