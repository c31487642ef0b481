//! What images are on disk (DESIGN.md, "Disk"). Together with `oci-layout`, the blobs are an image layout (image-layout.md).
//!
//! ```text
//! oci-layout                          marks the layout
//! blobs/<algorithm>/<hex>             whole and verified, or not there
//! refs/…                              which name is which image (refs.rs)
//! index.json                          the same for other readers of image layouts (index.rs)
//! imports/<hex>.json                  which blobs came out of an archive, by the hash of its path (archive.rs)
//! layers/<map-id>/<chain-id>/root/    a layer unpacked for that id map, whole or not there
//! layers/<map-id>/<chain-id>/size     how many bytes its uncompressed archive has
//! layers/<map-id>/<chain-id>.tmp/     ... on its way; whoever unpacks it holds its flock
//! layers/<map-id>/<chain-id>-<n>.rm/  ... on its way out
//! tmp/<pid>-<n>/                      blobs on their way; as above
//! downloads/<algorithm>-<hex>         a blob on its way from a registry (download.rs)
//! tmp/<pid>-<n>/lease@<digest>        a manifest that is being pulled: what it names is not removed
//! ```
//!
//! Something temporary whose flock is free was left by a killed process and is removed by the next one that comes by. The
//! directory of a layer lies in one of its own, since the layer's root may belong to another id and forbid us everything, a
//! rename among it.
//!
//! # Order of writes
//! A power cut at any point leaves the old or the new, never a name for something torn:
//!
//! ```text
//! blob        written and hashed aside → fsync → rename → fsync(directory)
//! layer       unpacked aside → syncfs → rename → fsync(directory)
//! reference   after its manifest, configuration and layers: written aside → fsync → rename → fsync(directory); then index.json likewise
//! removal     reference unlinked → fsync(directory) → index.json → blobs unlinked, layers renamed aside → their files deleted
//! ```
//!
//! # Locks
//! All are flocks, gone with their process. In this order, each only ever taken by somebody who holds none of the later ones:
//!
//! 1. **The store** (its directory). Shared ([`Store::hold`]) by whoever has chosen blobs or layers that are there until something names
//!    them for good: `run` until its container's record does, an import until its note does, and for the moment in which a blob becomes
//!    visible. Exclusive ([`Store::exclusive`]) by whoever changes references or removes anything; it waits for nothing but the disk.
//! 2. **A scratch directory** or **a layer's claim**, for as long as a download or an unpacking takes: minutes, so nobody holds them while
//!    waiting for the store exclusively but a pull that is about to write its reference; and who has the store exclusively looks at them
//!    without waiting.
//!
//! A pull holds no lock of the store while it downloads. Its lease names the manifest before that is visible; whoever removes either comes
//! before the manifest, and then the pull sees what is gone when it looks for what it lacks, or after it, and then leaves it all alone.

use std::ffi::CString;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::Layer;
use crate::oci::digest::{Algorithm, Digest};
use crate::sys::fs::sync_fs;

const TEMPORARY: &str = "tmp";
const REMOVED: &str = "rm";
const SIZE: &str = "size";
const LEASE: &str = "lease@";

