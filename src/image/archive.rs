//! Images in archives: `oci-archive:`, an image layout in a tar, and `docker-archive:`, what `docker save` writes (Docker image
//! spec v1.2, "Combined Image JSON + Filesystem Changeset Format"). The first use takes the blobs into the store and notes what
//! the archive was; as long as that stays the same, later uses read the note alone.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use super::layout::{self, Blobs};
use super::store::{Scratch, Store};
use super::stream::{Compression, HEAD, Inflated};
use super::tar::{self, Kind, shown};
use super::{Image, path};
use crate::oci::digest::{Algorithm, Digest, Tee};
use crate::oci::image::{CONFIG, Descriptor, Index, LAYER, LAYER_GZIP, LAYER_ZSTD, MANIFEST, MAX_DOCUMENT, Manifest, REF_NAME};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    Oci,
    Docker,
}

/// The note about an archive.
#[derive(Serialize, Deserialize)]
struct Import {
    file: PathBuf,
    stamp: Stamp,
    format: Format,
    index: Index,
}

/// Changes when a file does.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    dev: u64,
    ino: u64,
    size: u64,
    mtime: (i64, i64),
    ctime: (i64, i64),
}

impl Stamp {
    fn of(file: &File) -> Result<Stamp> {
        let m = file.metadata()?;
        let (mtime, ctime) = ((m.mtime(), m.mtime_nsec()), (m.ctime(), m.ctime_nsec()));
        Ok(Stamp { dev: m.dev(), ino: m.ino(), size: m.len(), mtime, ctime })
    }
}

/// Opens the image called `tag` in an archive.
pub fn open(store: &Store, file: &Path, format: Format, tag: Option<&str>) -> Result<Image> {
    let archive = layout::open_file(file)?;
    let path = fs::canonicalize(file).with_context(|| format!("cannot find {}", file.display()))?;
    let stamp = Stamp::of(&archive)?;
    let note = store.import_record(&Digest::of(path.as_os_str().as_bytes()));
    let resolve = |index: &Index| layout::resolve(&Blobs(store.root()), index, tag);
    if let Some(known) = read_note(&note).filter(|known| (&known.file, &known.stamp, known.format) == (&path, &stamp, format))
        // Somebody may have removed blobs: then the archive is read again.
        && let Ok(image) = resolve(&known.index)
        && image.layers.iter().all(|layer| layer.blob.exists())
    {
        return Ok(image);
    }
    let index = import(store, archive, format).with_context(|| format!("cannot read {}", file.display()))?;
    let image = resolve(&index)?;
    store.write_record(&note, &serde_json::to_vec(&Import { file: path, stamp, format, index })?)?;
    Ok(image)
}

/// An archive that was read.
pub struct Note {
    pub path: PathBuf,
    pub index: Index,
    /// The archive is still what it was.
    pub current: bool,
}

/// Every note.
pub fn notes(store: &Store) -> Result<Vec<Note>> {
    let note = |path: PathBuf| {
        let Import { file, stamp, index, .. } = read_note(&path)?;
        let current = layout::open_file(&file).and_then(|file| Stamp::of(&file)).is_ok_and(|now| now == stamp);
        Some(Note { path, index, current })
    };
    Ok(store.import_records()?.into_iter().filter_map(note).collect())
}

/// Notes that cannot be read.
pub fn damaged_notes(store: &Store) -> Result<Vec<PathBuf>> {
    Ok(store.import_records()?.into_iter().filter(|path| read_note(path).is_none()).collect())
}

fn read_note(path: &Path) -> Option<Import> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Takes the blobs of an archive into the store.
fn import(store: &Store, archive: File, format: Format) -> Result<Index> {
    let scratch = store.scratch()?;
    let members = extract(archive, &scratch)?;
    match format {
        Format::Oci => import_oci(store, &members),
        Format::Docker => import_docker(store, &scratch, &members),
    }
}

/// What an archive holds, by normal path.
type Members = HashMap<Vec<u8>, Member>;

enum Member {
    File(Blob),
    /// Docker links layers that an archive has already.
    Link(Vec<u8>),
}

/// A file of the archive, written out under a number and hashed on the way.
struct Blob {
    file: PathBuf,
    digest: Digest,
    size: u64,
}

/// Writes out the files of an archive. Names in it become keys, never paths.
fn extract(archive: File, scratch: &Scratch) -> Result<Members> {
    // An image has at most some hundred blobs; a Docker archive three files for each.
    const FILES: usize = 10_000;
    let mut archive = tar::Archive::new(Inflated::new(archive, Algorithm::Sha256)?);
    let mut members = Members::new();
    while let Some(entry) = archive.next()? {
        let name = path::normal(&entry.path).with_context(|| format!("entry {}", shown(&entry.path)))?;
        let member = match entry.kind {
            Kind::File if entry.pieces.len() == 1 => {
                let file = scratch.path().join(members.len().to_string());
                let mut body = Tee::new(archive.body(), Algorithm::Sha256);
                io::copy(&mut body, &mut File::create_new(&file)?).with_context(|| format!("entry {}", shown(&entry.path)))?;
                Member::File(Blob { file, digest: body.digest(), size: body.count() })
            }
            Kind::Hardlink(target) => Member::Link(path::normal(&target)?),
            Kind::Symlink(target) => match beside(&name, &target) {
                Some(target) => Member::Link(target),
                None => bail!("entry {} is a symlink out of the archive", shown(&entry.path)),
            },
            _ => continue,
        };
        if members.len() == FILES {
            bail!("more than {FILES} files: refused");
        }
        if members.insert(name, member).is_some() {
            bail!("two entries {}", shown(&entry.path));
        }
    }
    Ok(members)
}

