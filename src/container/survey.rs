//! All records at once, read no further than the question needs: a directory that nobody holds locked has nothing running in it.

use std::fs;
use std::io;

use anyhow::{Context, Result};

use super::record::{self, Record};
use crate::host::paths::Paths;

/// What was found.
#[derive(Debug, Default)]
pub struct Survey {
    /// Newest first.
    pub records: Vec<Record>,
    /// Something is there that killed processes may have left: worth a [`sweep`](super::remove::sweep).
    pub leftovers: bool,
}

/// Looks at every record, or only at those that may be running.
pub fn survey(paths: &Paths, all: bool) -> Result<Survey> {
    let mut survey = Survey::default();
    let entries = match fs::read_dir(paths.containers()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(survey),
        other => other.with_context(|| format!("cannot read {}", paths.containers().display()))?,
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b".") {
            survey.leftovers |= name.as_encoded_bytes().starts_with(b".rm");
            continue;
        }
        let path = entry.path();
        if !all && !record::is_locked(&path) {
            continue;
        }
        match Record::load(&path) {
            Ok(Some(record)) => {
                survey.leftovers |= !record.alive && record.config.auto_remove;
                survey.records.push(record);
            }
            Ok(None) => survey.leftovers |= !record::is_locked(&path),
            Err(error) => eprintln!("rl: skipping container {}: {error:#}", name.to_string_lossy()),
        }
    }
    survey.records.sort_by(|a, b| b.config.created.cmp(&a.config.created));
    Ok(survey)
}
