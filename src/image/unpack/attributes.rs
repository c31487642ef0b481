//! Owner, mode, times and extended attributes of what is unpacked, by descriptor.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd};

use anyhow::{Context, Result, anyhow};
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{Mode, UtimensatFlags, fchmod, futimens, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat};

use super::ledger::Attributes;
use super::tree::c_string;
use crate::error::Advise;
use crate::sys::xattr;
use crate::userns::idmap::{IdMapping, IdMaps};

/// An opaque directory hides what lower layers have in it (overlayfs.rst, "whiteouts and opaque directories"; `userxattr`).
pub const OPAQUE: &std::ffi::CStr = c"user.overlay.opaque";
/// What a placeholder stands for: `c 1:3`.
pub const DEVICE: &std::ffi::CStr = c"user.rl.device";

/// Sets attributes as far as the id map and the file system go, and remembers what had to be left out. What is right already is left
/// alone: most files are root's and have the mode they were created with, and a system call less for each is a tenth of the time.
#[derive(Clone)]
pub struct Setter {
    uids: Ids,
    gids: Ids,
    /// Files get the mode that they are created with: there is no umask.
    exact_modes: bool,
    left_out: BTreeSet<&'static str>,
}

/// The ids of a user namespace, by first one and number.
#[derive(Clone)]
struct Ids(Vec<(u32, u32)>);

impl Ids {
    fn of(map: &[IdMapping]) -> Ids {
        Ids(map.iter().map(|line| (line.container_id, line.size)).collect())
    }

    /// Only one, to which everything must belong then.
    fn is_one(&self) -> bool {
        matches!(self.0[..], [(_, 1)])
    }

    fn has(&self, id: u32) -> bool {
        self.0.iter().any(|&(first, size)| id >= first && id - first < size)
    }
}

impl Setter {
    /// For root of a user namespace with these maps. Ends the umask of this process.
    pub fn new(maps: &IdMaps) -> Setter {
        nix::sys::stat::umask(Mode::empty());
        Setter { uids: Ids::of(&maps.uid), gids: Ids::of(&maps.gid), exact_modes: true, left_out: BTreeSet::new() }
    }

    /// For tests by an ordinary user outside of any user namespace: everything is to belong to that user.
    #[cfg(test)]
    pub fn for_tests() -> Setter {
        let ids = Ids(vec![(0, if nix::unistd::geteuid().is_root() { u32::MAX } else { 1 })]);
        Setter { uids: ids.clone(), gids: ids, exact_modes: false, left_out: BTreeSet::new() }
    }

    /// What was left out, by this one and by another for the same layer, in sentences.
    pub fn warnings(mut self, other: Setter) -> Vec<String> {
        self.left_out.extend(other.left_out);
        self.left_out.into_iter().map(str::to_string).collect()
    }

    /// A file, directory or fifo that this process created, as itself and with `mode`. Owner before mode, since a change of owner clears
    /// the setuid bits and file capabilities (chown(2)); time last.
    pub fn set(&mut self, fd: BorrowedFd, wanted: &Attributes, mode: u32, xattrs: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
        let owner = self.owner(wanted);
        if let Some((uid, gid)) = owner {
            self.mapped(fchown(fd, uid, gid), wanted)?;
        }
        if wanted.mode != mode || !self.exact_modes {
            fchmod(fd, Mode::from_bits_truncate(wanted.mode)).context("cannot set its mode")?;
        }
        self.set_xattrs(fd, xattrs)?;
        let time = time(wanted.mtime);
        futimens(fd, &time, &time).context("cannot set its time")
    }

    /// A symlink, which has no descriptor that would do and no mode.
    pub fn set_symlink(&mut self, parent: BorrowedFd, name: &[u8], wanted: &Attributes) -> Result<()> {
        let name = c_string(name);
        if let Some((uid, gid)) = self.owner(wanted) {
            let owned = fchownat(parent, name.as_c_str(), uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW);
            self.mapped(owned, wanted)?;
        }
        let time = time(wanted.mtime);
        utimensat(parent, name.as_c_str(), &time, &time, UtimensatFlags::NoFollowSymlink).context("cannot set its time")
    }