/// The member that a symlink at `name` names.
fn beside(name: &[u8], target: &[u8]) -> Option<Vec<u8>> {
    let mut path: Vec<&[u8]> = path::names(name).collect();
    path.pop();
    for part in path::names(target) {
        match part {
            b"." => {}
            b".." => drop(path.pop()?),
            part => path.push(part),
        }
    }
    (!target.starts_with(b"/")).then(|| path.join(&b'/'))
}

fn member<'a>(members: &'a Members, name: &str) -> Result<&'a Blob> {
    const LINKS: usize = 8;
    let mut key = path::normal(name.as_bytes())?;
    for _ in 0..LINKS {
        match members.get(&key) {
            Some(Member::File(blob)) => return Ok(blob),
            Some(Member::Link(target)) => key = target.clone(),
            None => break,
        }
    }
    Err(anyhow!("{} is missing in it", shown(name.as_bytes())))
}

fn read_member(members: &Members, name: &str) -> Result<Vec<u8>> {
    let blob = member(members, name)?;
    if blob.size > MAX_DOCUMENT {
        bail!("{name} is larger than {} MiB: refused", MAX_DOCUMENT >> 20);
    }
    Ok(fs::read(&blob.file)?)
}

fn import_oci(store: &Store, members: &Members) -> Result<Index> {
    layout::check_marker(&read_member(members, "oci-layout").context("not an image layout")?)?;
    let index = layout::parse_index(&read_member(members, "index.json")?)?;
    for (name, member) in members {
        let Member::File(blob) = member else { continue };
        let Some(hex) = name.strip_prefix(b"blobs/sha256/") else { continue };
        if hex != blob.digest.hex().as_bytes() {
            bail!("{} is corrupt: its contents have another digest, {}", shown(name), blob.digest);
        }
        store.adopt_blob(&blob.file, &blob.digest)?;
    }
    Ok(index)
}

/// An image in `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

fn import_docker(store: &Store, scratch: &Scratch, members: &Members) -> Result<Index> {
    let saved = read_member(members, "manifest.json").context("not what docker save writes")?;
    let saved: Vec<Saved> = serde_json::from_slice(&saved).context("cannot read manifest.json")?;
    let mut index = Index { schema_version: 2, ..Index::default() };
    for image in saved {
        let descriptor = import_saved(store, scratch, members, &image)?;
        let tags = image.repo_tags.unwrap_or_default();
        if tags.is_empty() {
            index.manifests.push(descriptor);
            continue;
        }
        for tag in tags {
            let mut named = descriptor.clone();
            named.annotations.insert(REF_NAME.into(), tag);
            index.manifests.push(named);
        }
    }
    Ok(index)
}

/// Stores one image of `docker save` and the manifest it lacks.
fn import_saved(store: &Store, scratch: &Scratch, members: &Members, image: &Saved) -> Result<Descriptor> {
    let describe = |blob: &Blob, media_type: &str| Descriptor {
        media_type: media_type.into(),
        digest: blob.digest.clone(),
        size: blob.size,
        platform: None,
        annotations: Default::default(),
    };
    let config = member(members, &image.config)?;
    let mut manifest =
        Manifest { schema_version: 2, media_type: MANIFEST.into(), config: describe(config, CONFIG), layers: Vec::new() };
    let mut blobs = vec![config];
    for name in image.layers.iter().flatten() {
        let layer = member(members, name)?;
        manifest.layers.push(describe(layer, layer_type(&blob_in(store, layer))?));
        blobs.push(layer);
    }
    for blob in blobs {
        // Two images of one archive share blobs.
        if blob.file.exists() {
            store.adopt_blob(&blob.file, &blob.digest)?;
        }
    }
    let bytes = serde_json::to_vec(&manifest)?;
    let file = scratch.path().join("manifest");
    fs::write(&file, &bytes)?;
    let blob = Blob { file, digest: Digest::of(&bytes), size: bytes.len() as u64 };
    store.adopt_blob(&blob.file, &blob.digest)?;
    Ok(describe(&blob, MANIFEST))
}

/// Where a blob is by now.
fn blob_in(store: &Store, blob: &Blob) -> PathBuf {
    if blob.file.exists() { blob.file.clone() } else { Blobs(store.root()).path(&blob.digest) }
}

fn layer_type(file: &Path) -> Result<&'static str> {
    let mut head = Vec::new();
    File::open(file)?.take(HEAD).read_to_end(&mut head)?;
    Ok(match Compression::of(&head)? {
        Compression::Plain => LAYER,
        Compression::Gzip => LAYER_GZIP,
        Compression::Zstd => LAYER_ZSTD,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_names_a_member_or_nothing() {
        assert_eq!(beside(b"a/layer.tar", b"../b/layer.tar").unwrap(), b"b/layer.tar");
        assert_eq!(beside(b"a/layer.tar", b"./x").unwrap(), b"a/x");
        assert_eq!(beside(b"layer.tar", b"../x"), None);
        assert_eq!(beside(b"layer.tar", b"/etc/passwd"), None);
    }
}
