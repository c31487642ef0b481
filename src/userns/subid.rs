//! Subordinate ids: `/etc/subuid` and `/etc/subgid` (subuid(5)).

use std::path::Path;

/// A range of host ids that a user may map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubidRange {
    pub start: u32,
    pub size: u32,
}

/// The ranges of a user, by name or by uid, in file order. A malformed line belongs to nobody; an absent file is empty.
pub fn ranges(path: &Path, name: Option<&str>, uid: u32) -> Vec<SubidRange> {
    let text = std::fs::read(path).unwrap_or_default();
    parse(&String::from_utf8_lossy(&text), name, uid)
}

fn parse(text: &str, name: Option<&str>, uid: u32) -> Vec<SubidRange> {
    let uid = uid.to_string();
    text.lines().filter_map(|line| parse_line(line.trim(), name, &uid)).collect()
}

fn parse_line(line: &str, name: Option<&str>, uid: &str) -> Option<SubidRange> {
    let mut fields = line.splitn(3, ':');
    let owner = fields.next()?;
    let start: u32 = fields.next()?.trim().parse().ok()?;
    let size: u32 = fields.next()?.trim().parse().ok()?;
    let ours = owner == uid || Some(owner) == name;
    // The last id, 2^32-1, means "unchanged" to the kernel and is no id.
    let fits = size > 0 && start.checked_add(size).is_some();
    (ours && fits).then_some(SubidRange { start, size })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_count_by_name_and_by_uid_in_file_order() {
        let text = "ann:100000:65536\nbob:200000:65536\n1000:300000:10\n# ann:1:1\nann:x:1\nann:5\n";
        let found = parse(text, Some("ann"), 1000);
        assert_eq!(found, [SubidRange { start: 100_000, size: 65536 }, SubidRange { start: 300_000, size: 10 }]);
    }

    #[test]
    fn a_range_past_the_last_id_is_not_one() {
        assert_eq!(parse("ann:4294967295:2\nann:7:0\n", Some("ann"), 1), []);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,200}") {
            for range in parse(&text, Some("ann"), 1000) {
                prop_assert!(range.start.checked_add(range.size).is_some());
            }
        }
    }
}
