//! Layers become directories, for one id map, by a Worker that can see nothing but the directory it fills.
//!
//! ```text
//! mod.rs      Client: which layers, side by side       confine.rs   Worker: what it can reach
//! ahead.rs    a thread reads, hashes and inflates      apply.rs     entries, in order: names are created        tree.rs   ... in directories
//! writer.rs   a thread writes what goes into files     attributes.rs   owner, mode, time, xattrs
//! finish.rs   what depends on the layers below, and directories, at the end    ledger.rs   ... as noted before
//! ```

mod ahead;
mod apply;
mod attributes;
mod confine;
mod finish;
mod ledger;
mod tree;
mod writer;

use std::collections::{BTreeSet, VecDeque};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use self::ahead::read_ahead;
use self::apply::Unpacking;
use self::attributes::Setter;
use self::writer::write_behind;
use super::store::{Claim, layer_root_name};
use super::stream::Inflated;
use super::tar::{Archive, shown};
use super::{Image, Layer, Store, layout};
use crate::oci::digest::Tee;
use crate::sys::failpoint::milestone;
use crate::userns::shared::Userns;
use crate::userns::spawn::{Confined, confined, worker};

/// Told of a layer before (false) and after (true) it is unpacked.
pub type Step<'a> = &'a mut dyn FnMut(&Layer, bool) -> Result<()>;

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
        self.unpack_while(store, userns, &mut |_, _| Ok(()))
    }

    /// The same, with a call before each layer, which may wait for its blob, and one after.
    pub fn unpack_while(&self, store: &Store, userns: &Userns, step: Step) -> Result<Vec<String>> {
        let map_id = userns.map_id();
        let missing: Vec<usize> =
            (0..self.layers.len()).filter(|&number| !store.has_layer(&map_id, &self.layers[number].chain_id)).collect();
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        store.abandoned_layers(&map_id)?.into_iter().try_for_each(|claim| discard(userns, claim))?;
        let mut unpacker =
            Unpacker { image: self, store, userns, step, running: VecDeque::new(), done: Vec::new(), warnings: BTreeSet::new() };
        let unpacked = unpacker.all(&missing);
        // What is whole stays, whatever became of the others: the next one need not unpack it again.
        let committed = unpacker.close();
        unpacked?;
        committed
    }
}

/// Layers that are unpacked side by side. Each of them waits for those below it only in the end, when directories that it does not list
/// take after theirs: so the lowest never waits.
const AT_ONCE: usize = 2;

/// Layers on their way, each by a Worker of its own.
struct Unpacker<'a> {
    image: &'a Image,
    store: &'a Store,
    userns: &'a Userns,
    step: Step<'a>,
    /// Lowest first.
    running: VecDeque<Running<'a>>,
    /// Whole, and not yet on disk.
    done: Vec<Claim>,
    warnings: BTreeSet<String>,
}

/// What a Worker has to tell of a layer.
#[derive(Debug, Serialize, Deserialize)]
struct Unpacked {
    /// What had to be left out.
    warnings: Vec<String>,
    /// Bytes of the uncompressed archive.
    size: u64,
}

struct Running<'a> {
    layer: &'a Layer,
    claim: Claim,
    worker: Confined<Unpacked>,
}

impl<'a> Unpacker<'a> {
    fn all(&mut self, missing: &[usize]) -> Result<()> {
        for &number in missing {
            if self.running.len() == AT_ONCE {
                self.finish_lowest()?;
            }
            let layer = &self.image.layers[number];
            (self.step)(layer, false)?;
            let started = self.start(number).with_context(|| failed(layer))?;
            self.running.extend(started);
        }
        while !self.running.is_empty() {
            self.finish_lowest()?;
        }
        Ok(())
    }

