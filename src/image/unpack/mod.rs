//! Layers become directories, for one id map, by a Worker that can see nothing but the directory it fills.

mod apply;
mod attributes;
mod finish;
mod ledger;
mod tree;

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use nix::unistd::{chroot, fchdir};

use self::apply::{Unpacking, reopen};
use self::attributes::Setter;
use super::store::Claim;
use super::stream::Inflated;
use super::tar::{Archive, shown};
use super::{Image, Layer, Store, layout};
use crate::oci::digest::Tee;
use crate::userns::shared::Userns;
use crate::userns::spawn::worker;

impl Image {
    /// The layers that are not unpacked for this id map.
    pub fn missing_layers(&self, store: &Store, map_id: &str) -> Vec<&Layer> {
        self.layers.iter().filter(|layer| !store.has_layer(map_id, &layer.chain_id)).collect()
    }

    /// The directories of the unpacked layers, bottom first.
    pub fn layer_dirs(&self, store: &Store, map_id: &str) -> Vec<PathBuf> {
        self.layers.iter().map(|layer| store.layer_root(map_id, &layer.chain_id)).collect()
    }

    /// Unpacks what is missing. Returns what had to be left out, each thing once.
    pub fn unpack(&self, store: &Store, userns: &Userns) -> Result<Vec<String>> {
        let map_id = userns.map_id();
        let mut warnings = BTreeSet::new();
        if !self.missing_layers(store, &map_id).is_empty() {
            store.abandoned_layers(&map_id)?.into_iter().try_for_each(|claim| discard(userns, claim))?;
        }
        for (number, layer) in self.layers.iter().enumerate() {
            if store.has_layer(&map_id, &layer.chain_id) {
                continue;
            }
            let unpacked = self.unpack_layer(store, userns, number);
            warnings.extend(unpacked.with_context(|| format!("cannot unpack layer {}", layer.descriptor.digest))?);
        }
        Ok(warnings.into_iter().collect())
    }

    fn unpack_layer(&self, store: &Store, userns: &Userns, number: usize) -> Result<Vec<String>> {
        let map_id = userns.map_id();
        let (below, layer) = (&self.layers[..number], &self.layers[number]);
        let blob = layout::open_blob(&layer.blob, &layer.descriptor)?;
        let lowers =
            below.iter().map(|lower| open_path(store.layer_root(&map_id, &lower.chain_id))).collect::<Result<Vec<_>>>()?;
        let Some(claim) = store.claim_layer(&map_id, &layer.chain_id, userns.root_ids())? else { return Ok(Vec::new()) };
        if claim.leftover()?.is_some() {
            // Its owner died between our look and our claim.
            discard(userns, claim)?;
            return self.unpack_layer(store, userns, number);
        }
        let root = claim.create_root(userns.root_ids())?;
        match worker(userns, || unpack_confined(&blob, layer, &root, &lowers)) {
            Ok(warnings) => claim.commit().map(|()| warnings),
            Err(error) => {
                // The first error is the one to tell; what cannot be removed now is removed by the next unpack.
                let _ = discard(userns, claim);
                Err(error)
            }
        }
    }
}

/// Lower layers may forbid the caller everything but to be named: their contents are the Worker's to read.
fn open_path(path: PathBuf) -> Result<OwnedFd> {
    let opened = File::options().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW).open(&path);
    Ok(opened.with_context(|| format!("cannot open {}", path.display()))?.into())
}

/// Removes a half-made layer, whose files may belong to any id of the map.
fn discard(userns: &Userns, claim: Claim) -> Result<()> {
    if let Some(left) = claim.leftover()? {
        worker(userns, || {
            confine(&left)?;
            tree::clear(reopen(left.as_fd(), b".")?)
        })?;
    }
    claim.discard()
}

/// In the Worker.
fn unpack_confined(blob: &File, layer: &Layer, root: &OwnedFd, lowers: &[OwnedFd]) -> Result<Vec<String>> {
    // The last thing that needs /proc.
    let setter = Setter::here();
    // It was made by root of U, which the Worker may have left for a namespace nested in it.
    nix::unistd::fchown(root, Some(0.into()), Some(0.into())).context("cannot take over the layer's directory")?;
    confine(root)?;
    unpack(blob, layer, reopen(root.as_fd(), b".")?, setter, lowers)
}

/// From here on no path leads anywhere but below `directory`.
fn confine(directory: &OwnedFd) -> Result<()> {
    fchdir(directory).and_then(|()| chroot(".")).context("cannot confine the worker")
}

/// Unpacks `blob` into the empty directory `root`, and fails unless both digests are what they should be.
fn unpack(blob: impl io::Read, layer: &Layer, root: OwnedFd, setter: Setter, lowers: &[OwnedFd]) -> Result<Vec<String>> {
    let inflated = Inflated::new(blob, layer.descriptor.digest.algorithm()).context("cannot read the layer")?;
    let mut archive = Archive::new(Tee::new(inflated, layer.diff_id.algorithm()));
    let mut unpacking = Unpacking::new(root, setter)?;
    let applied = unpacking.apply_all(&mut archive);
    let mut content = archive.into_inner();
    // What follows the last entry belongs to the digest.
    let applied = applied.and_then(|()| io::copy(&mut content, &mut io::sink()).context("cannot read the layer"));
    let diff_id = content.digest();
    let (digest, _) = content.into_inner().finish().context("cannot read the layer")?;
    // A damaged blob is why anything else went wrong with it.
    if digest != layer.descriptor.digest {
        bail!("it is corrupt: its contents have another digest, {digest}");
    }
    applied?;
    if diff_id != layer.diff_id {
        bail!("its contents are {diff_id} and not {}, as the image's configuration says", layer.diff_id);
    }
    unpacking.finish(lowers)
}

#[cfg(test)]
mod tests;
