//! Volumes: directories of the store with a name of their own.
//!
//! ```text
//! volumes/<name>/_data         the contents; filled from the image at the first use
//! volumes/<name>/volume.json   when it was made, labels
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use super::record;
use crate::error::Advise;
use crate::host::paths::{Paths, make_dirs};

/// A volume as `rl volume inspect` shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Volume {
    pub name: String,
    pub driver: String,
    pub mountpoint: PathBuf,
    pub created_at: String,
    pub labels: BTreeMap<String, String>,
    pub scope: String,
    /// Made for one container, to go with it.
    pub anonymous: bool,
}

/// Makes a volume; false when it exists already. Its contents belong to root of U (`owner`).
pub fn create(paths: &Paths, name: &str, labels: BTreeMap<String, String>, anonymous: bool, owner: (u32, u32)) -> Result<bool> {
    let directory = paths.volumes().join(name);
    if directory.join("volume.json").exists() {
        return Ok(false);
    }
    let purpose = || format!("cannot create volume \"{name}\"");
    let data = directory.join("_data");
    record::make_store(paths, owner).with_context(purpose)?;
    make_dirs(&directory, 0o711).with_context(purpose)?;
    // One maker at a time, of the many who may use it for the first time.
    let opened = File::from(record::open_directory(&directory).with_context(purpose)?);
    opened.lock().with_context(purpose)?;
    if directory.join("volume.json").exists() {
        return Ok(false);
    }
    if !data.is_dir() {
        record::make_dir(&data, 0o755).with_context(purpose)?;
    }
    for path in [&directory, &data] {
        record::give(path, owner).with_context(purpose)?;
    }
    let volume = Volume {
        name: name.into(),
        driver: "local".into(),
        mountpoint: data,
        created_at: record::now(),
        labels,
        scope: "local".into(),
        anonymous,
    };
    // Written last: a volume whose maker was killed is made again, with what it already holds.
    record::write_json(&opened, "volume.json", &volume).with_context(purpose)?;
    Ok(true)
}

/// Every volume, by name.
pub fn list(paths: &Paths) -> Result<Vec<Volume>> {
    let entries = match fs::read_dir(paths.volumes()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.with_context(|| format!("cannot read {}", paths.volumes().display()))?,
    };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut volumes: Vec<Volume> = names.filter_map(|name| find(paths, &name).ok()).collect();
    volumes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(volumes)
}

/// One volume by name.
pub fn find(paths: &Paths, name: &str) -> Result<Volume> {
    let unknown = || anyhow!("no such volume: {name}");
    if super::parse::name(name).is_err() {
        return Err(unknown());
    }
    let bytes = fs::read(paths.volumes().join(name).join("volume.json")).map_err(|_| unknown()).hint(|| "rl volume ls")?;
    serde_json::from_slice(&bytes).with_context(|| format!("the record of volume \"{name}\" is damaged"))
}

/// The containers that use volume `name`, by short id.
pub fn users(records: &[record::Record], name: &str) -> Vec<String> {
    let uses = |r: &&record::Record| r.config.volumes.iter().any(|v| v.name == name);
    records.iter().filter(uses).map(|r| r.short_id().to_string()).collect()
}

/// Refuses where a container uses the volume.
pub fn check_unused(records: &[record::Record], name: &str) -> Result<()> {
    let users = users(records, name);
    if users.is_empty() {
        return Ok(());
    }
    bail!("volume \"{name}\" is in use by container {}", users.join(", "))
}
