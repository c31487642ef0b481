//! Whether the store holds what it says (`rl system check`), and what can be done where it does not.
//!
//! Blobs are read and hashed. A layer that is unpacked was verified on the way and became visible whole; here it is only looked for. What
//! killed processes leave is no problem and not looked at: the next command clears it away.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::archive;
use super::delete::Removal;
use super::layout::{self, Blobs};
use super::local::Stored;
use super::store::{Exclusive, Store};
use crate::error::Failure;
use crate::oci::digest::{Algorithm, Digest, Tee};
use crate::oci::image::Descriptor;

/// Something that is wrong.
#[derive(Debug)]
pub struct Problem {
    /// Which object, and what about it.
    pub what: String,
    cure: Cure,
}

#[derive(Debug)]
enum Cure {
    /// This file goes: nothing can be read from it.
    RemoveFile(PathBuf),
    /// The image's names go: it is not whole, so it had better be absent. It can be pulled again.
    Forget(Box<Stored>),
    RetireLayer {
        map_id: String,
        chain_id: Digest,
    },
}

/// Everything that is wrong with references, blobs, images and unpacked layers. Nobody may remove anything meanwhile.
pub fn check(store: &Store, quick: bool) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for (path, error) in store.scan_references()?.damaged {
        problems.push(Problem { what: Failure::from(&error).message, cure: Cure::RemoveFile(path) });
    }
    let bad = bad_blobs(store, quick)?;
    for (digest, what) in &bad {
        problems.push(Problem { what: what.clone(), cure: Cure::RemoveFile(store.blob(digest)) });
    }
    for image in store.images()? {
        if let Some(what) = incomplete(store, &image, &bad) {
            problems.push(Problem { what, cure: Cure::Forget(Box::new(image)) });
        }
    }
    for path in archive::damaged_notes(store)? {
        problems.push(Problem { what: format!("{} is damaged", path.display()), cure: Cure::RemoveFile(path) });
    }
    for (map_id, chain_id) in store.unpacked()? {
        let root = store.layer_root(&map_id, &chain_id);
        if !root.symlink_metadata().is_ok_and(|m| m.is_dir()) {
            let what = format!("layer {chain_id} has lost its files: there is no directory {}", root.display());
            problems.push(Problem { what, cure: Cure::RetireLayer { map_id, chain_id } });
        }
    }
    Ok(problems)
}

impl Problem {
    /// Does what can be done. Returns what that was.
    pub fn repair(&self, lock: &Exclusive) -> Result<String> {
        match &self.cure {
            Cure::RemoveFile(path) => match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(error).with_context(|| format!("cannot remove {}", path.display()))
                }
                _ => Ok(format!("removed {}", path.display())),
            },
            Cure::Forget(image) => {
                let untag: Vec<_> = image.names.iter().filter_map(|named| named.reference.clone()).collect();
                let pull = image.tags().chain(image.digests()).map(|name| format!(" (try: rl pull {})", name.familiar())).next();
                let names: Vec<String> = untag.iter().map(|name| name.familiar()).collect();
                lock.forget_image(image, &Removal { untag, nameless: false, delete: true })?;
                Ok(format!("removed {}{}", names.join(" "), pull.unwrap_or_default()))
            }
            Cure::RetireLayer { map_id, chain_id } => {
                lock.retire_layer(map_id, chain_id.hex())?;
                Ok("it is unpacked again when it is needed".into())
            }
        }
    }
}

/// Blobs whose contents are not what their names say, with words for it.
fn bad_blobs(store: &Store, quick: bool) -> Result<BTreeMap<Digest, String>> {
    let mut bad = BTreeMap::new();
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        for digest in store.blobs(algorithm)? {
            let path = store.blob(&digest);
            let wrong = match hash(&path, &digest, quick) {
                Ok(Some(found)) => format!("blob {digest} is corrupt: its contents have another digest, {found}"),
                Ok(None) => continue,
                Err(error) => format!("blob {digest} cannot be read: {error:#}"),
            };
            bad.insert(digest, wrong);
        }
    }
    Ok(bad)
}

/// What the contents are, where they are something else.
fn hash(path: &std::path::Path, digest: &Digest, quick: bool) -> Result<Option<Digest>> {
    let file = layout::open_file(path)?;
    if quick {
        return Ok(None);
    }
    let (found, _) = Tee::<File>::new(file, digest.algorithm()).finish()?;
    Ok((found != *digest).then_some(found))
}

/// What an image lacks.
fn incomplete(store: &Store, image: &Stored, bad: &BTreeMap<Digest, String>) -> Option<String> {
    let names: Vec<String> = image.names.iter().filter_map(|named| named.tag()).map(|name| name.familiar()).collect();
    let shown = if names.is_empty() { image.id.short().to_string() } else { names.join(" ") };
    let manifests: BTreeSet<&Digest> = image.names.iter().map(|named| &named.target.manifest.digest).collect();
    let targets =
        manifests.into_iter().filter_map(|digest| image.names.iter().find(|named| named.target.manifest.digest == *digest));
    for named in targets {
        let found = match layout::read(&Blobs(store.root()), &named.target.manifest) {
            Ok(found) => found,
            Err(error) => return Some(format!("image {shown} cannot be used: {}", Failure::from(&error).message)),
        };
        if found.id != image.id {
            return Some(format!("image {shown} is not what its name leads to: {} and not {}", found.id, image.id));
        }
        let lacks = |descriptor: &Descriptor| {
            bad.contains_key(&descriptor.digest) || layout::open_blob(&store.blob(&descriptor.digest), descriptor).is_err()
        };
        if let Some(layer) = found.layers.iter().find(|layer| lacks(&layer.descriptor)) {
            let digest = &layer.descriptor.digest;
            let how = if bad.contains_key(digest) { "is corrupt" } else { "is missing" };
            return Some(format!("image {shown} is not whole: its layer {digest} {how}"));
        }
    }
    None
}
