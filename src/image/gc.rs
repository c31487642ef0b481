//! What goes when nothing needs it any more: blobs and unpacked layers.
//!
//! Needed is what references lead to, what a pull under way has leased, what archives' notes name, and the layers that containers'
//! records name. All of it is read under the exclusive lock, which is held until the last name is gone: so nobody can choose what is about
//! to go. Blobs are unlinked there and then; a layer's files, which subordinate ids may own, are deleted afterwards by Worker.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::archive;
use super::delete::Removal;
use super::layout::{self, Blobs};
use super::local::Stored;
use super::refs::Named;
use super::store::Exclusive;
use crate::oci::digest::{Algorithm, Digest};
use crate::oci::image::{Descriptor, Document};
use crate::sys::failpoint::milestone;

/// Which unneeded layers go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layers<'a> {
    /// Those of an image that has just been removed. Others, of layouts that are used where they lie, stay as they are.
    Of(&'a [Digest]),
    All,
}

/// What has gone.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Freed {
    /// Chain ids of unpacked layers, each once.
    pub layers: Vec<String>,
    /// Of blobs and layers, as far as known.
    pub bytes: u64,
}

/// What stays.
#[derive(Debug, Default)]
pub struct Needed {
    blobs: HashSet<Digest>,
    /// Chain ids, whatever the id map.
    chains: HashSet<Digest>,
    /// `layers/<map-id>/<chain-id>/root` as containers name them.
    directories: HashSet<PathBuf>,
}

impl Needed {
    /// Follows a descriptor as far as there is something: document by document, down to the layers.
    fn add(&mut self, blobs: &Blobs, descriptor: &Descriptor) {
        if !self.blobs.insert(descriptor.digest.clone()) {
            return;
        }
        // What cannot be read leads nowhere; `rl system check` says so.
        let Ok(bytes) = blobs.read(descriptor) else { return };
        match Document::parse(&bytes, &descriptor.media_type) {
            Ok(Document::Index(index)) => index.manifests.iter().for_each(|manifest| self.add(blobs, manifest)),
            Ok(Document::Manifest(manifest)) => {
                self.blobs.insert(manifest.config.digest.clone());
                self.blobs.extend(manifest.layers.iter().map(|layer| layer.digest.clone()));
                if let Ok(image) = layout::image(blobs, descriptor.digest.clone(), &manifest) {
                    self.chains.extend(image.layers.into_iter().map(|layer| layer.chain_id));
                }
            }
            Err(_) => {}
        }
    }
}

impl Exclusive {
    /// Removes names and, where that is decided, the image. `layers` are the directories that containers name: read under this lock.
    pub fn remove_image(&self, image: &Stored, removal: &Removal, layers: &[PathBuf]) -> Result<Freed> {
        let chains = self.store().open_target(image.target()).map(|image| image.layers).unwrap_or_default();
        let chains: Vec<Digest> = chains.into_iter().map(|layer| layer.chain_id).collect();
        self.forget_image(image, removal)?;
        if removal.delete { self.collect(Layers::Of(&chains), layers) } else { Ok(Freed::default()) }
    }

    /// Removes names. What they led to stays where it is.
    pub fn forget_image(&self, image: &Stored, removal: &Removal) -> Result<()> {
        if removal.nameless {
            self.keep_nameless(image.target())?;
        }
        for Named { reference, target } in &image.names {
            let goes = match reference {
                Some(reference) => removal.untag.contains(reference),
                None => removal.delete,
            };
            if goes {
                milestone("image-untagging");
                self.unname(reference.as_ref(), &target.manifest.digest)?;
            }
        }
        milestone("image-untagged");
        self.write_index()?;
        milestone("image-unlisted");
        Ok(())
    }

