//! Taking hold of a container, in whatever state it is: a running one is known by its Monitor, any other is locked by the command itself.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::config::Config;
use super::control;
use super::record::{self, Record};
use super::remove;
use super::watch::{Turn, Watch};
use super::wire::FromClient;
use crate::host::paths::Paths;

/// Long enough for a start or an end that nothing holds up.
const FIRST_PATIENCE: Duration = Duration::from_millis(500);
/// A lock that a killed process drops may make no event: looked for so often.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// A container, taken hold of.
pub enum Held {
    /// It is up: its Monitor is to be asked.
    Up(Record),
    /// It is down, and its record locked: nobody else can start or change it meanwhile.
    Down(Record, File),
}

impl Held {
    /// What was found when it was taken hold of.
    pub fn record(&self) -> &Record {
        let (Held::Up(record) | Held::Down(record, _)) = self;
        record
    }

    /// Changes its configuration: of one that is up through its Monitor, who is asked for that, of any other in the record. False: it was up,
    /// and has ended meanwhile.
    pub fn change(&self, request: &FromClient, change: impl FnOnce(&mut Config)) -> Result<bool> {
        match self {
            Held::Up(record) => Ok(control::ask(record, request)?.is_some()),
            Held::Down(record, lock) => {
                let mut config = record.config.clone();
                change(&mut config);
                let written = record::write_json(lock, "config.json", &config);
                written.with_context(|| format!("container \"{}\"", config.name)).map(|()| true)
            }
        }
    }
}

/// Takes hold of a container, waiting while another command creates, starts or ends it.
pub fn hold(paths: &Paths, wanted: &str) -> Result<Held> {
    let mut told = false;
    loop {
        let record = record::find(paths, wanted)?;
        if record.alive && record.state.status.is_up() {
            return Ok(Held::Up(record));
        }
        let directory = File::open(&record.directory).with_context(|| format!("no such container: {wanted}"))?;
        // The watch comes before the look at what is watched.
        let mut watch = Watch::new(&record)?;
        if directory.try_lock().is_ok() {
            match Record::read(&record.directory, false)? {
                Some(record) if is_at(&directory, &record) => {
                    remove::end_payload(&record);
                    return Ok(Held::Down(record, directory));
                }
                _ => continue,
            }
        }
        if !told {
            told = wait_for_change(&mut watch, FIRST_PATIENCE)?;
            continue;
        }
        eprintln!("rl: waiting for another command on \"{}\"", record.config.name);
        wait_for_change(&mut watch, PATIENCE)?;
    }
}

/// What is locked is still what the path leads to.
fn is_at(directory: &File, record: &Record) -> bool {
    let there = std::fs::metadata(&record.directory).map(|found| found.ino());
    directory.metadata().is_ok_and(|locked| there.is_ok_and(|there| there == locked.ino()))
}

/// Waits for anything to happen to the record; true when nothing did in time.
pub fn wait_for_change(watch: &mut Watch, patience: Duration) -> Result<bool> {
    Ok(watch.wait(Some(Instant::now() + patience))? == Turn::TimeUp)
}
