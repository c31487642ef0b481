//! `rootfs:DIR`: a copy-on-write view of a directory of the host, which is never written.
//!
//! An overlay cannot have a lower directory with mounts below it (EINVAL in a user namespace: they are locked there). So the root is a
//! tmpfs; each directory with nothing special below is an overlay of its own, and where there is something, we go one level
//! deeper. No directory of the host is ever bound: through a bind a container could connect to the sockets in it.

use std::path::{Path, PathBuf};

use super::mountinfo::MountInfo;
use super::plan::MountStep;

/// What a directory of the host has.
pub enum Entry {
    Directory {
        mode: u32,
    },
    File,
    Symlink(PathBuf),
    /// Sockets, devices, FIFOs: not shown.
    Other,
}

/// Kernel file systems: their content belongs to the host's processes and devices, or cannot be an overlay's lower.
const KERNEL_FS: [&str; 18] = [
    "proc",
    "sysfs",
    "devtmpfs",
    "devpts",
    "cgroup",
    "cgroup2",
    "mqueue",
    "tracefs",
    "debugfs",
    "securityfs",
    "pstore",
    "bpf",
    "autofs",
    "configfs",
    "fusectl",
    "efivarfs",
    "hugetlbfs",
    "binfmt_misc",
];

/// Always fresh in a container.
pub const FRESH: [&str; 5] = ["/proc", "/sys", "/dev", "/run", "/tmp"];

/// The view's rules.
pub struct View<'a> {
    /// The directory shown as `/`.
    pub dir: &'a Path,
    pub mounts: &'a [MountInfo],
    /// Shown as empty directories: homes, the store, and what [`FRESH`] replaces. Paths of the host.
    pub hidden: &'a [PathBuf],
    pub volatile: bool,
}

/// The steps that build the view; `list` reads one directory of the host, sorted.
pub fn plan(view: &View, list: &dyn Fn(&Path) -> Vec<(PathBuf, Entry)>) -> Vec<MountStep> {
    let mut steps = Vec::new();
    if view.is_whole(view.dir) {
        steps.push(view.overlay(view.dir, 0o755, 0));
    } else {
        steps.push(MountStep::Skeleton);
        let mut count = 0;
        view.contents(view.dir, list, &mut steps, &mut count);
    }
    for fresh in ["/run", "/tmp"] {
        let mode = if fresh == "/tmp" { "1777" } else { "755" };
        steps.push(MountStep::Tmpfs { at: fresh.into(), options: vec![("mode".into(), mode.into())], attrs: 0 });
    }
    steps
}

impl View<'_> {
    fn inside(&self, path: &Path) -> PathBuf {
        Path::new("/").join(path.strip_prefix(self.dir).unwrap_or(Path::new("")))
    }

    fn overlay(&self, path: &Path, mode: u32, number: usize) -> MountStep {
        MountStep::Overlay {
            at: self.inside(path),
            lowers: vec![path.to_path_buf()],
            upper: number.to_string(),
            mode,
            volatile: self.volatile,
            optional: path != self.dir,
        }
    }

    /// Nothing below `path` needs another treatment than `path`.
    fn is_whole(&self, path: &Path) -> bool {
        let below = |other: &Path| other != path && other.starts_with(path);
        !self.mounts.iter().any(|mount| below(&mount.at)) && !self.hidden.iter().any(|hidden| below(hidden))
    }

    fn is_hidden(&self, path: &Path) -> bool {
        let kernel = |mount: &MountInfo| mount.at == path && KERNEL_FS.contains(&mount.fs_type.as_str());
        self.hidden.iter().any(|hidden| hidden == path) || self.mounts.iter().any(kernel)
    }

    fn contents(&self, dir: &Path, list: &dyn Fn(&Path) -> Vec<(PathBuf, Entry)>, steps: &mut Vec<MountStep>, count: &mut usize) {
        for (path, entry) in list(dir) {
            let at = self.inside(&path);
            match entry {
                Entry::Directory { .. } if self.is_hidden(&path) => steps.push(MountStep::Directory { at, mode: 0o755 }),
                Entry::Directory { mode } if self.is_whole(&path) => {
                    *count += 1;
                    steps.push(MountStep::Directory { at, mode });
                    steps.push(self.overlay(&path, mode, *count));
                }
                Entry::Directory { mode } => {
                    steps.push(MountStep::Directory { at, mode });
                    self.contents(&path, list, steps, count);
                }
                Entry::File => steps.push(MountStep::File { at, source: path }),
                Entry::Symlink(target) => steps.push(MountStep::Symlink { at, target }),
                Entry::Other => {}
            }
        }
    }
}

