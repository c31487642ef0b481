//! `rl ps`.

use anyhow::Result;

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
}

/// Prints the list, after clearing away what killed processes left.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    remove::sweep(&context.paths, || context.userns())?;
    let records = record::list(&context.paths)?;
    let shown: Vec<&Record> = records.iter().filter(|r| args.all || r.state.status == Status::Running).collect();
    if args.quiet {
        for record in shown {
            output::line(record.short_id())?;
        }
        return Ok(0);
    }
    let rows: Vec<Vec<String>> = shown.into_iter().map(row).collect();
    output::table(&["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "NAMES"], &rows)?;
    Ok(0)
}

fn row(record: &Record) -> Vec<String> {
    let config = &record.config;
    vec![
        record.short_id().into(),
        config.image.clone(),
        command(&config.spec.process.args),
        format!("{} ago", output::ago(&config.created)),
        status(record),
        config.name.clone(),
    ]
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
        Status::Lost => "Lost".into(),
        Status::Exited => match (state.exit_code, &state.finished_at) {
            (Some(code), Some(_)) => format!("Exited ({code}) {} ago", since(&state.finished_at)),
            // Running when the host went down: nobody saw the code.
            _ => "Exited".into(),
        },
    }
}