/// The store at one place. Nothing is created before it is needed.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    pub fn new(root: impl Into<PathBuf>) -> Store {
        Store { root: root.into() }
    }

    /// The directory that has `blobs/`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the archive with this key is remembered.
    pub fn import_record(&self, key: &Digest) -> PathBuf {
        self.root.join("imports").join(format!("{}.json", key.hex()))
    }

    /// What is remembered about archives.
    pub fn import_records(&self) -> Result<Vec<PathBuf>> {
        let imports = self.root.join("imports");
        Ok(names_in(&imports)?.iter().filter(|name| name.ends_with(".json")).map(|name| imports.join(name)).collect())
    }

    /// The digests of all blobs, by their names.
    pub fn blobs(&self, algorithm: Algorithm) -> Result<Vec<Digest>> {
        let names = names_in(&self.root.join("blobs").join(algorithm.name()))?;
        // Something else is not ours.
        Ok(names.iter().filter_map(|hex| format!("{}:{hex}", algorithm.name()).parse().ok()).collect())
    }

    /// Keeps everything in the store from being removed, until dropped. Short, or at most as long as unpacking what a `run` lacks.
    pub fn hold(&self) -> Result<Hold> {
        Ok(Hold { _lock: self.lock(FlockArg::LockShared)? })
    }

    /// The right to change references and to remove things. Waits until nobody else holds the store; whoever asks holds it neither way.
    pub fn exclusive(&self) -> Result<Exclusive> {
        let lock = self.lock(FlockArg::LockExclusive)?;
        Ok(Exclusive { store: self.clone(), _lock: lock })
    }

    fn lock(&self, how: FlockArg) -> Result<Flock<File>> {
        self.make()?;
        lock(&self.root, how)?.with_context(|| format!("{} has been removed meanwhile", self.root.display()))
    }

    /// The directory of all unpacked layers.
    pub(super) fn all_layers(&self) -> PathBuf {
        self.root.join("layers")
    }

    fn layers(&self, map_id: &str) -> PathBuf {
        self.all_layers().join(map_id)
    }

    fn layer(&self, map_id: &str, chain_id: &Digest) -> PathBuf {
        self.layers(map_id).join(chain_id.hex())
    }

    /// The unpacked files of a layer.
    pub fn layer_root(&self, map_id: &str, chain_id: &Digest) -> PathBuf {
        self.layer(map_id, chain_id).join("root")
    }

    pub fn has_layer(&self, map_id: &str, chain_id: &Digest) -> bool {
        self.layer(map_id, chain_id).exists()
    }

    /// Where blobs grow that come from registries.
    pub fn downloads(&self) -> Result<PathBuf> {
        self.make()?;
        let downloads = self.root.join("downloads");
        make_directory(&downloads, 0o700)?;
        Ok(downloads)
    }

    /// Map id and chain id of every unpacked layer.
    pub fn unpacked(&self) -> Result<Vec<(String, Digest)>> {
        let mut layers = Vec::new();
        for map_id in self.map_ids()? {
            for name in names_in(&self.layers(&map_id))? {
                // Nothing else is a layer: not what is on its way in or out.
                layers.extend(format!("sha256:{name}").parse().ok().map(|chain| (map_id.clone(), chain)));
            }
        }
        Ok(layers)
    }

    /// The id maps that layers are unpacked for.
    pub fn map_ids(&self) -> Result<Vec<String>> {
        names_in(&self.all_layers())
    }

    /// How many bytes a layer's uncompressed archive has; of one that is not unpacked for any id map, its blob's.
    pub fn size_of(&self, layer: &Layer) -> u64 {
        let maps = self.map_ids().unwrap_or_default();
        let noted = maps.iter().find_map(|map_id| self.layer_size(map_id, &layer.chain_id));
        noted.unwrap_or(layer.descriptor.size)
    }

    /// How many bytes a layer's uncompressed archive has, as noted when it was unpacked.
    pub fn layer_size(&self, map_id: &str, chain_id: &Digest) -> Option<u64> {
        fs::read_to_string(self.layer(map_id, chain_id).join(SIZE)).ok()?.trim().parse().ok()
    }

    /// The same of one that is known by its root directory; 0 where nobody has noted it.
    pub fn unpacked_size(layer_root: &Path) -> u64 {
        let noted = layer_root.parent().and_then(|layer| fs::read_to_string(layer.join(SIZE)).ok());
        noted.and_then(|size| size.trim().parse().ok()).unwrap_or(0)
    }

    /// Makes the directories that everything else needs.
    fn make(&self) -> Result<()> {
        if self.root.join("oci-layout").exists() {
            return Ok(());
        }
        make_directory(&self.root, top_mode())?;
        replace_file(&self.root.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#)
    }

    /// The directory of a map's layers; in it [`Claim::root_name`] and [`layer_root_name`] are.
    pub fn layers_directory(&self, map_id: &str) -> Result<OwnedFd> {
        let path = self.layers(map_id);
        let opened = File::options().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(&path);
        Ok(opened.with_context(|| format!("cannot open {}", path.display()))?.into())
    }

    /// Takes the right to unpack a layer, waiting for whoever has it. None: it is there by now.
    pub fn claim_layer(&self, map_id: &str, chain_id: &Digest, owner: (u32, u32)) -> Result<Option<Claim>> {
        self.make()?;
        let layers = self.layers(map_id);
        make_directory(&self.all_layers(), top_mode())?;
        make_directory(&layers, 0o700)?;
        let target = self.layer(map_id, chain_id);
        let temporary = layers.join(format!("{}.{TEMPORARY}", chain_id.hex()));
        open_to(&layers, owner)?;
        while !target.exists() {
            make_directory(&temporary, 0o700)?;
            let Some(lock) = lock(&temporary, FlockArg::LockExclusive)? else { continue };
            let claim = Claim { lock, temporary: temporary.clone(), target: target.clone() };
            if target.exists() {
                // Unpacked by another process between the two looks; what is locked here is new and empty.
                let _ = fs::remove_dir(&temporary);
                break;
            }
            open_to(&temporary, owner)?;
            return Ok(Some(claim));
        }
        Ok(None)
    }

    /// Layers of this map that a killed process left half-made or half-removed.
    pub fn abandoned_layers(&self, map_id: &str) -> Result<Vec<Claim>> {
        let mut abandoned = Vec::new();
        let Some(entries) = present(fs::read_dir(self.layers(map_id)))? else { return Ok(abandoned) };
        for entry in entries {
            let temporary = entry?.path();
            if temporary.extension().is_none_or(|extension| extension != TEMPORARY && extension != REMOVED) {
                continue;
            }
            if let Some(lock) = lock(&temporary, FlockArg::LockExclusiveNonblock)? {
                let target = temporary.with_extension("");
                abandoned.push(Claim { lock, temporary, target });
            }
        }
        Ok(abandoned)
    }

    /// A private directory on the store's file system, gone when dropped. Clears what killed processes left.
    pub fn scratch(&self) -> Result<Scratch> {
        self.make()?;
        let parent = self.root.join("tmp");
        make_directory(&parent, 0o700)?;
        for entry in fs::read_dir(&parent).with_context(|| format!("cannot read {}", parent.display()))? {
            let left = entry?.path();
            if let Some(lock) = lock(&left, FlockArg::LockExclusiveNonblock)? {
                fs::remove_dir_all(&left).with_context(|| format!("cannot remove {}", left.display()))?;
                drop(lock);
            }
        }
        for n in 0.. {
            let path = parent.join(format!("{}-{n}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                other => other.with_context(|| format!("cannot create {}", path.display()))?,
            }
            // None: another process took the moment before the lock for a death, and has removed it.
            if let Some(lock) = lock(&path, FlockArg::LockExclusiveNonblock)? {
                return Ok(Scratch { path, _lock: lock });
            }
        }
        bail!("no name is free in {}", parent.display())
    }

    /// Makes a verified file of a [`Scratch`] a blob: on disk before it is visible. Takes the shared lock.
    pub fn adopt_blob(&self, file: &Path, digest: &Digest) -> Result<()> {
        let _hold = self.hold()?;
        let directory = self.root.join("blobs").join(digest.algorithm().name());
        make_directory(&self.root.join("blobs"), 0o700)?;
        make_directory(&directory, 0o700)?;
        let blob = directory.join(digest.hex());
        let adopt = || {
            File::open(file)?.sync_all()?;
            fs::rename(file, &blob)?;
            sync_directory(&directory)
        };
        adopt().with_context(|| format!("cannot store {}", blob.display()))
    }

    /// Writes a small file below the store, whole or not at all.
    pub fn write_record(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        self.make()?;
        if let Some(parent) = path.parent() {
            make_directory(parent, 0o700)?;
        }
        replace_file(path, bytes)
    }
}

/// A layer that only this process unpacks. When dropped before [`Claim::commit`] it is left as a killed process would leave it.
pub struct Claim {
    lock: Flock<File>,
    temporary: PathBuf,
    target: PathBuf,
}

/// Where the files of a layer are, in the directory of its map's layers.
pub fn layer_root_name(chain_id: &Digest) -> CString {
    CString::new(format!("{}/root", chain_id.hex())).expect("no NUL in hexadecimal digits")
}

impl Claim {
    fn root(&self) -> PathBuf {
        self.temporary.join("root")
    }

    pub fn is_of(&self, chain_id: &Digest) -> bool {
        self.target.file_name().is_some_and(|name| name == chain_id.hex())
    }

    /// Where the files of this layer are as long as it is on its way, in the directory of its map's layers.
    pub fn root_name(&self) -> Result<CString> {
        let name = self.temporary.file_name().context("a layer without a name")?;
        Ok(CString::new([name.as_bytes(), b"/root"].concat())?)
    }

    /// Held as long as this open file is.
    pub fn lock(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }

    /// What an earlier owner left, to be emptied by somebody who may; None where there is nothing.
    pub fn leftover(&self) -> Result<Option<OwnedFd>> {
        let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW;
        let opened = File::options().read(true).custom_flags(flags).open(self.root());
        Ok(present(opened).with_context(|| format!("cannot open {}", self.root().display()))?.map(OwnedFd::from))
    }

    /// Removes the temporary directory; what was in its root has been cleared.
    pub fn discard(self) -> Result<()> {
        let _ = fs::remove_file(self.temporary.join(SIZE));
        present(fs::remove_dir(self.root())).with_context(|| format!("cannot remove {}", self.root().display()))?;
        fs::remove_dir(&self.temporary).with_context(|| format!("cannot remove {}", self.temporary.display()))
    }

    /// The empty directory to unpack into, belonging to `owner`: root of the layer's id map.
    pub fn create_root(&self, (uid, gid): (u32, u32)) -> Result<OwnedFd> {
        let root = self.root();
        let make = || {
            DirBuilder::new().mode(0o700).create(&root)?;
            let directory = File::options().read(true).custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW).open(&root)?;
            if uid != nix::unistd::geteuid().as_raw() {
                std::os::unix::fs::fchown(&directory, Some(uid), Some(gid))?;
            }
            Ok(directory.into())
        };
        make().map_err(|error: io::Error| anyhow!(error)).with_context(|| format!("cannot create {}", root.display()))
    }

    /// Notes how many bytes the layer's archive has. For listings only: a layer without the note is as good.
    pub fn note_size(&self, bytes: u64) {
        let _ = fs::write(self.temporary.join(SIZE), bytes.to_string());
    }

    /// Makes layers visible, lowest first: everything on disk, then the names, then the names on disk.
    pub fn commit(claims: Vec<Claim>) -> Result<()> {
        let Some(last) = claims.last() else { return Ok(()) };
        let written = || format!("cannot write {} to disk", last.temporary.display());
        sync_fs(last.lock.as_fd()).with_context(written)?;
        for claim in &claims {
            fs::rename(&claim.temporary, &claim.target).with_context(|| format!("cannot store {}", claim.target.display()))?;
        }
        last.target.parent().map_or(Ok(()), sync_directory).with_context(written)
    }
}

