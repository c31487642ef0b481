//! References in the store: which name is which image. One small file per name, so that pulling one of 500 images rewrites one file.
//!
//! ```text
//! refs/docker.io/library/alpine/:3.23              a tag
//! refs/docker.io/library/alpine/@sha256:<hex>      what a registry calls it: the digest of its manifest, or of the index that led there
//! refs/@sha256:<hex of the manifest>               an image that has lost its names (`<none>`), until it is pruned
//! index.json                                       the same, generated for other readers of image layouts (index.rs)
//! ```
//!
//! No part of a repository begins with `:` or `@` (reference.rs), so the tag `c` of `a/b` and the repository `a/b/c` lie side by side.
//! References change under the exclusive lock only (store.rs, "Locks"). Each file is written aside, synced and renamed, its directory
//! synced: a name is what it was or what it becomes. It is written after all that it leads to and removed before any of that.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::reference::Reference;
use super::store::{Exclusive, Store, make_directory, present, replace_by, sync_directory};
use crate::oci::digest::Digest;
use crate::oci::image::Descriptor;
use crate::sys::failpoint::milestone;

/// In `refs/`, a reference on its way.
const TEMPORARY: &str = ".tmp";

/// What a reference leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// The manifest for one platform, which `platform` tells where it is known.
    pub manifest: Descriptor,
    /// The digest of the configuration: the image's id.
    pub id: Digest,
    /// The index by which the registry led to the manifest. It need not be in the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<Descriptor>,
    /// When the reference came to lead there, RFC 3339.
    pub updated: String,
}

impl Target {
    /// What the registry calls it: a later pull of the same tag that finds this digest has nothing to do.
    pub fn registry_digest(&self) -> &Digest {
        self.index.as_ref().map_or(&self.manifest.digest, |index| &index.digest)
    }

    /// The same image, from now on under another name.
    pub fn retagged(&self) -> Target {
        Target { updated: now(), ..self.clone() }
    }
}

/// A name and what it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// A tag or a digest, never both. None: the image has no name left.
    pub reference: Option<Reference>,
    pub target: Target,
}

/// All references as they are found.
#[derive(Debug, Default)]
pub struct Scan {
    pub named: Vec<Named>,
    /// Files that should be references and are not.
    pub damaged: Vec<(PathBuf, anyhow::Error)>,
}

impl Named {
    /// A name that a person gave, not one that is only a digest.
    pub fn tag(&self) -> Option<&Reference> {
        self.reference.as_ref().filter(|reference| reference.tag().is_some())
    }
}

impl Store {
    /// What a reference leads to; of a tag and a digest the digest decides. One file is read, however many images there are.
    pub fn reference(&self, reference: &Reference) -> Result<Option<Target>> {
        read(&self.reference_file(reference))
    }

    /// Names an image that a registry gave us: under its tag and, so that `NAME@DIGEST` finds it too, its digest. All that the target
    /// leads to is in the store. Waits for the exclusive lock, so the caller must not hold the shared one.
    pub fn set_reference(&self, reference: &Reference, target: &Target) -> Result<()> {
        let store = self.exclusive()?;
        if reference.digest().is_none() {
            store.name(&reference.with_digest(target.registry_digest().clone()), target)?;
        }
        store.name(reference, target)?;
        store.write_index()
    }

    /// Every reference, sorted by name, the nameless ones last. For listings: it reads all of them. What cannot be read is left out here
    /// and reported by `rl system check`.
    pub fn references(&self) -> Result<Vec<Named>> {
        let Scan { mut named, damaged } = self.scan_references()?;
        for (path, error) in damaged {
            eprintln!("rl: skipping {}: {error:#}", path.display());
        }
        named.sort_by(|a, b| {
            let key = |n: &Named| {
                (n.reference.is_none(), n.reference.as_ref().map(ToString::to_string), n.target.manifest.digest.clone())
            };
            key(a).cmp(&key(b))
        });
        Ok(named)
    }

    /// Every reference, and every file that should be one and is not.
    pub fn scan_references(&self) -> Result<Scan> {
        let mut scan = Scan::default();
        walk(&self.references_directory(), "", &mut |path, name| match read_named(path, name) {
            Ok(Some(found)) => scan.named.push(found),
            Ok(None) => {}
            Err(error) => scan.damaged.push((path.to_path_buf(), error)),
        })?;
        Ok(scan)
    }

    pub(super) fn references_directory(&self) -> PathBuf {
        self.root().join("refs")
    }

    fn reference_file(&self, reference: &Reference) -> PathBuf {
        // Its parts are safe as file names: Reference allows no others.
        let directory = self.references_directory().join(reference.registry()).join(reference.repository());
        match (reference.digest(), reference.tag()) {
            (Some(digest), _) => directory.join(format!("@{digest}")),
            (None, tag) => directory.join(format!(":{}", tag.unwrap_or("latest"))),
        }
    }

    fn nameless_file(&self, manifest: &Digest) -> PathBuf {
        self.references_directory().join(format!("@{manifest}"))
    }
}

