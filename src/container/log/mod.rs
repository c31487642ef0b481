//! What containers print, kept for `rl logs`.
//!
//! ```text
//! containers/<id>/<id>-json.log .1 .2 …    driver json-file: Docker's lines, {"log":"…\n","stream":"stdout","time":"…"}
//! containers/<id>/container.log .1 .2 …    driver local: TIME stdout F TEXT (P: no newline follows), any bytes
//! the journal                              driver journald
//! ```
//!
//! Monitor writes, any Client reads; files only, so that no reader is ever waited for.
//!
//! ```text
//! writer.rs     output → lines → files, rotated by size
//! line.rs       one line of each format
//! files.rs      a file and those put aside before it: all their lines, surviving rotation
//! reader.rs     these lines, read
//! journald.rs   both directions for the journal
//! ```

pub mod files;
pub mod journald;
mod line;
pub mod reader;
pub mod writer;

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::parse;

pub use line::Line;
pub use writer::LogWriter;

/// In the place of a container's id: the log of what it reaches.
pub const EGRESS: &str = "egress";

/// Longest piece of a line that is kept in one piece, in bytes; Docker's.
pub const LONGEST: usize = 16 << 10;

/// Which of the two a payload has written to; a terminal is stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    fn word(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

/// Where the output is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Driver {
    /// Docker's JSON lines, unlimited unless told otherwise
    #[default]
    JsonFile,
    /// Plain lines that keep every byte; five files of 20 MB unless told otherwise
    Local,
    /// The host's journal
    Journald,
    /// Nowhere
    None,
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Driver::JsonFile => "json-file",
            Driver::Local => "local",
            Driver::Journald => "journald",
            Driver::None => "none",
        })
    }
}

/// `--log-driver` and `--log-opt` of one container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogConfig {
    pub driver: Driver,
    /// The options as they were given, for inspect.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub options: BTreeMap<String, String>,
    /// A file that would grow beyond this many bytes is put aside.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub max_size: Option<u64>,
    /// So many files are kept, the current one among them; 0 is 1.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub max_file: u32,
    /// What goes with each line: the tag, and the labels and variables asked for.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub attributes: BTreeMap<String, String>,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// What a tag or an attribute may be made of.
pub struct Subject<'a> {
    pub id: &'a str,
    pub name: &'a str,
    pub image: &'a str,
    pub image_id: &'a str,
    pub labels: &'a BTreeMap<String, String>,
    pub env: &'a [String],
}

impl LogConfig {
    /// Reads `KEY=VALUE` options (Docker's "json-file", "local", "journald" logging drivers).
    pub fn new(driver: Driver, given: &[String], subject: &Subject) -> Result<LogConfig> {
        let mut config = LogConfig { driver, ..LogConfig::default() };
        if driver == Driver::Local {
            (config.max_size, config.max_file) = (Some(20_000_000), 5);
        }
        for option in given {
            let (key, value) = option.split_once('=').with_context(|| format!("log option \"{option}\" is not KEY=VALUE"))?;
            let bad = || format!("bad log option {key}: \"{value}\"");
            let in_files = matches!(driver, Driver::JsonFile | Driver::Local);
            match key {
                "max-size" if in_files => config.max_size = size(value).with_context(bad)?,
                "max-file" if in_files => {
                    config.max_file = value.parse().with_context(bad)?;
                    if config.max_file == 0 {
                        bail!("bad log option max-file: at least one file is needed");
                    }
                }
                "tag" if driver != Driver::None => drop(config.attributes.insert("tag".into(), tag(value, subject)?)),
                "labels" if driver != Driver::None => {
                    let found = value.split(',').filter_map(|key| Some((key.to_string(), subject.labels.get(key)?.clone())));
                    config.attributes.extend(found);
                }
                "env" if driver != Driver::None => {
                    let variables = || subject.env.iter().filter_map(|entry| entry.split_once('='));
                    let wanted = variables().filter(|(name, _)| value.split(',').any(|wanted| wanted == *name));
                    config.attributes.extend(wanted.map(|(name, value)| (name.to_string(), value.to_string())));
                }
                // Files that are put aside are plain; asking for that is no mistake.
                "compress" if in_files && value == "false" => {}
                _ => bail!("unknown log option \"{key}\" for the log driver {driver}"),
            }
            config.options.insert(key.into(), value.into());
        }
        if config.max_size.is_none() && config.max_file > 1 {
            bail!("the log option max-file needs max-size");
        }
        Ok(config)
    }