/// See [`Store::scratch`].
pub struct Scratch {
    path: PathBuf,
    _lock: Flock<File>,
}

impl Scratch {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// From now until this is dropped nothing is removed that the manifest names, itself included, as far as its documents are in the
    /// store. To be called before the manifest is adopted; only then may one look which of its blobs and layers are there already.
    pub fn lease(&self, manifest: &Digest) -> Result<()> {
        let file = self.path.join(format!("{LEASE}{manifest}"));
        File::create(&file).map(drop).with_context(|| format!("cannot create {}", file.display()))
    }
}

/// See [`Store::hold`].
pub struct Hold {
    _lock: Flock<File>,
}

/// See [`Store::exclusive`]. References are changed by refs.rs, blobs and layers removed by gc.rs.
pub struct Exclusive {
    store: Store,
    _lock: Flock<File>,
}

impl Exclusive {
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The manifests that pulls under way have leased.
    pub fn leases(&self) -> Result<Vec<Digest>> {
        let mut leased = Vec::new();
        let tmp = self.store.root.join("tmp");
        let read = || format!("cannot read {}", tmp.display());
        for entry in present(fs::read_dir(&tmp)).with_context(read)?.into_iter().flatten() {
            let directory = entry.with_context(read)?.path();
            if !directory.is_dir() || lock(&directory, FlockArg::LockExclusiveNonblock)?.is_some() {
                continue;
            }
            for file in present(fs::read_dir(&directory)).with_context(read)?.into_iter().flatten() {
                let name = file.with_context(read)?.file_name();
                leased.extend(name.to_str().and_then(|name| name.strip_prefix(LEASE)).and_then(|digest| digest.parse().ok()));
            }
        }
        Ok(leased)
    }