impl Exclusive {
    /// Writes one reference. The image that had the name before keeps a nameless reference when this was its last. The image layout's
    /// index is to be written after ([`Exclusive::write_index`]).
    pub fn name(&self, reference: &Reference, target: &Target) -> Result<()> {
        let file = self.store().reference_file(reference);
        let before = read(&file).unwrap_or_default().filter(|before| before.manifest.digest != target.manifest.digest);
        if let Some(before) = before
            && !self.has_other_name(&file, &before.manifest.digest)?
        {
            self.keep_nameless(&before)?;
        }
        milestone("image-naming");
        self.write(&file, target)?;
        milestone("image-named");
        self.remove(&self.store().nameless_file(&target.manifest.digest))
    }

    /// Takes one name away; the image may be left without any. None: without a name already, the one of this manifest.
    pub fn unname(&self, reference: Option<&Reference>, manifest: &Digest) -> Result<()> {
        match reference {
            Some(reference) => self.remove(&self.store().reference_file(reference)),
            None => self.remove(&self.store().nameless_file(manifest)),
        }
    }

    /// Keeps an image that has no name.
    pub fn keep_nameless(&self, target: &Target) -> Result<()> {
        self.write(&self.store().nameless_file(&target.manifest.digest), target)
    }

    fn write(&self, path: &Path, target: &Target) -> Result<()> {
        let directory = path.parent().context("a reference lies in a directory")?;
        make_synced(directory)?;
        // No registry is called so; and nobody else writes one meanwhile.
        let temporary = self.store().references_directory().join(TEMPORARY);
        replace_by(&temporary, path, &serde_json::to_vec(target)?)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        let cannot = || format!("cannot remove {}", path.display());
        let Some(()) = present(fs::remove_file(path)).with_context(cannot)? else { return Ok(()) };
        let top = self.store().references_directory();
        let mut directory = path.parent().unwrap_or(&top);
        sync_directory(directory).with_context(cannot)?;
        // Nobody puts anything in meanwhile.
        while directory != top && fs::remove_dir(directory).is_ok() {
            directory = directory.parent().unwrap_or(&top);
        }
        Ok(())
    }

    fn has_other_name(&self, file: &Path, manifest: &Digest) -> Result<bool> {
        let mut found = false;
        walk(&self.store().references_directory(), "", &mut |path, _| {
            found |= path != file && read(path).is_ok_and(|t| t.is_some_and(|t| t.manifest.digest == *manifest));
        })?;
        Ok(found)
    }
}

/// Calls `each` with every reference's file and the name that it stands for: `docker.io/library/alpine:3.23`, `@sha256:…`.
fn walk(directory: &Path, name: &str, each: &mut dyn FnMut(&Path, &str)) -> Result<()> {
    let read = || format!("cannot read {}", directory.display());
    let Some(entries) = present(fs::read_dir(directory)).with_context(read)? else { return Ok(()) };
    for entry in entries {
        let entry = entry.with_context(read)?;
        let file_name = entry.file_name();
        let part = file_name.to_string_lossy();
        if part.starts_with([':', '@']) {
            each(&entry.path(), &format!("{name}{part}"));
        } else if entry.file_type().with_context(read)?.is_dir() {
            walk(&entry.path(), &if name.is_empty() { part.to_string() } else { format!("{name}/{part}") }, each)?;
        }
    }
    Ok(())
}

fn read_named(path: &Path, name: &str) -> Result<Option<Named>> {
    let Some(target) = read(path)? else { return Ok(None) };
    if let Some(digest) = name.strip_prefix('@') {
        if digest != target.manifest.digest.to_string() {
            bail!("it leads to {}", target.manifest.digest);
        }
        return Ok(Some(Named { reference: None, target }));
    }
    Ok(Some(Named { reference: Some(name.parse()?), target }))
}

fn read(path: &Path) -> Result<Option<Target>> {
    let cannot = || format!("cannot read {}", path.display());
    match present(fs::read(path)).with_context(cannot)? {
        Some(bytes) => serde_json::from_slice(&bytes).with_context(cannot).map(Some),
        None => Ok(None),
    }
}

/// Makes a directory and its parents, each name on disk before there is anything below it.
fn make_synced(directory: &Path) -> Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    if let Some(parent) = directory.parent() {
        make_synced(parent)?;
        make_directory(directory, 0o700)?;
        sync_directory(parent).with_context(|| format!("cannot create {}", directory.display()))?;
    }
    Ok(())
}