    /// How what a container reaches is kept, whatever becomes of its output.
    pub fn of_egress() -> LogConfig {
        LogConfig { max_size: Some(10_000_000), max_file: 2, ..LogConfig::default() }
    }

    /// The current file's name; None where there are no files.
    pub fn file_name(&self, id: &str) -> Option<String> {
        match self.driver {
            Driver::JsonFile => Some(format!("{id}-json.log")),
            Driver::Local => Some("container.log".into()),
            Driver::Journald | Driver::None => None,
        }
    }

    /// How many files there are at most.
    fn files(&self) -> u32 {
        self.max_file.max(1)
    }
}

/// Docker's sizes; -1 is none.
fn size(value: &str) -> Result<Option<u64>> {
    if value == "-1" {
        return Ok(None);
    }
    match parse::size(value).map_err(|error| anyhow::anyhow!("{error}"))? {
        0 => bail!("a file of no size"),
        size => Ok(Some(size)),
    }
}

/// Docker's tag templates: these fields, and plain text between them.
fn tag(template: &str, subject: &Subject) -> Result<String> {
    let short = |id: &str| id.trim_start_matches("sha256:").chars().take(12).collect::<String>();
    let mut tag = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let (field, after) = after.split_once("}}").with_context(|| format!("bad tag \"{template}\": no }}}}"))?;
        tag.push_str(before);
        match field.trim() {
            ".ID" => tag.push_str(&short(subject.id)),
            ".FullID" => tag.push_str(subject.id),
            ".Name" => tag.push_str(subject.name),
            ".ImageID" => tag.push_str(&short(subject.image_id)),
            ".ImageFullID" => tag.push_str(subject.image_id),
            ".ImageName" => tag.push_str(subject.image),
            ".DaemonName" => tag.push_str("rl"),
            field => bail!("bad tag \"{template}\": want .ID .FullID .Name .ImageID .ImageFullID .ImageName, not {field}"),
        }
        rest = after;
    }
    tag.push_str(rest);
    Ok(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(driver: Driver, options: &[&str]) -> Result<LogConfig> {
        let labels = BTreeMap::from([("tier".to_string(), "db".to_string())]);
        let env = ["A=1".to_string(), "B=2".to_string()];
        let subject = Subject {
            id: &"3f2a9c".repeat(10),
            name: "web",
            image: "alpine",
            image_id: "sha256:77aa",
            labels: &labels,
            env: &env,
        };
        LogConfig::new(driver, &options.iter().map(|o| o.to_string()).collect::<Vec<_>>(), &subject)
    }

    #[test]
    fn options_are_dockers() {
        let json = config(Driver::JsonFile, &["max-size=10m", "max-file=3"]).unwrap();
        assert_eq!((json.max_size, json.files()), (Some(10 << 20), 3));
        assert_eq!(config(Driver::JsonFile, &[]).unwrap().max_size, None);
        let local = config(Driver::Local, &[]).unwrap();
        assert_eq!((local.max_size, local.files()), (Some(20_000_000), 5));
        let attributes = config(Driver::JsonFile, &["tag={{.Name}}/{{.ID}}", "labels=tier,none", "env=B,C"]).unwrap().attributes;
        let wanted = [("B", "2"), ("tag", "web/3f2a9c3f2a9c"), ("tier", "db")].map(|(k, v)| (k.to_string(), v.to_string()));
        assert_eq!(attributes, BTreeMap::from(wanted));
    }

    #[test]
    fn bad_options_are_refused_by_name() {
        for (driver, option, says) in [
            (Driver::JsonFile, "max-size=x", "max-size"),
            (Driver::JsonFile, "max-size=0", "max-size"),
            (Driver::JsonFile, "max-file=2", "needs max-size"),
            (Driver::JsonFile, "max-file=0", "at least one"),
            (Driver::JsonFile, "nope=1", "unknown log option \"nope\""),
            (Driver::JsonFile, "max-size", "not KEY=VALUE"),
            (Driver::Journald, "max-size=1m", "unknown log option \"max-size\" for the log driver journald"),
            (Driver::None, "tag=x", "unknown log option"),
            (Driver::Local, "tag={{.Nope}}", ".Nope"),
        ] {
            let error = format!("{:#}", config(driver, &[option]).unwrap_err());
            assert!(error.contains(says), "{option}: {error}");
        }
    }
}