    /// Makes an unpacked layer disappear; [`Store::abandoned_layers`] finds what is left of it.
    pub fn retire_layer(&self, map_id: &str, chain_id: &str) -> Result<()> {
        let (directory, from) = (self.store.layers(map_id), self.store.layers(map_id).join(chain_id));
        let mut aside = (0..).map(|n| directory.join(format!("{chain_id}-{n}.{REMOVED}"))).filter(|path| !path.exists());
        let to = aside.next().context("no name is free")?;
        present(fs::rename(&from, to)).map(drop).with_context(|| format!("cannot remove {}", from.display()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays is cleared by the next one.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Root's store is open as far as its layers, for container root is another id there; everybody else's is private.
fn top_mode() -> u32 {
    if nix::unistd::geteuid().is_root() { 0o711 } else { 0o700 }
}

/// Lets the group of container root, when that is another id than the caller, pass through.
fn open_to(directory: &Path, (uid, gid): (u32, u32)) -> Result<()> {
    if uid == nix::unistd::geteuid().as_raw()
        || fs::metadata(directory).is_ok_and(|m| m.gid() == gid && m.mode() & 0o777 == 0o710)
    {
        return Ok(());
    }
    std::os::unix::fs::chown(directory, None, Some(gid))
        .and_then(|()| fs::set_permissions(directory, fs::Permissions::from_mode(0o710)))
        .with_context(|| format!("cannot open {} to container root", directory.display()))
}

pub(super) fn make_directory(path: &Path, mode: u32) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    // The mode again, for a umask may have cut it.
    let made = DirBuilder::new().recursive(true).mode(mode).create(path);
    match made.and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode))) {
        // Made by another process meanwhile, and perhaps put in its place already.
        Err(_) if path.is_dir() => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.with_context(|| format!("cannot create {}", path.display())),
    }
}

