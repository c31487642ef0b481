//! `rl history`.

use anyhow::Result;
use serde_json::Value;

use super::listing::{Listing, Row};
use super::{Context, images, output};
use crate::oci::time;

/// Show how an image came about
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
    /// Print commands and ids in full
    #[arg(long)]
    no_trunc: bool,
    /// Sizes and times for people (--human=false: bytes and RFC 3339)
    #[arg(short = 'H', long, default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true",
        action = clap::ArgAction::Set, value_name = "BOOL")]
    human: bool,
    /// Print by a Go template, `table TEMPLATE`, or `json`
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// A name, an id, or the beginning of an id
    #[arg(value_name = "IMAGE")]
    image: String,
}

const HUMAN: Listing =
    Listing { columns: COLUMNS, table: "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}", id: "ID" };

const EXACT: Listing =
    Listing { columns: COLUMNS, table: "{{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}", id: "ID" };

const COLUMNS: &[(&str, &str)] = &[
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
];

/// Prints one line for each step, the last first.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let store = context.store();
    let listed = images::find(&store, &args.image)?;
    // An image whose maker wrote no history still has its layers.
    let unwritten = crate::oci::image::History::default();
    let config = &listed.image.config;
    let steps = if config.history.is_empty() { vec![unwritten; listed.image.layers.len()] } else { config.history.clone() };
    let mut layers = listed.image.layers.iter();
    let mut rows = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        let layer = if step.empty_layer { None } else { layers.next() };
        let size = layer.map_or(0, |layer| store.size_of(layer));
        let id = match number + 1 == steps.len() {
            true if args.no_trunc => listed.stored.id.to_string(),
            true => listed.stored.id.short().to_string(),
            false => "<missing>".into(),
        };
        let created = step.created.as_deref().and_then(time::parse);
        let by = step.created_by.clone().unwrap_or_default().replace('\t', " ");
        rows.push(Row::new([
            ("ID", id.into()),
            ("CreatedSince", created.map_or_else(|| "N/A".into(), |time| format!("{} ago", output::since(time))).into()),
            ("CreatedAt", step.created.clone().unwrap_or_default().into()),
            ("CreatedBy", if args.no_trunc { by } else { cut(&by) }.into()),
            ("Size", if args.human { output::size(size).into() } else { Value::from(size.to_string()) }),
            ("Comment", step.comment.clone().unwrap_or_default().into()),
        ]));
    }
    rows.reverse();
    if args.human { HUMAN } else { EXACT }.print(args.format.as_deref(), args.quiet, rows)?;
    Ok(0)
}

/// 45 characters, as Docker.
fn cut(text: &str) -> String {
    match text.chars().count() {
        0..=45 => text.into(),
        _ => text.chars().take(44).chain(['…']).collect(),
    }
}
