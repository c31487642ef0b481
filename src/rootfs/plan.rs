//! From the runtime-spec to an ordered list of mount steps. Pure: what is decided here is tested without a mount.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::oci::runtime::{Device, Mount, Spec};
use crate::sys::mount::{attr, propagation};

/// One step on the way to the container's root. Paths `at` are inside the container, resolved beneath its root when applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountStep {
    /// Upper and work directories live on a tmpfs, because the store's own file system cannot hold them.
    UpperOnTmpfs,
    /// overlayfs of `lowers` (topmost first). `upper` names a pair `upper.NAME`, `work.NAME` in the container's directory.
    Overlay { at: PathBuf, lowers: Vec<PathBuf>, upper: String, mode: u32, volatile: bool, optional: bool },
    /// The root is a tmpfs that the following steps fill.
    Skeleton,
    /// A directory on the skeleton.
    Directory { at: PathBuf, mode: u32 },
    /// A symlink on the skeleton.
    Symlink { at: PathBuf, target: PathBuf },
    /// One regular file of the host, read-only.
    File { at: PathBuf, source: PathBuf },
    /// /proc: fresh, or the host's where the pid namespace is the host's.
    Proc { fresh: bool },
    /// /sys: fresh, or the host's where the network namespace is the host's. Read-only.
    Sys { fresh: bool },
    /// /sys/fs/cgroup: of our own cgroup namespace, or the host's. Read-only, unless a systemd is to work in it.
    Cgroup { fresh: bool, writable: bool },
    /// /dev with its nodes, pts, shm and mqueue.
    Dev { devices: Vec<Device>, tty_group: bool, shm_size: Option<u64>, fresh_mqueue: bool },
    /// /etc/hosts, /etc/hostname, /etc/resolv.conf.
    Etc { files: Vec<(&'static str, String)> },
    /// A directory or file of the host.
    Bind { at: PathBuf, source: PathBuf, recursive: bool, attrs: u64, propagation: u64, fill: bool },
    /// An empty tmpfs; `options` are the file system's own.
    Tmpfs { at: PathBuf, options: Vec<(String, String)>, attrs: u64 },
    /// A path of /proc or /sys that becomes read-only.
    ReadOnly { at: String },
    /// A path of /proc or /sys that is hidden.
    Mask { at: String },
    /// The root itself becomes read-only.
    RootReadOnly,
    /// Places for what will be mounted on the root later: /proc, /sys, /dev and the files of /etc.
    MountPoints,
    /// Takes over the root that Monitor has mounted, with everything below it.
    Adopt,
}

/// What the root is made of.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RootSource {
    /// Unpacked layers, bottom first.
    Layers(Vec<PathBuf>),
    /// A directory of the host, seen copy-on-write.
    Directory(PathBuf),
}