/// The time as references keep it.
pub fn now() -> String {
    humantime::format_rfc3339_nanos(std::time::SystemTime::now()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::image::MANIFEST;
    use proptest::prelude::*;

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::new(directory.path().join("store"));
        (directory, store)
    }

    fn target(text: &str) -> Target {
        let digest = Digest::of(text.as_bytes());
        let manifest = Descriptor {
            media_type: MANIFEST.into(),
            digest: digest.clone(),
            size: text.len() as u64,
            platform: None,
            annotations: Default::default(),
        };
        Target { manifest, id: Digest::of(digest.to_string().as_bytes()), index: None, updated: now() }
    }

    fn reference(text: &str) -> Reference {
        text.parse().unwrap()
    }

    fn names(store: &Store) -> Vec<String> {
        let text = |n: Named| n.reference.map_or_else(|| format!("@{}", n.target.manifest.digest), |r| r.familiar());
        store.references().unwrap().into_iter().map(text).collect()
    }

    #[test]
    fn a_pulled_image_is_found_by_its_tag_and_by_its_digest() {
        let (_directory, store) = store();
        let (alpine, target) = (reference("alpine"), target("one"));
        assert_eq!(store.reference(&alpine).unwrap(), None);
        assert!(store.references().unwrap().is_empty());
        store.set_reference(&alpine, &target).unwrap();
        let pinned = alpine.with_digest(target.manifest.digest.clone());
        assert_eq!(store.reference(&alpine).unwrap().as_ref(), Some(&target));
        assert_eq!(store.reference(&pinned).unwrap().as_ref(), Some(&target));
        assert_eq!(names(&store), ["alpine:latest".to_string(), pinned.familiar()]);
        assert_eq!(store.references().unwrap().iter().filter_map(Named::tag).count(), 1);
    }

    #[test]
    fn a_tag_and_a_repository_of_the_same_name_lie_side_by_side() {
        let (_directory, store) = store();
        let all = ["host:5000/a/b:c", "host:5000/a/b/c:d", "host:5000/a:b", "localhost/refs/tmp:tmp1", "[::1]:5000/x:1"];
        let all: Vec<Reference> = all.into_iter().map(reference).collect();
        let lock = store.exclusive().unwrap();
        for (number, reference) in all.iter().enumerate() {
            lock.name(reference, &target(&number.to_string())).unwrap();
        }
        for (number, reference) in all.iter().enumerate() {
            assert_eq!(store.reference(reference).unwrap().unwrap().manifest, target(&number.to_string()).manifest);
        }
        for reference in &all {
            assert!(names(&store).contains(&reference.familiar()));
            lock.unname(Some(reference), &Digest::of(b"")).unwrap();
            assert_eq!(store.reference(reference).unwrap(), None);
        }
        assert_eq!(fs::read_dir(store.references_directory()).unwrap().count(), 0, "no empty directory stays");
    }

    #[test]
    fn an_image_whose_last_name_goes_to_another_stays_without_one() {
        let (_directory, store) = store();
        let (one, two) = (target("one"), target("two"));
        let lock = store.exclusive().unwrap();
        lock.name(&reference("app"), &one).unwrap();
        lock.name(&reference("other"), &one).unwrap();
        lock.name(&reference("app"), &two).unwrap();
        assert_eq!(names(&store), ["app:latest", "other:latest"]);
        lock.name(&reference("other"), &two).unwrap();
        let nameless = format!("@{}", one.manifest.digest);
        assert_eq!(names(&store), ["app:latest", "other:latest", &nameless]);
        lock.name(&reference("again"), &one).unwrap();
        assert_eq!(names(&store), ["again:latest", "app:latest", "other:latest"]);
        lock.keep_nameless(&one).unwrap();
        lock.unname(None, &one.manifest.digest).unwrap();
        assert_eq!(names(&store).len(), 3);
    }

    #[test]
    fn other_readers_find_the_same_names_in_index_json() {
        let (_directory, store) = store();
        store.set_reference(&reference("alpine"), &target("one")).unwrap();
        let index = crate::image::layout::read_index(store.root()).unwrap();
        let name = |d: &Descriptor| d.annotations[crate::oci::image::REF_NAME].clone();
        assert_eq!(index.manifests.iter().map(name).next().unwrap(), "docker.io/library/alpine:latest");
        assert_eq!(index.manifests.len(), 2);
    }

    #[test]
    fn a_damaged_reference_is_an_error_and_no_other_image() {
        let (_directory, store) = store();
        store.set_reference(&reference("alpine"), &target("one")).unwrap();
        let file = store.references_directory().join("docker.io/library/alpine/:latest");
        fs::write(&file, "{").unwrap();
        assert!(store.reference(&reference("alpine")).is_err());
        let scan = store.scan_references().unwrap();
        assert_eq!((scan.named.len(), scan.damaged.len()), (1, 1));
        store.set_reference(&reference("alpine"), &target("one")).unwrap();
        assert_eq!(store.scan_references().unwrap().damaged.len(), 0);
    }

    proptest! {
        #[test]
        fn every_reference_s_file_says_its_name(text in "([a-z]{1,3}(\\.[a-z]{1,3})?(:[0-9]{1,4})?/)?[a-z0-9]{1,4}([/._-][a-z0-9]{1,3}){0,3}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,5})?") {
            if let Ok(reference) = text.parse::<Reference>() {
                let store = Store::new("/s");
                let file = store.reference_file(&reference);
                let inner = file.strip_prefix("/s/refs").unwrap().to_str().unwrap();
                let name = inner.replacen("/:", ":", 1);
                prop_assert_eq!(name.parse::<Reference>().unwrap(), reference);
            }
        }
    }
}
