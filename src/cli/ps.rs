//! `rl ps`.

use anyhow::Result;

use super::listing::{Listing, Row};
use super::{Context, output};
use crate::container::record::{self, Record};
use crate::container::remove;
use crate::container::state::Status;

/// List containers
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show all, not only running ones
    #[arg(short, long)]
    all: bool,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
    /// Print by a Go template, `table TEMPLATE`, or `json`
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
}

const CONTAINERS: Listing = Listing {
    columns: &[
        ("ID", "CONTAINER ID"),
        ("Image", "IMAGE"),
        ("Command", "COMMAND"),
        ("RunningFor", "CREATED"),
        ("Status", "STATUS"),
        ("Names", "NAMES"),
        ("Labels", "LABELS"),
    ],
    table: "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}",
    id: "ID",
};

/// Prints the list, after clearing away what killed processes left.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    remove::sweep(&context.paths, || context.userns())?;
    let records = record::list(&context.paths)?;
    let shown: Vec<&Record> = records.iter().filter(|r| args.all || r.state.status.is_up()).collect();
    CONTAINERS.print(args.format.as_deref(), args.quiet, shown.into_iter().map(row))?;
    Ok(0)
}

fn row(record: &Record) -> Row {
    let config = &record.config;
    let fields = [
        ("ID", record.short_id().into()),
        ("Image", config.image.clone().into()),
        ("Command", command(&config.spec.process.args).into()),
        ("RunningFor", format!("{} ago", output::ago(&config.created)).into()),
        ("Status", status(record).into()),
        ("Names", config.name.clone().into()),
    ];
    Row::new(fields).labels(&config.labels)
}

/// Quoted and cut to 20 characters, as Docker does.
fn command(args: &[String]) -> String {
    let whole = args.join(" ");
    let mut cut: String = whole.chars().take(20).collect();
    if whole.chars().count() > 20 {
        cut = whole.chars().take(19).collect();
        cut.push('…');
    }
    format!("\"{cut}\"")
}

fn status(record: &Record) -> String {
    let state = &record.state;
    let since = |time: &Option<String>| time.as_deref().map(output::ago).unwrap_or_default();
    match state.status {
        Status::Created => "Created".into(),
        Status::Running => format!("Up {}", since(&state.started_at)),
        Status::Paused => format!("Up {} (Paused)", since(&state.started_at)),
        Status::Restarting => format!("Restarting ({}) {} ago", state.exit_code.unwrap_or(0), since(&state.finished_at)),
        Status::Lost => "Lost".into(),
        Status::Exited => match (state.exit_code, &state.finished_at) {
            (Some(code), Some(_)) => format!("Exited ({code}) {} ago", since(&state.finished_at)),
            // Running when the host went down: nobody saw the code.
            _ => "Exited".into(),
        },
    }
}