/// Locks a directory. None: it is locked by another process, or not what the name leads to any more.
fn lock(path: &Path, how: FlockArg) -> Result<Option<Flock<File>>> {
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
    let opened = File::options().read(true).custom_flags(flags).open(path);
    let Some(directory) = present(opened).with_context(|| format!("cannot open {}", path.display()))? else { return Ok(None) };
    let inode = directory.metadata()?.ino();
    match Flock::lock(directory, how) {
        Ok(lock) => Ok(fs::symlink_metadata(path).is_ok_and(|now| now.ino() == inode).then_some(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(errno).with_context(|| format!("cannot lock {}", path.display())),
    }
}

fn replace_file(path: &Path, bytes: &[u8]) -> Result<()> {
    // Named by process, for two may write the same one at once.
    replace_by(&path.with_extension(format!("{TEMPORARY}{}", std::process::id())), path, bytes)
}

/// Writes a file whole or not at all, by way of `temporary` on the same file system.
pub(super) fn replace_by(temporary: &Path, path: &Path, bytes: &[u8]) -> Result<()> {
    let replace = || {
        let mut file = File::create(temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(temporary, path)?;
        path.parent().map_or(Ok(()), sync_directory)
    };
    replace()
        .inspect_err(|_: &io::Error| drop(fs::remove_file(temporary)))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Brings the names in a directory to disk.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// The names in a directory, sorted; none where there is no such directory.
fn names_in(directory: &Path) -> Result<Vec<String>> {
    let read = || format!("cannot read {}", directory.display());
    let mut names = Vec::new();
    for entry in present(fs::read_dir(directory)).with_context(read)?.into_iter().flatten() {
        names.extend(entry.with_context(read)?.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

/// None for what does not exist.
pub(super) fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::new(directory.path().join("deep/store"));
        (directory, store)
    }

    fn me() -> (u32, u32) {
        (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw())
    }

    #[test]
    fn a_layer_is_there_only_once_it_is_committed() {
        let (_directory, store) = store();
        let chain = Digest::of(b"layer");
        let claim = store.claim_layer("map", &chain, me()).unwrap().unwrap();
        assert!(claim.leftover().unwrap().is_none());
        claim.create_root(me()).unwrap();
        assert!(!store.has_layer("map", &chain));
        Claim::commit(vec![claim]).unwrap();
        assert!(store.has_layer("map", &chain) && store.layer_root("map", &chain).is_dir());
        assert!(!store.has_layer("other", &chain));
        assert!(store.claim_layer("map", &chain, me()).unwrap().is_none());
    }

    #[test]
    fn what_a_killed_process_left_is_found_and_what_is_in_use_is_not() {
        let (_directory, store) = store();
        assert!(store.abandoned_layers("map").unwrap().is_empty());
        let (dead, alive) = (Digest::of(b"dead"), Digest::of(b"alive"));
        let left = store.claim_layer("map", &dead, me()).unwrap().unwrap();
        left.create_root(me()).unwrap();
        drop(left);
        let kept = store.claim_layer("map", &alive, me()).unwrap().unwrap();
        let abandoned = store.abandoned_layers("map").unwrap();
        assert_eq!(abandoned.len(), 1);
        for claim in abandoned {
            assert!(claim.leftover().unwrap().is_some());
            claim.discard().unwrap();
        }
        kept.create_root(me()).unwrap();
        Claim::commit(vec![kept]).unwrap();
        assert!(store.has_layer("map", &alive) && !store.has_layer("map", &dead));
        assert!(store.abandoned_layers("map").unwrap().is_empty());
    }

    #[test]
    fn two_that_want_one_layer_wait_for_each_other() {
        let (_directory, store) = store();
        let chain = Digest::of(b"layer");
        let first = store.claim_layer("map", &chain, me()).unwrap().unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| store.claim_layer("map", &chain, me()).unwrap().is_none());
            std::thread::sleep(std::time::Duration::from_millis(50));
            assert!(!second.is_finished());
            first.create_root(me()).unwrap();
            Claim::commit(vec![first]).unwrap();
            assert!(second.join().unwrap());
        });
        assert!(store.abandoned_layers("map").unwrap().is_empty());
    }

    #[test]
    fn scratch_goes_with_its_owner_or_with_the_next_one() {
        let (_directory, store) = store();
        let scratch = store.scratch().unwrap();
        let file = scratch.path().join("x");
        fs::write(&file, "hello").unwrap();
        store.adopt_blob(&file, &Digest::of(b"hello")).unwrap();
        assert_eq!(fs::read(store.root().join("blobs/sha256").join(Digest::of(b"hello").hex())).unwrap(), b"hello");
        let left = store.root().join("tmp/1-0");
        fs::create_dir(&left).unwrap();
        let other = store.scratch().unwrap();
        assert!(!left.exists() && scratch.path().exists());
        drop((scratch, other));
        assert_eq!(fs::read_dir(store.root().join("tmp")).unwrap().count(), 0);
    }
}
