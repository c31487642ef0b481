//! What containers need of images: to be looked at before any of it is removed.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};

use super::record::Record;
use super::state::Status;
use crate::error::Advise;
use crate::host::paths::Paths;
use crate::image::delete::User;
use crate::rootfs::plan::RootSource;

/// What all containers use.
#[derive(Debug, Default)]
pub struct Uses {
    /// `layers/<map-id>/<chain-id>/root` of every container.
    pub layers: Vec<PathBuf>,
    /// By the image's id, as its digest is written.
    images: HashMap<String, Vec<User>>,
}

impl Uses {
    /// Reads every record. A damaged one is an error: nobody knows what that container needs. While the store is held exclusively
    /// (image/store.rs) no other container can come to use anything.
    pub fn now(paths: &Paths) -> Result<Uses> {
        let mut uses = Uses::default();
        let entries = match fs::read_dir(paths.containers()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(uses),
            other => other.with_context(|| format!("cannot read {}", paths.containers().display()))?,
        };
        for entry in entries {
            let name = entry.context("cannot read the containers")?.file_name();
            if name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let id = name.to_string_lossy();
            let record = Record::load(&paths.containers().join(&name))
                .map_err(|error| anyhow!("nobody knows what container {id} uses: {error:#}"))
                .hint(|| "rl system check")?;
            uses.extend(record);
        }
        Ok(uses)
    }

    fn extend(&mut self, record: Option<Record>) {
        let Some(record) = record else { return };
        let running = record.alive && !matches!(record.state.status, Status::Created | Status::Exited | Status::Lost);
        let user = User { container: record.short_id().into(), running };
        self.images.entry(record.config.image_id).or_default().push(user);
        if let RootSource::Layers(layers) = record.config.root {
            self.layers.extend(layers);
        }
    }

    /// The containers of an image.
    pub fn of(&self, image_id: &str) -> &[User] {
        self.images.get(image_id).map_or(&[], Vec::as_slice)
    }
}
