//! Removing a tree by descriptor, following nothing: its contents are a container's, and may change while it is removed.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};
use nix::unistd::{UnlinkatFlags, unlinkat};

/// Removes `name` below `parent`, whatever it is. What does not exist is removed already.
pub fn remove(parent: BorrowedFd, name: &CStr) -> nix::Result<()> {
    match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => return Ok(()),
        Err(Errno::EISDIR | Errno::EPERM) => {}
        Err(errno) => return Err(errno),
    }
    remove_children(parent, name)?;
    match unlinkat(parent, name, UnlinkatFlags::RemoveDir) {
        Err(Errno::ENOENT) => Ok(()),
        other => other,
    }
}

/// Depth is bounded by the kernel's path walk, not by us: each level holds one descriptor, so very deep trees are flattened first.
fn remove_children(parent: BorrowedFd, name: &CStr) -> nix::Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut dir = match Dir::openat(parent, name, flags, Mode::empty()) {
        // overlayfs leaves work/work with mode 0.
        Err(Errno::EACCES) => {
            fchmodat(parent, name, Mode::S_IRWXU, FchmodatFlags::NoFollowSymlink).or_else(|_| chmod_dir(parent, name))?;
            Dir::openat(parent, name, flags, Mode::empty())?
        }
        other => other?,
    };
    let names: Vec<_> = dir.iter().filter_map(|entry| entry.ok().map(|e| e.file_name().to_owned())).collect();
    for child in names.iter().filter(|n| !matches!(n.to_bytes(), b"." | b"..")) {
        remove(dir.as_fd(), child)?;
    }
    Ok(())
}

/// For C libraries whose fchmodat knows no AT_SYMLINK_NOFOLLOW: through a descriptor.
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
}