/// Reads a directory of the host as [`plan`] wants it; an unreadable one is empty.
pub fn list(dir: &Path) -> Vec<(PathBuf, Entry)> {
    use std::os::unix::fs::PermissionsExt;
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut found: Vec<(PathBuf, Entry)> = entries
        .flatten()
        .filter_map(|entry| {
            let path = entry.path();
            let meta = path.symlink_metadata().ok()?;
            let kind = match meta.file_type() {
                t if t.is_dir() => Entry::Directory { mode: meta.permissions().mode() & 0o7777 },
                t if t.is_file() => Entry::File,
                t if t.is_symlink() => Entry::Symlink(std::fs::read_link(&path).ok()?),
                _ => Entry::Other,
            };
            Some((path, kind))
        })
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(dir: &Path) -> Vec<(PathBuf, Entry)> {
        let directory = || Entry::Directory { mode: 0o755 };
        let entries: &[(&str, Entry)] = match dir.to_str().unwrap() {
            "/" => &[
                ("/bin", Entry::Symlink("usr/bin".into())),
                ("/etc", directory()),
                ("/home", directory()),
                ("/proc", directory()),
                ("/sock", Entry::Other),
                ("/swapfile", Entry::File),
                ("/var", directory()),
            ],
            "/var" => &[("/var/lib", directory()), ("/var/mnt", directory())],
            _ => &[],
        };
        entries.iter().map(|(path, entry)| (PathBuf::from(path), copy(entry))).collect()
    }

    fn copy(entry: &Entry) -> Entry {
        match entry {
            Entry::Directory { mode } => Entry::Directory { mode: *mode },
            Entry::File => Entry::File,
            Entry::Symlink(target) => Entry::Symlink(target.clone()),
            Entry::Other => Entry::Other,
        }
    }

    fn overlays(steps: &[MountStep]) -> Vec<&str> {
        fn place(step: &MountStep) -> Option<&str> {
            match step {
                MountStep::Overlay { at, .. } => at.to_str(),
                _ => None,
            }
        }
        steps.iter().filter_map(place).collect()
    }

    #[test]
    fn a_mount_below_splits_its_parents_and_hidden_directories_are_empty() {
        let mounts = [("/proc", "proc"), ("/var/mnt", "ext4")].map(|(at, fs)| MountInfo { at: at.into(), fs_type: fs.into() });
        let hidden = [PathBuf::from("/home")];
        let view = View { dir: Path::new("/"), mounts: &mounts, hidden: &hidden, volatile: true };
        let steps = plan(&view, &tree);
        assert_eq!(overlays(&steps), ["/etc", "/var/lib", "/var/mnt"]);
        assert!(steps.contains(&MountStep::Directory { at: "/home".into(), mode: 0o755 }));
        assert!(steps.contains(&MountStep::Directory { at: "/proc".into(), mode: 0o755 }));
        assert!(!steps.iter().any(|step| format!("{step:?}").contains("/sock")));
    }

    #[test]
    fn no_directory_of_the_host_is_ever_bound() {
        let view = View { dir: Path::new("/"), mounts: &[], hidden: &[PathBuf::from("/home")], volatile: false };
        assert!(!plan(&view, &tree).iter().any(|step| matches!(step, MountStep::Bind { .. })));
    }

    #[test]
    fn a_plain_directory_is_one_overlay() {
        let view = View { dir: Path::new("/srv/tree"), mounts: &[], hidden: &[], volatile: true };
        assert_eq!(overlays(&plan(&view, &tree)), ["/"]);
    }
}