/// What the plan needs beside the spec.
pub struct Surroundings {
    /// The root's own steps ([`root_of_layers`] or `host_view::plan`).
    pub root: Vec<MountStep>,
    /// Texts for /etc.
    pub etc: Vec<(&'static str, String)>,
    /// Group 5 (tty) exists in the container's id map.
    pub tty_group: bool,
    /// The store cannot hold an overlay's upper directory.
    pub upper_on_tmpfs: bool,
    /// The payload's own cgroup is its to divide.
    pub delegated: bool,
}

/// The steps for an image's layers, bottom first.
pub fn root_of_layers(layers: &[PathBuf], volatile: bool) -> Vec<MountStep> {
    let lowers = layers.iter().rev().cloned().collect();
    let (at, upper) = (PathBuf::from("/"), String::from("root"));
    vec![MountStep::Overlay { at, lowers, upper, mode: 0o755, volatile, optional: false }]
}

/// The steps in the order in which they must be applied.
#[derive(Debug, Default)]
pub struct Plan {
    /// For Monitor, before Init: with CAP_SYS_ADMIN in its user namespace a payload could undo what was mounted there, a volume's
    /// `:ro` for one. What comes from the more privileged U is locked for it (mount_namespaces(7)). Empty without that capability.
    pub staged: Vec<MountStep>,
    /// For Init.
    pub steps: Vec<MountStep>,
}

impl Plan {
    /// Init's steps, parted where the container's network namespace is needed: /sys shows it.
    pub fn at_the_network(&self) -> (&[MountStep], &[MountStep]) {
        let sys = self.steps.iter().position(|step| matches!(step, MountStep::Sys { .. }));
        self.steps.split_at(sys.unwrap_or(self.steps.len()))
    }
}

/// Decides on every step.
pub fn plan(spec: &Spec, around: Surroundings) -> Result<Plan> {
    let own = |kind: &str| spec.linux.has(kind);
    let staged = spec.process.capabilities.iter().any(|name| name == "CAP_SYS_ADMIN");
    let mut root = Vec::with_capacity(48);
    if around.upper_on_tmpfs {
        root.push(MountStep::UpperOnTmpfs);
    }
    root.extend(around.root);
    let mut kernels = vec![
        MountStep::Proc { fresh: own("pid") },
        MountStep::Dev {
            devices: spec.linux.devices.clone(),
            tty_group: around.tty_group,
            shm_size: own("ipc").then_some(spec.linux.shm_size),
            fresh_mqueue: own("ipc"),
        },
        MountStep::Etc { files: around.etc },
    ];
    let restrict = |in_sys: bool| {
        let there = |at: &&String| at.starts_with("/sys/") == in_sys;
        let read_only = spec.linux.readonly_paths.iter().filter(there).map(|at| MountStep::ReadOnly { at: at.clone() });
        let masks = spec.linux.masked_paths.iter().filter(there).map(|at| MountStep::Mask { at: at.clone() });
        read_only.chain(masks).collect::<Vec<_>>()
    };
    kernels.extend(restrict(false));
    // The network namespace takes longest: what needs it comes last.
    kernels.push(MountStep::Sys { fresh: own("network") });
    if own("network") {
        kernels.push(MountStep::Cgroup { fresh: own("cgroup"), writable: around.delegated && own("cgroup") });
    }
    kernels.extend(restrict(true));
    let mut mounts: Vec<&Mount> = spec.mounts.iter().collect();
    // Parents first, as Docker: a mount on /a would hide one on /a/b.
    mounts.sort_by_key(|mount| mount.destination.components().count());
    let (on_kernels, users): (Vec<&Mount>, Vec<&Mount>) = mounts.into_iter().partition(|m| on_kernel_fs(&m.destination));
    for mount in on_kernels {
        kernels.push(user_mount(mount)?);
    }
    let mut users = users.into_iter().map(user_mount).collect::<Result<Vec<_>>>()?;
    users.extend(spec.root.readonly.then_some(MountStep::RootReadOnly));
    if staged {
        // A read-only root takes no new directory.
        root.push(MountStep::MountPoints);
        root.extend(users);
        let steps = std::iter::once(MountStep::Adopt).chain(kernels).collect();
        return Ok(Plan { staged: root, steps });
    }
    root.extend(kernels);
    root.extend(users);
    Ok(Plan { staged: Vec::new(), steps: root })
}

/// Below what Init alone can mount.
fn on_kernel_fs(destination: &Path) -> bool {
    ["/proc", "/sys", "/dev"].iter().any(|fs| clean(destination).starts_with(fs))
}

fn user_mount(mount: &Mount) -> Result<MountStep> {
    let at = mount.destination.clone();
    check_destination(&at)?;
    let (attrs, propagation, rest) = options(&mount.options)?;
    match mount.kind.as_str() {
        "tmpfs" => Ok(MountStep::Tmpfs { at, options: tmpfs_options(&rest)?, attrs }),
        "bind" => {
            let recursive = !rest.iter().any(|option| option == "bind");
            if let Some(unknown) = rest.iter().find(|option| !matches!(option.as_str(), "bind" | "rbind")) {
                bail!("unknown mount option \"{unknown}\" for {}", at.display());
            }
            let fill = mount.volume.is_some();
            Ok(MountStep::Bind { at, source: mount.source.clone(), recursive, attrs, propagation, fill })
        }
        other => bail!("unknown mount type \"{other}\" for {}", at.display()),
    }
}

/// Where a mount may go: absolute, not the root itself, and not over the kernel's own file systems (CVE-2025-52881).
pub fn check_destination(at: &Path) -> Result<()> {
    if !at.is_absolute() {
        bail!("mount destination \"{}\" must be an absolute path", at.display());
    }
    let clean = clean(at);
    if clean == Path::new("/") {
        bail!("cannot mount over / of the container");
    }
    if clean.starts_with("/proc") || clean == Path::new("/sys") || clean == Path::new("/dev") {
        bail!("cannot mount over {} of the container", clean.display());
    }
    Ok(())
}

/// The path without `.` and `..`, lexically.
pub fn clean(path: &Path) -> PathBuf {
    use std::path::Component;
    let mut clean = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            _ => {}
        }
    }
    clean
}

/// mount(8) words into attributes and propagation; what is neither is returned.
fn options(words: &[String]) -> Result<(u64, u64, Vec<String>)> {
    let (mut attrs, mut spread, mut rest) = (0, propagation::PRIVATE, Vec::new());
    for word in words {
        match word.as_str() {
            "ro" | "readonly" => attrs |= attr::RDONLY,
            "rw" => attrs &= !attr::RDONLY,
            "nosuid" => attrs |= attr::NOSUID,
            "suid" => attrs &= !attr::NOSUID,
            "nodev" => attrs |= attr::NODEV,
            "dev" => attrs &= !attr::NODEV,
            "noexec" => attrs |= attr::NOEXEC,
            "exec" => attrs &= !attr::NOEXEC,
            "private" | "rprivate" => spread = propagation::PRIVATE,
            "slave" | "rslave" => spread = propagation::SLAVE,
            "shared" | "rshared" => spread = propagation::SHARED,
            _ => rest.push(word.clone()),
        }
    }
    Ok((attrs, spread, rest))
}

