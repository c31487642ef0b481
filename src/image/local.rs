//! The images in the store: each with all its names, found by a name or by (the beginning of) its id.

use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};

use super::layout::{self, Blobs};
use super::refs::{Named, Target};
use super::{Image, Reference, Store};
use crate::error::Advise;
use crate::oci::digest::Digest;

/// An image of the store under all its names: at least one, and all of them lead to manifests with the same configuration.
#[derive(Debug, Clone)]
pub struct Stored {
    pub id: Digest,
    pub names: Vec<Named>,
}

impl Stored {
    /// By what it is read. Of several manifests any will do: they hold the same files, packed differently.
    pub fn target(&self) -> &Target {
        &self.names[0].target
    }

    /// Names with a tag.
    pub fn tags(&self) -> impl Iterator<Item = &Reference> {
        self.names.iter().filter_map(Named::tag)
    }

    /// Names with a digest.
    pub fn digests(&self) -> impl Iterator<Item = &Reference> {
        self.names.iter().filter_map(|named| named.reference.as_ref()).filter(|reference| reference.digest().is_some())
    }
}

/// How an image was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    Name(Reference),
    Id,
}

impl Store {
    /// Every image, in the order of their names. For listings: it reads every reference.
    pub fn images(&self) -> Result<Vec<Stored>> {
        Ok(group(self.references()?))
    }

    /// The image that a person means: by name, by id, or by the beginning of an id that only one has.
    pub fn find(&self, wanted: &str) -> Result<(Stored, Asked)> {
        let (id, asked) = match self.by_name(wanted)? {
            Some((reference, target)) => (target.id, Asked::Name(reference)),
            None => (self.by_id(wanted)?.ok_or_else(|| not_there(wanted)).hint(|| "rl images")?.id, Asked::Id),
        };
        let names: Vec<Named> = self.references()?.into_iter().filter(|named| named.target.id == id).collect();
        if names.is_empty() {
            // Removed between the two looks.
            return Err(not_there(wanted));
        }
        Ok((Stored { id, names }, asked))
    }

    fn by_name(&self, wanted: &str) -> Result<Option<(Reference, Target)>> {
        let Ok(reference) = wanted.parse::<Reference>() else { return Ok(None) };
        Ok(self.reference(&reference)?.map(|target| (reference, target)))
    }

    /// What an id, or the beginning of one, leads to. It reads every reference.
    fn by_id(&self, wanted: &str) -> Result<Option<Target>> {
        let Some(prefix) = id_prefix(wanted) else { return Ok(None) };
        let mut found: Option<Target> = None;
        for named in self.references()?.into_iter().filter(|named| named.target.id.hex().starts_with(prefix)) {
            match &found {
                Some(first) if first.id != named.target.id => bail!("more than one image's id begins with {prefix}"),
                Some(_) => {}
                None => found = Some(named.target),
            }
        }
        Ok(found)
    }

    /// What a name leads to, or where there is none the id that it is the beginning of. By name one file is read, however many images
    /// there are.
    pub fn target(&self, reference: &Reference) -> Result<Target> {
        if let Some(target) = self.reference(reference)? {
            return Ok(target);
        }
        match self.by_id(&reference.familiar_name())? {
            Some(target) => Ok(target),
            None => Err(not_there(&reference.familiar())).hint(|| format!("rl pull {}", reference.familiar())),
        }
    }

    /// What an id leads to.
    pub fn target_of_id(&self, hex: &str) -> Result<Target> {
        self.by_id(hex)?.ok_or_else(|| not_there(hex)).hint(|| "rl images")
    }

    /// Reads the documents that a reference leads to. They are verified; the layers' blobs are not looked at.
    pub fn open_target(&self, target: &Target) -> Result<Image> {
        layout::read(&Blobs(self.root()), &target.manifest)
    }

    /// Where a blob is, or would be.
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        Blobs(self.root()).path(digest)
    }
}

fn not_there(wanted: &str) -> anyhow::Error {
    anyhow!("no such image: {wanted}")
}

/// The hexadecimal digits of what may be an id.
fn id_prefix(wanted: &str) -> Option<&str> {
    let hex = wanted.strip_prefix("sha256:").unwrap_or(wanted);
    let is_hex = !hex.is_empty() && hex.len() <= 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    is_hex.then_some(hex)
}

fn group(named: Vec<Named>) -> Vec<Stored> {
    let mut images: Vec<Stored> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for named in named {
        let place = *places.entry(named.target.id.clone()).or_insert(images.len());
        match images.get_mut(place) {
            Some(image) => image.names.push(named),
            None => images.push(Stored { id: named.target.id.clone(), names: vec![named] }),
        }
    }
    images
}

#[cfg(test)]
mod tests {
    use super::id_prefix;

    #[test]
    fn ids_are_hexadecimal_with_or_without_their_algorithm() {
        assert_eq!(id_prefix("3f2a"), Some("3f2a"));
        assert_eq!(id_prefix("sha256:3f2a"), Some("3f2a"));
        for other in ["", "sha256:", "alpine", "3F2A", "3f2a/x", &"0".repeat(65)] {
            assert_eq!(id_prefix(other), None, "{other:?}");
        }
    }
}
