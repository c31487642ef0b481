//! How much disk containers take.

use std::ffi::CString;
use std::fs;
use std::os::fd::AsFd;

use anyhow::{Context as _, Result};

use super::Context;
use crate::container::record::{self, Record};
use crate::host::tree;
use crate::image::Store;
use crate::rootfs::plan::RootSource;
use crate::userns::spawn;

/// Bytes that each has written: what lies in the upper directories of its overlays.
pub fn written(context: &Context, records: &[Record]) -> Result<Vec<u64>> {
    let each = records.iter().map(uppers).collect::<Vec<_>>();
    let sizes = below_store(context, &each.concat())?;
    let mut sizes = sizes.into_iter();
    Ok(each.iter().map(|paths| sizes.by_ref().take(paths.len()).sum()).collect())
}

/// Bytes of the trees at these paths below the store. Much of it belongs to subordinate ids, and not all of that is open to others.
pub fn below_store(context: &Context, paths: &[String]) -> Result<Vec<u64>> {
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    let store = record::open_directory(&context.paths.store)?;
    let size = |path: &String| -> Result<u64> {
        let path = CString::new(path.as_str())?;
        tree::size(store.as_fd(), &path).with_context(|| format!("cannot measure {}", path.to_string_lossy()))
    };
    spawn::worker(&context.userns()?, || paths.iter().map(size).collect())
}

/// Bytes of the layers that a container is made of; the host's directories count for nothing.
pub fn layers(record: &Record) -> u64 {
    match &record.config.root {
        RootSource::Layers(layers) => layers.iter().map(|layer| Store::unpacked_size(layer)).sum(),
        RootSource::Directory(_) => 0,
    }
}

fn uppers(record: &Record) -> Vec<String> {
    let names = fs::read_dir(&record.directory).into_iter().flatten().flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| name.starts_with("upper"));
    names.map(|name| format!("containers/{}/{name}", record.config.id)).collect()
}
