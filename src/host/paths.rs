//! Where things lie on the host (DESIGN.md, "Disk").
//!
//! ```text
//! ~/.local/share/rl/        the store: --root, $RL_ROOT, /var/lib/rl for root, local disk when home is on the network
//!   blobs/ refs/ layers/    images (image/store.rs)
//!   containers/<id>/        records (container/record.rs)
//!   names/<name>            a symlink to the id
//!   volumes/<name>/         named volumes (container/volume.rs)
//!   networks/<name>/        user-defined networks (network/bridge/)
//!   events/log log.1        what has happened (container/events.rs)
//! /run/user/UID/rl/         what a reboot may lose, found from the uid and never from the environment
//! ```

use std::fs::{DirBuilder, File, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::sys::statfs::{FsType, statfs};

/// The two directories everything lies below.
#[derive(Debug, Clone)]
pub struct Paths {
    /// The store. Absolute.
    pub store: PathBuf,
    /// The runtime directory.
    pub runtime: PathBuf,
}

impl Paths {
    /// Finds both for `uid`; `root` is `--root` or `$RL_ROOT`. Creates nothing.
    pub fn find(uid: u32, root: Option<&Path>) -> Result<Paths> {
        let store = match root {
            Some(root) => std::path::absolute(root).with_context(|| format!("cannot use {} as the store", root.display()))?,
            None => default_store(uid)?,
        };
        Ok(Paths { store, runtime: runtime_dir(uid) })
    }

    /// Whether the caller was never told of `what` in this session, or since the boot where there is none. From now on it counts as told.
    pub fn first_time(&self, what: &str) -> bool {
        File::create_new(self.runtime.join(what)).is_ok()
    }

    /// `containers/` of the store.
    pub fn containers(&self) -> PathBuf {
        self.store.join("containers")
    }

    /// `names/` of the store.
    pub fn names(&self) -> PathBuf {
        self.store.join("names")
    }

    /// `events/` of the store.
    pub fn events(&self) -> PathBuf {
        self.store.join("events")
    }

    /// `networks/` of the store.
    pub fn networks(&self) -> PathBuf {
        self.store.join("networks")
    }

    /// `volumes/` of the store.
    pub fn volumes(&self) -> PathBuf {
        self.store.join("volumes")
    }
}

fn default_store(uid: u32) -> Result<PathBuf> {
    if uid == 0 {
        // Below /root, which only host root may enter, container root (another id) could not reach its own files.
        return Ok("/var/lib/rl".into());
    }
    let dirs =
        directories::BaseDirs::new().context("cannot find the home directory: set HOME, or name a store with --root DIR")?;
    if on_network(dirs.home_dir()) {
        return Ok(format!("/var/tmp/rl-{uid}").into());
    }
    Ok(dirs.data_local_dir().join("rl"))
}

/// Network file systems know neither user xattrs nor the subordinate ids.
fn on_network(path: &Path) -> bool {
    const CIFS: i64 = 0xFF53_4D42;
    const SMB2: i64 = 0xFE53_4D42;
    const AFS: i64 = 0x5346_414F;
    const CEPH: i64 = 0x00C3_6400;
    let Ok(stat) = statfs(path) else { return false };
    let FsType(magic) = stat.filesystem_type();
    FsType(magic) == nix::sys::statfs::NFS_SUPER_MAGIC || [CIFS, SMB2, AFS, CEPH].contains(&magic)
}

/// The runtime directory of `uid`: in its session's, where there is one, else in the other place that no reboot survives.
pub fn runtime_dir(uid: u32) -> PathBuf {
    if uid == 0 {
        return "/run/rl".into();
    }
    let session = PathBuf::from(format!("/run/user/{uid}"));
    if owned_by(&session, uid) { session.join("rl") } else { format!("/dev/shm/rl-{uid}").into() }
}

fn owned_by(path: &Path, uid: u32) -> bool {
    path.symlink_metadata().is_ok_and(|m| m.is_dir() && m.uid() == uid)
}

/// Makes `dir` and its parents with `mode`; one that exists stays as it is.
pub fn make_dirs(dir: &Path, mode: u32) -> Result<()> {
    DirBuilder::new().recursive(true).mode(mode).create(dir).with_context(|| format!("cannot create {}", dir.display()))
}

/// Makes `dir`, private to `uid` (0700), and refuses one that somebody else could have put there (it may lie in /dev/shm).
pub fn make_private_dir(dir: &Path, uid: u32) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => return other.with_context(|| format!("cannot create {}", dir.display())),
    }
    let found = dir.symlink_metadata().with_context(|| format!("cannot read {}", dir.display()))?;
    let private = |m: &Metadata| m.is_dir() && m.uid() == uid && m.mode() & 0o077 == 0;
    if !private(&found) {
        bail!("{} is not a private directory of uid {uid}: refusing to use it", dir.display());
    }
    Ok(())
}
