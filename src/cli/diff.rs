//! `rl diff`.

use anyhow::Result;
use serde_json::json;

use super::listing::{Listing, Row};
use super::{Context, output};
use crate::container::changes::{self, Change, Kind};
use crate::container::record;

/// Show what a container has changed in its files
///
/// A line for each path: A was added, C changed, D deleted. Volumes are not looked at.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print by a Go template, `table TEMPLATE`, or `json`
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Name, id, or beginning of an id
    #[arg(value_name = "CONTAINER")]
    container: String,
}

const CHANGES: Listing = Listing { columns: &[("Kind", "KIND"), ("Path", "PATH")], table: "{{.Kind}}\t{{.Path}}", id: "Path" };

/// Prints them by path; JSON is Podman's.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let record = record::find(&context.paths, &args.container)?;
    let changes = changes::of(&record, &context.paths, &context.userns()?)?;
    match args.format.as_deref().map(str::trim).filter(|format| !format.is_empty()) {
        Some("json") => {
            let of = |kind: Kind| changes.iter().filter(|c| c.kind == kind).map(|c| c.path.as_str()).collect::<Vec<_>>();
            let lists = [("changed", of(Kind::Modified)), ("added", of(Kind::Added)), ("deleted", of(Kind::Deleted))];
            let there = lists.into_iter().filter(|(_, paths)| !paths.is_empty()).map(|(name, paths)| (name.into(), json!(paths)));
            output::json(&serde_json::Value::Object(there.collect()))?;
        }
        None => changes.iter().try_for_each(|change| output::line(format!("{} {}", letter(change), shown(&change.path))))?,
        format => {
            let row = |change: &Change| Row::new([("Kind", letter(change).into()), ("Path", change.path.clone().into())]);
            CHANGES.print(format, false, changes.iter().map(row))?;
        }
    }
    Ok(0)
}

fn letter(change: &Change) -> &'static str {
    match change.kind {
        Kind::Modified => "C",
        Kind::Added => "A",
        Kind::Deleted => "D",
    }
}

/// A name is the container's choice: what would break the line, or move the cursor, is shown as what it is.
fn shown(path: &str) -> String {
    path.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.into() }).collect()
}
