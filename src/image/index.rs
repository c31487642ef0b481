//! `index.json`: the references as other readers of image layouts find them (image-layout.md, "index.json file"), so that
//! `skopeo inspect oci:STORE:docker.io/library/alpine:latest` works. It is made of the references and never the other way round.

use std::fs;

use anyhow::{Context, Result};

use super::store::{Exclusive, present};
use crate::oci::image::{Descriptor, INDEX, Index, REF_NAME};
use crate::sys::failpoint::milestone;

impl Exclusive {
    /// Writes `index.json` anew, unless it says the right thing already. Called after references appear and before what they led to goes,
    /// so that it never names what is not there; whoever is killed between leaves an old one, and the next change puts it right.
    pub fn write_index(&self) -> Result<()> {
        let path = self.store().root().join("index.json");
        let bytes = serde_json::to_vec(&self.index()?)?;
        let found = present(fs::read(&path)).with_context(|| format!("cannot read {}", path.display()))?;
        if found.as_ref() == Some(&bytes) {
            return Ok(());
        }
        milestone("image-index");
        self.store().write_record(&path, &bytes)
    }

    fn index(&self) -> Result<Index> {
        let manifests = self.store().references()?.into_iter().map(|named| {
            let name = named.reference.map(|reference| (REF_NAME.to_string(), reference.to_string()));
            Descriptor { annotations: name.into_iter().collect(), ..named.target.manifest }
        });
        Ok(Index { schema_version: 2, media_type: INDEX.into(), manifests: manifests.collect() })
    }
}