    /// None: it is right already, for what root creates is root's. With one id everything is: who calls has been told that there is
    /// only one (userns/plan.rs).
    fn owner(&self, wanted: &Attributes) -> Option<(Option<Uid>, Option<Gid>)> {
        let uid = (wanted.uid != 0 && !self.uids.is_one()).then(|| Uid::from_raw(wanted.uid));
        let gid = (wanted.gid != 0 && !self.gids.is_one()).then(|| Gid::from_raw(wanted.gid));
        (uid.is_some() || gid.is_some()).then_some((uid, gid))
    }

    /// EINVAL is how the kernel says that an id does not exist in this user namespace (chown(2)).
    fn mapped(&self, owned: nix::Result<()>, wanted: &Attributes) -> Result<()> {
        let what = match owned {
            Err(Errno::EINVAL) if !self.uids.has(wanted.uid) => format!("uid {}", wanted.uid),
            Err(Errno::EINVAL) if !self.gids.has(wanted.gid) => format!("gid {}", wanted.gid),
            owned => return owned.context("cannot set its owner"),
        };
        Err(anyhow!("cannot set its owner: there is no {what} in a container")).hint(
            || "take an image with smaller ids, or get more: usermod --add-subuids FIRST-LAST --add-subgids FIRST-LAST \"$USER\"",
        )
    }

    /// Sets those extended attributes that an image may bring.
    pub fn set_xattrs(&mut self, fd: BorrowedFd, xattrs: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
        for (name, value) in xattrs.iter().filter(|(name, _)| may_come_from_image(name)) {
            match xattr::set(fd, &c_string(name), value) {
                Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                    self.left_out.insert("extended attributes are lost: the store's file system has none");
                }
                other => other.with_context(|| format!("cannot set its attribute {}", super::shown(name)))?,
            }
        }
        Ok(())
    }

    /// Hides what lower layers have in this directory.
    pub fn make_opaque(&mut self, directory: impl AsFd) -> Result<()> {
        xattr::set(directory.as_fd(), OPAQUE, b"y")
            .context("cannot make the directory opaque")
            .hint(|| "put the store on a file system with user extended attributes (--root DIR)")
    }
}

/// File capabilities and the user's own. Not the kernel's (system), the host's policy (security), what only host root may set
/// (trusted), nor what overlayfs and we give a meaning: an image could make whiteouts and redirects of it.
fn may_come_from_image(name: &[u8]) -> bool {
    name == b"security.capability"
        || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay.") && !name.starts_with(b"user.rl."))
}

fn time((seconds, nanoseconds): (i64, u32)) -> TimeSpec {
    TimeSpec::new(seconds, nanoseconds.into())
}

#[cfg(test)]
mod tests {
    use super::super::ledger::PLAIN;
    use super::*;
    use crate::error::Failure;

    #[test]
    fn an_image_brings_capabilities_and_user_attributes_and_no_others() {
        for good in ["security.capability", "user.x", "user.overlayed"] {
            assert!(may_come_from_image(good.as_bytes()), "{good}");
        }
        for bad in [
            "user.overlay.opaque",
            "user.overlay.redirect",
            "user.rl.device",
            "trusted.overlay.opaque",
            "security.selinux",
            "system.posix_acl_access",
            "security.ima",
            "",
        ] {
            assert!(!may_come_from_image(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn an_id_that_is_not_mapped_names_the_cure() {
        let ids = || Ids(vec![(0, 1), (1, 65536)]);
        let setter = Setter { uids: ids(), gids: ids(), exact_modes: true, left_out: BTreeSet::new() };
        let failure = |uid, gid, errno| {
            let wanted = Attributes { uid, gid, ..PLAIN };
            Failure::from(&setter.mapped(Err(errno), &wanted).unwrap_err())
        };
        let unmapped = failure(70000, 0, Errno::EINVAL);
        assert!(unmapped.message.contains("no uid 70000") && unmapped.hint.unwrap().contains("--add-subuids"));
        assert!(failure(65536, 65537, Errno::EINVAL).message.contains("no gid 65537"));
        assert!(failure(70000, 0, Errno::EPERM).hint.is_none());
    }

    #[test]
    fn one_id_is_not_many() {
        assert!(Ids(vec![(0, 1)]).is_one());
        assert!(!Ids(vec![(0, u32::MAX)]).is_one() && !Ids(vec![(0, 1), (1, 1)]).is_one() && !Ids(Vec::new()).is_one());
    }
}
