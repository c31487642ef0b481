//! Removing a tree by descriptor, following nothing: its contents are a container's, and may change while it is removed.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, renameat};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, fchmodat, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

/// How far down a descriptor is held for each level; deeper directories are moved up first.
const DEPTH: usize = 64;

/// Removes `name` below `parent`, whatever it is and however deep. What does not exist is removed already, by another process perhaps.
pub fn remove(parent: BorrowedFd, name: &CStr) -> nix::Result<()> {
    let mut moved = Moved { top: parent, count: 0 };
    moved.remove(parent, name, 0)?;
    // Each round takes DEPTH levels off every chain.
    let mut next = 0;
    while next < moved.count {
        let deep = moved.name(next);
        moved.remove(parent, &deep, 0)?;
        next += 1;
    }
    Ok(())
}

/// Bytes of all files in the tree `name` below `parent`, each once however many names it has. What does not exist or lies deeper than
/// descriptors are held for counts nothing.
pub fn size(parent: BorrowedFd, name: &CStr) -> nix::Result<u64> {
    add_size(parent, name, DEPTH, &mut HashSet::new())
}

fn add_size(parent: BorrowedFd, name: &CStr, depth: usize, seen: &mut HashSet<u64>) -> nix::Result<u64> {
    let stat = match fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Err(Errno::ENOENT) => return Ok(0),
        other => other?,
    };
    match SFlag::from_bits_truncate(stat.st_mode & libc::S_IFMT) {
        SFlag::S_IFREG if stat.st_nlink == 1 || seen.insert(stat.st_ino) => Ok(stat.st_size.unsigned_abs()),
        SFlag::S_IFDIR if depth > 0 => {
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let mut dir = match Dir::openat(parent, name, flags, Mode::empty()) {
                // Removed meanwhile, or closed even to its owner, as overlayfs leaves work/work.
                Err(Errno::ENOENT | Errno::EACCES) => return Ok(0),
                other => other?,
            };
            let names: Vec<_> = dir.iter().filter_map(|entry| entry.ok().map(|e| e.file_name().to_owned())).collect();
            let children = names.iter().filter(|n| !matches!(n.to_bytes(), b"." | b".."));
            children.map(|child| add_size(dir.as_fd(), child, depth - 1, seen)).sum()
        }
        _ => Ok(0),
    }
}

/// Directories that lay too deep, moved beside the tree's root.
struct Moved<'a> {
    top: BorrowedFd<'a>,
    count: usize,
}

impl Moved<'_> {
    fn name(&self, number: usize) -> CString {
        CString::new(format!(".rm-deep-{}-{number}", std::process::id())).expect("no NUL")
    }

    fn remove(&mut self, parent: BorrowedFd, name: &CStr, depth: usize) -> nix::Result<()> {
        match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => return Ok(()),
            Err(Errno::EISDIR | Errno::EPERM) => {}
            Err(errno) => return Err(errno),
        }
        if depth == DEPTH {
            let deep = self.name(self.count);
            self.count += 1;
            return gone_is_removed(renameat(parent, name, self.top, deep.as_c_str()));
        }
        gone_is_removed(self.remove_children(parent, name, depth))?;
        gone_is_removed(unlinkat(parent, name, UnlinkatFlags::RemoveDir))
    }

    fn remove_children(&mut self, parent: BorrowedFd, name: &CStr, depth: usize) -> nix::Result<()> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut dir = match Dir::openat(parent, name, flags, Mode::empty()) {
            // overlayfs leaves work/work with mode 0.
            Err(Errno::EACCES) => {
                chmod_dir(parent, name)?;
                Dir::openat(parent, name, flags, Mode::empty())?
            }
            other => other?,
        };
        let names: Vec<_> = dir.iter().filter_map(|entry| entry.ok().map(|e| e.file_name().to_owned())).collect();
        for child in names.iter().filter(|n| !matches!(n.to_bytes(), b"." | b"..")) {
            self.remove(dir.as_fd(), child, depth + 1)?;
        }
        Ok(())
    }
}

fn gone_is_removed(result: nix::Result<()>) -> nix::Result<()> {
    match result {
        Err(Errno::ENOENT) => Ok(()),
        other => other,
    }
}

/// By descriptor: a C library's fchmodat may know no AT_SYMLINK_NOFOLLOW.
fn chmod_dir(parent: BorrowedFd, name: &CStr) -> nix::Result<()> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let dir = nix::fcntl::openat(parent, name, flags, Mode::empty())?;
    fchmodat(crate::sys::fs::CWD, crate::sys::fs::proc_path(dir.as_fd()).as_c_str(), Mode::S_IRWXU, FchmodatFlags::FollowSymlink)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_tree_goes_and_what_its_symlinks_name_stays() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree/a/b");
        fs::create_dir_all(&tree).unwrap();
        fs::write(dir.path().join("kept"), "x").unwrap();
        std::os::unix::fs::symlink(dir.path().join("kept"), tree.join("link")).unwrap();
        fs::write(tree.join("file"), "x").unwrap();
        let parent = fs::File::open(dir.path()).unwrap();
        remove(parent.as_fd(), c"tree").unwrap();
        remove(parent.as_fd(), c"tree").unwrap();
        assert!(!dir.path().join("tree").exists() && dir.path().join("kept").exists());
    }

    #[test]
    fn two_may_remove_one_tree() {
        for _ in 0..20 {
            let dir = tempfile::tempdir().unwrap();
            for n in 0..200 {
                fs::create_dir_all(dir.path().join(format!("tree/{}/{n}", n % 7))).unwrap();
            }
            let parent = fs::File::open(dir.path()).unwrap();
            std::thread::scope(|scope| {
                let other = scope.spawn(|| remove(parent.as_fd(), c"tree"));
                remove(parent.as_fd(), c"tree").unwrap();
                other.join().unwrap().unwrap();
            });
            assert!(!dir.path().join("tree").exists());
        }
    }

    #[test]
    fn a_size_counts_each_file_once() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::write(tree.join("a/b/file"), "12345").unwrap();
        fs::hard_link(tree.join("a/b/file"), tree.join("link")).unwrap();
        std::os::unix::fs::symlink("/etc", tree.join("etc")).unwrap();
        let parent = fs::File::open(dir.path()).unwrap();
        assert_eq!(size(parent.as_fd(), c"tree").unwrap(), 5);
        assert_eq!(size(parent.as_fd(), c"none").unwrap(), 0);
    }

    #[test]
    fn depth_costs_no_descriptors() {
        let dir = tempfile::tempdir().unwrap();
        let mut at = fs::File::open(dir.path()).unwrap();
        for _ in 0..1500 {
            nix::sys::stat::mkdirat(&at, c"d", Mode::S_IRWXU).unwrap();
            at = nix::fcntl::openat(&at, c"d", OFlag::O_RDONLY, Mode::empty()).unwrap().into();
        }
        remove(fs::File::open(dir.path()).unwrap().as_fd(), c"d").unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