    /// None: another process has unpacked it meanwhile.
    fn start(&self, number: usize) -> Result<Option<Running<'a>>> {
        let layer = &self.image.layers[number];
        let map_id = self.userns.map_id();
        let blob = layout::open_blob(&layer.blob, &layer.descriptor)?;
        let Some(claim) = self.store.claim_layer(&map_id, &layer.chain_id, self.userns.root_ids())? else { return Ok(None) };
        if claim.leftover()?.is_some() {
            // Its owner died between our look and our claim.
            discard(self.userns, claim)?;
            return self.start(number);
        }
        claim.create_root(self.userns.root_ids())?;
        let lowers = self.image.layers[..number].iter().map(|lower| self.root_name(lower)).collect::<Result<Vec<_>>>()?;
        let (root, directory) = (claim.root_name()?, self.store.layers_directory(&map_id)?);
        let worker = confined(self.userns, directory.as_fd(), claim.lock(), |line| {
            let keep: Vec<RawFd> = line.descriptors().chain([blob.as_raw_fd()]).collect();
            let cell = confine::enter(&root, &lowers, &keep, || line.enter_nested())?;
            let setter = Setter::new(self.userns.layer_maps());
            unpack(blob, layer, cell.root, setter, &cell.lowers, || line.wait())
        })?;
        Ok(Some(Running { layer, claim, worker }))
    }

    /// Where the files of a layer are that this image has, or is getting.
    fn root_name(&self, layer: &Layer) -> Result<CString> {
        let on_its_way = self.running.iter().map(|running| &running.claim).chain(&self.done);
        let claim = on_its_way.into_iter().find(|claim| claim.is_of(&layer.chain_id));
        claim.map_or_else(|| Ok(layer_root_name(&layer.chain_id)), Claim::root_name)
    }

    /// Lets the lowest layer end, and waits for it.
    fn finish_lowest(&mut self) -> Result<()> {
        let Some(Running { layer, claim, mut worker }) = self.running.pop_front() else { return Ok(()) };
        worker.go_on();
        match worker.finish() {
            Ok(unpacked) => {
                self.warnings.extend(unpacked.warnings);
                claim.note_size(unpacked.size);
                self.done.push(claim);
                (self.step)(layer, true)
            }
            Err(error) => {
                // The first error is the one to tell; what cannot be removed now is removed by the next unpack.
                let _ = discard(self.userns, claim);
                Err(error).with_context(|| failed(layer))
            }
        }
    }

    /// Ends what is still running and makes visible what is whole. Returns the warnings.
    fn close(self) -> Result<Vec<String>> {
        for Running { claim, worker, .. } in self.running {
            worker.abort();
            let _ = discard(self.userns, claim);
        }
        Claim::commit(self.done)?;
        Ok(self.warnings.into_iter().collect())
    }
}

fn failed(layer: &Layer) -> String {
    format!("cannot unpack layer {}", layer.descriptor.digest)
}

/// Deletes the files of layers that have been removed, and of those that a killed process left, for any id map. `userns` is opened only
/// when there is something: it may have to be made.
pub fn erase_removed(store: &Store, userns: impl FnOnce() -> Result<Userns>) -> Result<()> {
    let maps = store.map_ids()?;
    let abandoned = maps.iter().map(|map_id| store.abandoned_layers(map_id)).collect::<Result<Vec<_>>>()?;
    let claims: Vec<Claim> = abandoned.into_iter().flatten().collect();
    if claims.is_empty() {
        return Ok(());
    }
    let userns = userns()?;
    for claim in claims {
        discard(&userns, claim).context("cannot delete a layer's files")?;
        milestone("image-erased");
    }
    Ok(())
}

/// Removes a half-made layer, whose files may belong to any id of the map.
fn discard(userns: &Userns, claim: Claim) -> Result<()> {
    if let Some(left) = claim.leftover()? {
        worker(userns, || tree::clear(confine::enter_to_clear(&left)?))?;
    }
    claim.discard()
}

/// Unpacks `blob` into the empty directory `root`, and fails unless both digests are what they should be. `lowers_ready` waits for the
/// layers below.
fn unpack(
    blob: impl io::Read + Send,
    layer: &Layer,
    root: OwnedFd,
    setter: Setter,
    lowers: &[OwnedFd],
    lowers_ready: impl FnOnce() -> Result<()>,
) -> Result<Unpacked> {
    let inflated = Inflated::new(blob, layer.descriptor.digest.algorithm()).context("cannot read the layer")?;
    let content = Tee::new(inflated, layer.diff_id.algorithm());
    let mut writing = setter.clone();
    let mut unpacking = Unpacking::new(root, setter)?;
    let (applied, read) = read_ahead(content, |input| {
        write_behind(&mut writing, |queue| {
            let mut archive = Archive::new(input);
            unpacking.apply_all(&mut archive, queue)?;
            // What follows the last entry belongs to the digest.
            io::copy(archive.into_inner(), &mut io::sink()).context("cannot read the layer").map(drop)
        })
    });
    let (diff_id, size) = (read.source.digest(), read.source.count());
    let (digest, _) = read.source.into_inner().finish().context("cannot read the layer")?;
    // A damaged blob is why anything else went wrong with it.
    if digest != layer.descriptor.digest {
        bail!("it is corrupt: its contents have another digest, {digest}");
    }
    if let Some(error) = read.failed {
        return Err(error).context("cannot read the layer");
    }
    applied?;
    if diff_id != layer.diff_id {
        bail!("its contents are {diff_id} and not {}, as the image's configuration says", layer.diff_id);
    }
    lowers_ready()?;
    Ok(Unpacked { warnings: unpacking.finish(lowers)?.warnings(writing), size })
}

#[cfg(test)]
mod tests;
