//! Id maps as pure values (user_namespaces(7), "User and group ID mappings").

use serde::{Deserialize, Serialize};

use super::subid::SubidRange;

/// One line of a map, in the words of the OCI runtime-spec: ids from `container_id` inside are ids from `host_id` outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMapping {
    #[serde(rename = "containerID")]
    pub container_id: u32,
    #[serde(rename = "hostID")]
    pub host_id: u32,
    pub size: u32,
}

/// Both maps of a user namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMaps {
    pub uid: Vec<IdMapping>,
    pub gid: Vec<IdMapping>,
}

impl IdMaps {
    /// Only the caller, as root: what every user may write without help.
    pub fn single(uid: u32, gid: u32) -> IdMaps {
        let one = |host_id| vec![IdMapping { container_id: 0, host_id, size: 1 }];
        IdMaps { uid: one(uid), gid: one(gid) }
    }

    /// The caller as root, subordinate ranges after it.
    pub fn with_ranges(uid: u32, gid: u32, subuid: &[SubidRange], subgid: &[SubidRange]) -> IdMaps {
        IdMaps { uid: owner_first(uid, subuid), gid: owner_first(gid, subgid) }
    }

    /// Ranges alone: root inside is the first of them. For a caller who is root on the host.
    pub fn ranges_only(subuid: &[SubidRange], subgid: &[SubidRange]) -> IdMaps {
        IdMaps { uid: in_sequence(0, subuid), gid: in_sequence(0, subgid) }
    }

    /// True when ids other than root's exist inside, so that chown and setgroups can work.
    pub fn has_ranges(&self) -> bool {
        count(&self.uid) > 1 && count(&self.gid) > 1
    }

    /// The host's uid and gid of root inside.
    pub fn root(&self) -> (u32, u32) {
        (to_host(&self.uid, 0).unwrap_or(u32::MAX), to_host(&self.gid, 0).unwrap_or(u32::MAX))
    }

    /// The map of a namespace nested in this one in which every id is the same: one line per extent of the parent, since a
    /// line across two is EPERM.
    pub fn identity_within(&self) -> IdMaps {
        let same = |lines: &[IdMapping]| lines.iter().map(|l| IdMapping { host_id: l.container_id, ..*l }).collect();
        IdMaps { uid: same(&self.uid), gid: same(&self.gid) }
    }

    /// `keep-id`: nested in this one, `uid` and `gid` inside are root here (the caller), all others move up by one below them.
    pub fn keep_id_within(&self, uid: u32, gid: u32) -> IdMaps {
        IdMaps { uid: keep(&self.uid, uid), gid: keep(&self.gid, gid) }
    }

    /// The map whose ids the files of a container's layers carry, as the host sees it: under keep-id, where there are ids to move,
    /// its own, so that what the image gives to root is root's; else this one.
    pub fn of_layers(&self, kept: Option<(u32, u32)>) -> IdMaps {
        match kept.filter(|_| self.has_ranges()) {
            Some((uid, gid)) => self.seen_through(&self.keep_id_within(uid, gid)),
            None => self.clone(),
        }
    }

    /// `nested`, a map within this one, from ids in there to ids of the host.
    pub fn seen_through(&self, nested: &IdMaps) -> IdMaps {
        let through = |outer: &[IdMapping], inner: &[IdMapping]| {
            // A line never crosses two extents of its parent's.
            inner.iter().filter_map(|l| to_host(outer, l.host_id).map(|host_id| IdMapping { host_id, ..*l })).collect()
        };
        IdMaps { uid: through(&self.uid, &nested.uid), gid: through(&self.gid, &nested.gid) }
    }

    /// A short name for the map, for directories of files that belong to it: stable, and different for different maps. By FNV-1a,
    /// for before its first digest sha2 asks the processor what it can do, which takes a hundredth of a start in a virtual machine.
    pub fn id(&self) -> String {
        const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
        const PRIME: u64 = 0x100_0000_01b3;
        let text = format!("{}/{}", text(&self.uid), text(&self.gid));
        let hash = text.bytes().fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
        format!("{hash:016x}")
    }
}

/// The lines as `/proc/PID/uid_map` takes them.
pub fn text(lines: &[IdMapping]) -> String {
    lines.iter().map(|l| format!("{} {} {}\n", l.container_id, l.host_id, l.size)).collect()
}

/// The host id of an id inside.
pub fn to_host(lines: &[IdMapping], id: u32) -> Option<u32> {
    let line = lines.iter().find(|l| id >= l.container_id && id - l.container_id < l.size)?;
    Some(line.host_id + (id - line.container_id))
}

fn count(lines: &[IdMapping]) -> u64 {
    lines.iter().map(|l| u64::from(l.size)).sum()
}