    /// Removes what nothing needs. Retired layers remain to be erased (unpack/mod.rs, `erase_removed`).
    pub fn collect(&self, which: Layers, layers: &[PathBuf]) -> Result<Freed> {
        let needed = self.needed(layers, &|_| true, true)?;
        let mut freed = Freed::default();
        for (blob, size) in self.unneeded_blobs(&needed)? {
            milestone("image-blob");
            fs::remove_file(&blob).with_context(|| format!("cannot remove {}", blob.display()))?;
            freed.bytes += size;
        }
        milestone("image-collected");
        for (map_id, chain) in self.unneeded_layers(&needed)? {
            if which == Layers::All || matches!(which, Layers::Of(only) if only.contains(&chain)) {
                freed.bytes += self.store().layer_size(&map_id, &chain).unwrap_or(0);
                self.retire_layer(&map_id, chain.hex())?;
                milestone("image-retired");
                if !freed.layers.contains(&chain.to_string()) {
                    freed.layers.push(chain.to_string());
                }
            }
        }
        Ok(freed)
    }

    /// Bytes of all blobs and layers, and of those that nothing would need if only these names and no archives were left.
    pub fn sizes(&self, layers: &[PathBuf], left: &dyn Fn(&Named) -> bool) -> Result<(u64, u64)> {
        let total = self.unneeded_size(&Needed::default())?;
        Ok((total, self.unneeded_size(&self.needed(layers, left, false)?)?))
    }

    fn unneeded_size(&self, needed: &Needed) -> Result<u64> {
        let blobs: u64 = self.unneeded_blobs(needed)?.into_iter().map(|(_, size)| size).sum();
        let layers = self.unneeded_layers(needed)?;
        Ok(blobs + layers.iter().map(|(map_id, chain)| self.store().layer_size(map_id, chain).unwrap_or(0)).sum::<u64>())
    }

    /// Forgets archives that are not as they were read; with `all`, every archive. What was read out of them goes with [`Exclusive::collect`].
    pub fn forget_archives(&self, all: bool) -> Result<()> {
        for note in archive::notes(self.store())? {
            if all || !note.current {
                fs::remove_file(&note.path).with_context(|| format!("cannot remove {}", note.path.display()))?;
            }
        }
        Ok(())
    }

    /// What `layers`, the names that are left, archives' notes and leases need.
    fn needed(&self, layers: &[PathBuf], left: &dyn Fn(&Named) -> bool, archives: bool) -> Result<Needed> {
        let blobs = Blobs(self.store().root());
        let mut needed = Needed { directories: layers.iter().cloned().collect(), ..Needed::default() };
        for named in self.store().references()?.into_iter().filter(|named| left(named)) {
            needed.add(&blobs, &named.target.manifest);
            // Not followed: of an index only the one manifest is ours.
            needed.blobs.extend(named.target.index.map(|index| index.digest));
        }
        let notes = if archives { archive::notes(self.store())? } else { Vec::new() };
        for note in notes {
            note.index.manifests.iter().for_each(|manifest| needed.add(&blobs, manifest));
        }
        for digest in self.leases()? {
            // Its size is unknown as yet, and the digest is what counts.
            let size = fs::metadata(blobs.path(&digest)).map_or(0, |m| m.len());
            let descriptor =
                Descriptor { media_type: String::new(), digest, size, platform: None, annotations: Default::default() };
            needed.add(&blobs, &descriptor);
        }
        Ok(needed)
    }

    /// Path and size of each blob that nothing needs.
    fn unneeded_blobs(&self, needed: &Needed) -> Result<Vec<(PathBuf, u64)>> {
        let mut unneeded = Vec::new();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            for digest in self.store().blobs(algorithm)?.iter().filter(|digest| !needed.blobs.contains(digest)) {
                let path = self.store().blob(digest);
                let size = fs::symlink_metadata(&path).map_or(0, |m| m.len());
                unneeded.push((path, size));
            }
        }
        Ok(unneeded)
    }

    /// Map id and chain id of each unpacked layer that nothing needs.
    fn unneeded_layers(&self, needed: &Needed) -> Result<Vec<(String, Digest)>> {
        let mut layers = self.store().unpacked()?;
        layers.retain(|(map_id, chain)| {
            !needed.chains.contains(chain) && !needed.directories.contains(&self.store().layer_root(map_id, chain))
        });
        Ok(layers)
    }
}
