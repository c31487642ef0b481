//! Image layouts (image-layout.md): from an index to one image for this host, every document verified by its digest.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;

use super::{Image, Layer, limits, platform};
use crate::error::Advise;
use crate::oci::digest::Digest;
use crate::oci::image::{Descriptor, Document, ImageConfig, Index, MAX_DOCUMENT, Manifest, REF_NAME};

/// A directory with `blobs/<algorithm>/<hex>`.
pub struct Blobs<'a>(pub &'a Path);

impl Blobs<'_> {
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.0.join("blobs").join(digest.algorithm().name()).join(digest.hex())
    }

    /// Reads a document whole, and believes its digest only.
    pub fn read(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        if descriptor.size > MAX_DOCUMENT {
            bail!("{} is larger than {} MiB: refused", descriptor.digest, MAX_DOCUMENT >> 20);
        }
        let mut file = open_blob(&self.path(&descriptor.digest), descriptor)?;
        // One read then suffices, and one that finds the end.
        let mut bytes = Vec::with_capacity(descriptor.size as usize + 1);
        file.by_ref()
            .take(MAX_DOCUMENT + 1)
            .read_to_end(&mut bytes)
            .with_context(|| format!("cannot read {}", descriptor.digest))?;
        if !descriptor.digest.matches(&bytes) {
            bail!("{} is corrupt: its contents have another digest, {}", descriptor.digest, Digest::of(&bytes));
        }
        Ok(bytes)
    }
}

/// Opens a blob that has the size it should have.
pub fn open_blob(path: &Path, descriptor: &Descriptor) -> Result<File> {
    let Descriptor { digest, size, .. } = descriptor;
    let file = open_file(path).with_context(|| format!("cannot open {digest}"))?;
    let found = file.metadata()?.len();
    if found != *size {
        bail!("{digest} is corrupt: it has {found} bytes instead of {size}");
    }
    Ok(file)
}