fn owner_first(owner: u32, ranges: &[SubidRange]) -> Vec<IdMapping> {
    let mut lines = vec![IdMapping { container_id: 0, host_id: owner, size: 1 }];
    // A range that holds the owner would map one host id twice, which the kernel refuses.
    let apart: Vec<SubidRange> = ranges.iter().copied().filter(|r| owner < r.start || owner - r.start >= r.size).collect();
    lines.extend(in_sequence(1, &apart));
    lines
}

fn in_sequence(first: u32, ranges: &[SubidRange]) -> Vec<IdMapping> {
    // The kernel takes 340 lines; newuidmap fewer by its argument's length. Nobody has that many ranges in earnest.
    const MOST: usize = 64;
    let mut next = first;
    let mut lines = Vec::new();
    for range in ranges.iter().take(MOST) {
        let size = range.size.min(u32::MAX - next);
        lines.push(IdMapping { container_id: next, host_id: range.start, size });
        next += size;
    }
    lines.retain(|line| line.size > 0);
    lines
}

/// Where each id of the parent goes: root to `kept`, ids 1..=kept down by one, the rest stays. Cut at the parent's extents.
fn keep(parent: &[IdMapping], kept: u32) -> Vec<IdMapping> {
    let mut lines = Vec::new();
    for extent in parent {
        let (start, end) = (u64::from(extent.container_id), u64::from(extent.container_id) + u64::from(extent.size));
        let mut part = |from: u64, to: u64, inside: u64| {
            if from < to {
                lines.push(IdMapping { container_id: inside as u32, host_id: from as u32, size: (to - from) as u32 });
            }
        };
        let kept = u64::from(kept);
        if start == 0 {
            part(0, 1, kept);
        }
        let low = start.max(1);
        part(low, end.min(kept + 1), low - 1);
        part(low.max(kept + 1), end, low.max(kept + 1));
    }
    lines.sort_by_key(|line| line.container_id);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn laptop() -> IdMaps {
        let range = [SubidRange { start: 100_000, size: 65536 }];
        IdMaps::with_ranges(1000, 1000, &range, &range)
    }

    #[test]
    fn the_caller_is_root_and_the_ranges_follow() {
        assert_eq!(text(&laptop().uid), "0 1000 1\n1 100000 65536\n");
        assert_eq!(laptop().root(), (1000, 1000));
        assert!(laptop().has_ranges());
    }

    #[test]
    fn a_nested_identity_has_one_line_per_extent_of_its_parent() {
        assert_eq!(text(&laptop().identity_within().uid), "0 0 1\n1 1 65536\n");
    }

    #[test]
    fn keep_id_makes_the_caller_appear_under_its_own_number() {
        let kept = laptop().keep_id_within(1000, 1000);
        assert_eq!(text(&kept.uid), "0 1 1000\n1000 0 1\n1001 1001 64536\n");
        assert_eq!(text(&IdMaps::single(1000, 1000).keep_id_within(1000, 5).gid), "5 0 1\n");
    }

    #[test]
    fn the_name_of_a_map_is_the_same_in_every_version() {
        assert_eq!(laptop().id(), "7f9a854deea486a8");
    }

    #[test]
    fn the_layers_of_keep_id_have_a_map_of_their_own_where_there_are_ids_to_move() {
        let kept = laptop().of_layers(Some((1000, 1000)));
        assert_eq!(text(&kept.uid), "0 100000 1000\n1000 1000 1\n1001 101000 64536\n");
        assert_ne!(kept.id(), laptop().id());
        assert_eq!(laptop().of_layers(Some((0, 0))), laptop());
        assert_eq!(laptop().of_layers(None), laptop());
        let single = IdMaps::single(1000, 1000);
        assert_eq!(single.of_layers(Some((1000, 1000))), single);
    }

    #[test]
    fn a_range_that_holds_the_caller_is_left_out() {
        let range = [SubidRange { start: 900, size: 200 }];
        assert_eq!(IdMaps::with_ranges(1000, 1000, &range, &range), IdMaps::single(1000, 1000));
    }

    proptest! {
        #[test]
        fn keep_id_neither_loses_nor_doubles_an_id(kept in 0u32..70_000, sizes in proptest::collection::vec(1u32..40_000, 0..4)) {
            let mut start = 100_000;
            let ranges: Vec<_> = sizes.iter().map(|&size| { let r = SubidRange { start, size }; start += size + 1; r }).collect();
            let parent = IdMaps::with_ranges(1000, 1000, &ranges, &ranges);
            let nested = parent.keep_id_within(kept, kept).uid;
            prop_assert_eq!(count(&nested), count(&parent.uid));
            prop_assert_eq!(to_host(&nested, kept), Some(0));
            for pair in nested.windows(2) {
                prop_assert!(pair[0].container_id + pair[0].size <= pair[1].container_id);
            }
        }
    }
}