/// tmpfs(5) options of a user's mount; its mode is 1777 unless given.
fn tmpfs_options(words: &[String]) -> Result<Vec<(String, String)>> {
    let mut options = vec![("mode".to_string(), "1777".to_string())];
    for word in words {
        let Some((key, value)) = word.split_once('=') else { bail!("unknown tmpfs option \"{word}\"") };
        match key {
            "mode" => options[0].1 = value.to_string(),
            "size" | "nr_inodes" | "nr_blocks" | "uid" | "gid" => options.push((key.to_string(), value.to_string())),
            _ => bail!("unknown tmpfs option \"{word}\""),
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around() -> Surroundings {
        let root = root_of_layers(&["/l/1".into(), "/l/2".into()], true);
        Surroundings { root, etc: vec![], tty_group: true, upper_on_tmpfs: false, delegated: false }
    }

    fn mount(destination: &str, kind: &str, options: &[&str]) -> Mount {
        let options = options.iter().map(|o| o.to_string()).collect();
        Mount { destination: destination.into(), kind: kind.into(), source: "/src".into(), options, volume: None }
    }

    #[test]
    fn the_topmost_layer_comes_first_to_the_kernel() {
        let MountStep::Overlay { lowers, .. } = &around().root[0] else { panic!() };
        assert_eq!(lowers, &[PathBuf::from("/l/2"), PathBuf::from("/l/1")]);
    }

    #[test]
    fn parents_are_mounted_before_what_lies_below_them() {
        let mounts = vec![mount("/a/b/c", "bind", &[]), mount("/a", "tmpfs", &[]), mount("/a/b", "bind", &["ro"])];
        let steps = plan(&Spec { mounts, ..Spec::default() }, around()).unwrap().steps;
        let order: Vec<_> = steps
            .iter()
            .filter_map(|step| match step {
                MountStep::Bind { at, .. } | MountStep::Tmpfs { at, .. } => Some(at.to_str().unwrap()),
                _ => None,
            })
            .collect();
        assert_eq!(order, ["/a", "/a/b", "/a/b/c"]);
    }

    #[test]
    fn nothing_is_mounted_over_the_kernels_file_systems() {
        for bad in ["/proc", "/proc/1", "/x/../proc/sys", "/", "/sys", "/dev/", "relative"] {
            assert!(check_destination(Path::new(bad)).is_err(), "{bad}");
        }
        for good in ["/process", "/dev/shm", "/data"] {
            assert!(check_destination(Path::new(good)).is_ok(), "{good}");
        }
    }

    #[test]
    fn unknown_options_are_refused_not_ignored() {
        let spec = |m| Spec { mounts: vec![m], ..Spec::default() };
        assert!(plan(&spec(mount("/a", "tmpfs", &["colour=red"])), around()).is_err());
        assert!(plan(&spec(mount("/a", "bind", &["fast"])), around()).is_err());
        assert!(plan(&spec(mount("/a", "tmpfs", &["size=1m", "mode=700", "noexec"])), around()).is_ok());
    }

    #[test]
    fn a_payload_that_could_remount_gets_its_root_and_volumes_from_outside() {
        let mut spec = Spec { mounts: vec![mount("/a", "bind", &["ro"]), mount("/dev/x", "bind", &[])], ..Spec::default() };
        assert!(plan(&spec, around()).unwrap().staged.is_empty());
        spec.process.capabilities = vec!["CAP_SYS_ADMIN".into()];
        let plan = plan(&spec, around()).unwrap();
        let binds = |steps: &[MountStep]| steps.iter().filter(|step| matches!(step, MountStep::Bind { .. })).count();
        assert_eq!((binds(&plan.staged), binds(&plan.steps)), (1, 1));
        assert_eq!(plan.steps[0], MountStep::Adopt);
    }

    #[test]
    fn nothing_that_shows_the_network_is_mounted_before_it_is_there() {
        let mut spec = Spec::default();
        spec.linux.namespaces = vec!["network".into(), "pid".into()];
        spec.linux.masked_paths = vec!["/sys/firmware".into(), "/proc/keys".into(), "/etc/x".into()];
        let plan = plan(&spec, around()).unwrap();
        let (before, after) = plan.at_the_network();
        let mask = |at: &str| MountStep::Mask { at: at.into() };
        assert_eq!(after[0], MountStep::Sys { fresh: true });
        assert!(before.contains(&mask("/proc/keys")) && after.contains(&mask("/sys/firmware")));
        // Not forgotten, for it is an error.
        assert!(before.contains(&mask("/etc/x")));
    }

    #[test]
    fn a_read_only_root_is_the_last_step() {
        let spec = Spec {
            root: crate::oci::runtime::Root { readonly: true },
            mounts: vec![mount("/a", "bind", &[])],
            ..Spec::default()
        };
        assert_eq!(plan(&spec, around()).unwrap().steps.last(), Some(&MountStep::RootReadOnly));
    }
}