/// Opens a regular file. What else it might be (a fifo, a device) is not waited for.
pub fn open_file(path: &Path) -> Result<File> {
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    if !file.metadata()?.is_file() {
        bail!("{} is not a file", path.display());
    }
    Ok(file)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marker {
    image_layout_version: String,
}

/// Reads the `index.json` of the layout in `dir`.
pub fn read_index(dir: &Path) -> Result<Index> {
    if !dir.is_dir() {
        bail!("there is no directory {}", dir.display());
    }
    let marker = dir.join("oci-layout");
    if !marker.exists() {
        let looks_like_rootfs = dir.join("etc").is_dir() || dir.join("bin").is_dir();
        let error = Err(anyhow!("{} is not an OCI image layout: it has no file oci-layout", dir.display()));
        return if looks_like_rootfs { error.hint(|| format!("rootfs:{}", dir.display())) } else { error };
    }
    check_marker(&read_small(&marker)?)?;
    parse_index(&read_small(&dir.join("index.json"))?)
}

/// Checks the contents of `oci-layout` (image-layout.md, "oci-layout file").
pub fn check_marker(bytes: &[u8]) -> Result<()> {
    let marker: Marker = serde_json::from_slice(bytes).context("cannot read oci-layout")?;
    if !marker.image_layout_version.starts_with("1.") {
        bail!("an image layout of version {:?}, which is not known", marker.image_layout_version);
    }
    Ok(())
}

/// Reads the contents of an `index.json`.
pub fn parse_index(bytes: &[u8]) -> Result<Index> {
    Index::parse(bytes).context("cannot read index.json")
}

fn read_small(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(4 << 10);
    let mut file = open_file(path)?.take(MAX_DOCUMENT + 1);
    file.read_to_end(&mut bytes).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(bytes)
}

/// Finds the image called `tag` for this host.
pub fn resolve(blobs: &Blobs, index: &Index, tag: Option<&str>) -> Result<Image> {
    let named = named(index, tag)?;
    let (digest, manifest) = manifest_for_host(blobs, named)?;
    for_linux(image(blobs, digest, &manifest)?)
}

/// Reads the image of exactly this manifest, to be run.
pub fn open(blobs: &Blobs, manifest: &Descriptor) -> Result<Image> {
    for_linux(read(blobs, manifest)?)
}

fn for_linux(image: Image) -> Result<Image> {
    if !matches!(image.config.os.as_str(), "" | "linux") {
        bail!("an image for {:?}: only those for linux run here", image.config.os);
    }
    Ok(image)
}

/// Reads the image of exactly this manifest, whatever platform it is for.
pub fn read(blobs: &Blobs, manifest: &Descriptor) -> Result<Image> {
    let bytes = blobs.read(manifest).context("cannot read the image's manifest")?;
    match Document::parse(&bytes, &manifest.media_type).with_context(|| format!("cannot use {}", manifest.digest))? {
        Document::Manifest(found) => image(blobs, manifest.digest.clone(), &found),
        Document::Index(_) => bail!("{} is an index of images and not one of them", manifest.digest),
    }
}

/// The image of a manifest that has been read.
pub fn image(blobs: &Blobs, digest: Digest, manifest: &Manifest) -> Result<Image> {
    let config = blobs.read(&manifest.config).context("cannot read the image's configuration")?;
    let config = ImageConfig::parse(&config)?;
    let layers = layers(blobs, manifest, &config)?;
    Ok(Image { manifest: digest, id: manifest.config.digest.clone(), config, layers })
}

/// The entries called `tag`; without one, all, provided they are one image (for several platforms, perhaps).
fn named(index: &Index, tag: Option<&str>) -> Result<Vec<Descriptor>> {
    let name = |descriptor: &Descriptor| descriptor.annotations.get(REF_NAME).cloned().unwrap_or_default();
    let mut names: Vec<String> = index.manifests.iter().map(name).collect();
    names.sort();
    names.dedup();
    let known =
        || format!("tags there: {}", if names == [""] || names.is_empty() { "none".to_string() } else { names.join(" ") });
    let Some(tag) = tag else {
        let mut digests: Vec<&Digest> = index.manifests.iter().map(|descriptor| &descriptor.digest).collect();
        digests.sort();
        digests.dedup();
        if names.len() > 1 && digests.len() > 1 {
            return Err(anyhow!("there are several images")).hint(|| format!("add :TAG ({})", known()));
        }
        return Ok(index.manifests.clone());
    };
    // Docker calls an image without a tag `latest`.
    let latest = format!("{tag}:latest");
    let fits = |descriptor: &&Descriptor| [tag, &latest].contains(&name(descriptor).as_str());
    let found: Vec<Descriptor> = index.manifests.iter().filter(fits).cloned().collect();
    if found.is_empty() {
        return Err(anyhow!("there is no image {tag:?}")).hint(known);
    }
    Ok(found)
}

fn manifest_for_host(blobs: &Blobs, mut candidates: Vec<Descriptor>) -> Result<(Digest, Manifest)> {
    // An index may hold an index (image-index.md); more than a few levels only a loop or a joke would have.
    const LEVELS: usize = 4;
    let host = platform::host();
    for _ in 0..LEVELS {
        let chosen = platform::choose_or_say(&candidates, &host)?;
        let bytes = blobs.read(chosen).context("cannot read the image's manifest")?;
        let document = Document::parse(&bytes, &chosen.media_type).with_context(|| format!("cannot use {}", chosen.digest))?;
        match document {
            Document::Manifest(manifest) => return Ok((chosen.digest.clone(), manifest)),
            Document::Index(index) => candidates = index.manifests,
        }
    }
    bail!("indexes within indexes, more than {LEVELS} deep: refused")
}

/// Layers with their chain ids (config.md, "Layer ChainID").
fn layers(blobs: &Blobs, manifest: &Manifest, config: &ImageConfig) -> Result<Vec<Layer>> {
    let diff_ids = &config.rootfs.diff_ids;
    if diff_ids.len() != manifest.layers.len() {
        bail!("the manifest has {} layers and the configuration {}", manifest.layers.len(), diff_ids.len());
    }
    if diff_ids.len() > limits::LAYERS {
        bail!("an image of more than {} layers is refused", limits::LAYERS);
    }
    let mut below: Option<Digest> = None;
    let mut layers = Vec::with_capacity(diff_ids.len());
    for (diff_id, descriptor) in diff_ids.iter().zip(&manifest.layers) {
        let chain_id = match &below {
            None => diff_id.clone(),
            Some(below) => Digest::of(format!("{below} {diff_id}").as_bytes()),
        };
        below = Some(chain_id.clone());
        let (descriptor, blob) = (descriptor.clone(), blobs.path(&descriptor.digest));
        layers.push(Layer { diff_id: diff_id.clone(), chain_id, descriptor, blob });
    }
    Ok(layers)
}

#[cfg(test)]
mod tests;
