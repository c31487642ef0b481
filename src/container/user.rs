//! Who the payload runs as: `USER`, `-u` and `--group-add`, looked up in the container's own passwd and group (passwd(5), group(5)).

use anyhow::{Context, Result, bail};

/// Largest /etc/passwd or /etc/group that is read (CVE-2026-47262).
pub const FILE_LIMIT: u64 = 8 << 20;

/// Ids and home of the payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups, exactly.
    pub groups: Vec<u32>,
    pub home: String,
}

/// Resolves `spec` (`name|uid[:group|gid]`, empty is root) as Docker does. A user by number need not be in passwd; then its group
/// is root and its home `/`. Groups of the group file count where the spec names no group.
pub fn resolve(spec: &str, add: &[String], passwd: &[u8], group: &[u8]) -> Result<User> {
    let (user, wanted_group) = spec.split_once(':').map_or((spec, ""), |(user, group)| (user, group));
    let user = if user.is_empty() { "0" } else { user };
    let passwd = String::from_utf8_lossy(passwd);
    let group = String::from_utf8_lossy(group);
    let number = id(user).with_context(|| format!("bad user \"{spec}\""))?;
    let entry = passwd.lines().filter_map(PasswdEntry::parse).find(|entry| match number {
        Some(uid) => entry.uid == uid,
        None => entry.name == user,
    });
    let (uid, mut gid, home, name) = match (&entry, number) {
        (Some(entry), _) => (entry.uid, entry.gid, entry.home, entry.name),
        (None, Some(uid)) => (uid, 0, "/", ""),
        (None, None) => bail!("no user \"{user}\" in the container's /etc/passwd"),
    };
    let mut groups = Vec::new();
    if wanted_group.is_empty() {
        groups.extend(group.lines().filter_map(GroupEntry::parse).filter(|g| g.has(name)).map(|g| g.gid));
    } else {
        gid = find_group(wanted_group, &group)?;
    }
    for extra in add {
        groups.push(find_group(extra, &group)?);
    }
    // Among them, or a program that drops one group after another would end with it (CVE-2022-36109).
    groups.push(gid);
    groups.sort_unstable();
    groups.dedup();
    let home = if home.is_empty() { "/" } else { home };
    Ok(User { uid, gid, groups, home: home.to_string() })
}

fn find_group(wanted: &str, group: &str) -> Result<u32> {
    if let Some(gid) = id(wanted).with_context(|| format!("bad group \"{wanted}\""))? {
        return Ok(gid);
    }
    let entry = group.lines().filter_map(GroupEntry::parse).find(|entry| entry.name == wanted);
    entry.map(|entry| entry.gid).with_context(|| format!("no group \"{wanted}\" in the container's /etc/group"))
}

/// All digits is a number, never a name, however large (CVE-2024-40635); 2^31 and up is no id that Docker takes.
fn id(text: &str) -> Result<Option<u32>> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse::<u32>() {
        Ok(number) if number <= i32::MAX as u32 => Ok(Some(number)),
        _ => bail!("ids must be between 0 and 2147483647"),
    }
}

struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl PasswdEntry<'_> {
    fn parse(line: &str) -> Option<PasswdEntry<'_>> {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let home = fields.nth(1).unwrap_or("");
        Some(PasswdEntry { name, uid, gid, home })
    }
}

struct GroupEntry<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

impl GroupEntry<'_> {
    fn parse(line: &str) -> Option<GroupEntry<'_>> {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let gid = fields.nth(1)?.parse().ok()?;
        Some(GroupEntry { name, gid, members: fields.next().unwrap_or("") })
    }

    fn has(&self, user: &str) -> bool {
        !user.is_empty() && self.members.split(',').any(|member| member == user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\nann:x:1000:100:Ann:/home/ann:/bin/sh\n4294967296:x:0:0::/:/bin/sh\n";
    const GROUP: &[u8] = b"root:x:0:\nusers:x:100:\nwheel:x:10:root,ann\naudio:x:29:ann\n";

    fn ids(spec: &str, add: &[&str]) -> (u32, u32, Vec<u32>) {
        let add: Vec<String> = add.iter().map(|a| a.to_string()).collect();
        let user = resolve(spec, &add, PASSWD, GROUP).unwrap();
        (user.uid, user.gid, user.groups)
    }

    #[test]
    fn a_matrix_of_users_gives_exact_ids() {
        assert_eq!(ids("", &[]), (0, 0, vec![0, 10]));
        assert_eq!(ids("ann", &[]), (1000, 100, vec![10, 29, 100]));
        assert_eq!(ids("1000", &[]), (1000, 100, vec![10, 29, 100]));
        assert_eq!(ids("1", &[]), (1, 0, vec![0]));
        assert_eq!(ids("ann:wheel", &[]), (1000, 10, vec![10]));
        assert_eq!(ids("7:8", &["audio", "44"]), (7, 8, vec![8, 29, 44]));
        assert_eq!(resolve("ann", &[], PASSWD, GROUP).unwrap().home, "/home/ann");
        assert_eq!(resolve("12", &[], PASSWD, GROUP).unwrap().home, "/");
    }

    #[test]
    fn a_number_that_is_too_large_is_refused_and_never_a_name() {
        for spec in ["4294967296", "4294967295", "2147483648", "0:4294967296"] {
            assert!(resolve(spec, &[], PASSWD, GROUP).is_err(), "{spec}");
        }
    }

    #[test]
    fn an_unknown_name_is_refused() {
        assert!(resolve("bob", &[], PASSWD, GROUP).is_err());
        assert!(resolve("ann:staff", &[], PASSWD, GROUP).is_err());
        assert!(resolve("ann", &["staff".into()], PASSWD, GROUP).is_err());
        assert!(resolve("-1", &[], PASSWD, GROUP).is_err());
    }

    proptest! {
        #[test]
        fn hostile_files_do_not_panic(spec in ".{0,20}", passwd in any::<Vec<u8>>(), group in any::<Vec<u8>>()) {
            let _ = resolve(&spec, &[], &passwd, &group);
        }
    }
}
