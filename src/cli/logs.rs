//! `rl logs`.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, anyhow};

use super::{Context, output};
use crate::container::config::Config;
use crate::container::log::journald::{JournalReader, Wanted};
use crate::container::log::reader::LogReader;
use crate::container::log::{self, Driver, Line, LogConfig, Stream};
use crate::container::moment;
use crate::container::record::{self, Record};
use crate::container::state::Status;
use crate::container::watch::{Turn, Watch};
use crate::error::Advise;

/// Show what a container has printed
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Go on with what it prints from now on
    #[arg(short, long)]
    follow: bool,
    /// The last N lines only, or all
    #[arg(short = 'n', long, value_name = "N", default_value = "all")]
    tail: String,
    /// From this time on: 2026-01-31T12:00:00Z, Unix seconds, or how long ago: 10m
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Up to this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Show when each line was printed
    #[arg(short, long)]
    timestamps: bool,
    /// Show the tag, labels and variables that --log-opt asked for
    #[arg(long)]
    details: bool,
    /// Show what the container has reached or was refused, as --egress has it noted: when, allow or deny, protocol, destination, name
    #[arg(long)]
    egress: bool,
    /// Its name, id, or beginning of its id
    #[arg(value_name = "CONTAINER")]
    container: String,
}

/// Prints stdout's lines to stdout and stderr's to stderr.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let record = record::find(&context.paths, &args.container)?;
    let now = SystemTime::now();
    let time = |text: &Option<String>| text.as_deref().map(|text| moment::parse(text, now)).transpose();
    let until = time(&args.until)?;
    let tail = match args.tail.as_str() {
        "all" => None,
        // As Docker: whatever is no number of lines, -1 among it, is all of them.
        text => Some(text)
            .filter(|text| !text.starts_with('-'))
            .map(str::parse)
            .transpose()
            .map_err(|_| anyhow!("bad --tail \"{text}\": want a number of lines, or all"))?,
    };
    let printer = Printer {
        since: time(&args.since)?.map(moment::format),
        until: until.map(moment::format),
        timestamps: args.timestamps || args.egress,
        details: args.details,
        streams: output::Streams::default(),
        open: [false; 2],
    };
    let runs = record.alive && !matches!(record.state.status, Status::Created | Status::Exited | Status::Lost);
    let deadline = until.map(|until| Instant::now() + until.duration_since(now).unwrap_or(Duration::ZERO));
    if args.egress {
        let name = &record.config.name;
        record
            .config
            .egress
            .as_ref()
            .with_context(|| format!("container \"{name}\" keeps no note of what it reaches"))
            .hint(|| "rl run --egress-log notes everything, --egress deny what is refused")?;
        let log = Kept { id: log::EGRESS, config: &LogConfig::of_egress(), silent: true };
        return files(&record, &log, args.follow && runs, tail, deadline, printer);
    }
    match record.config.log.driver {
        Driver::None => Err(anyhow!("container \"{}\" keeps no log: it was made with --log-driver none", record.config.name)),
        Driver::Journald => journal(&record, args.follow && runs, tail, printer),
        Driver::JsonFile | Driver::Local => {
            let Config { id, log, .. } = &record.config;
            let log = Kept { id, config: log, silent: record.state.status == Status::Created };
            files(&record, &log, args.follow && runs, tail, deadline, printer)
        }
    }
}

/// Which of a container's logs.
struct Kept<'a> {
    id: &'a str,
    config: &'a LogConfig,
    /// That there is none yet is no mistake.
    silent: bool,
}

fn files(
    record: &Record,
    log: &Kept,
    follow: bool,
    tail: Option<usize>,
    deadline: Option<Instant>,
    mut printer: Printer,
) -> Result<u8> {
    let mut watch = if follow { Some(Watch::new(record)?) } else { None };
    let directory = record::open_directory(&record.directory)?;
    let Some(mut reader) = LogReader::open(directory, log.id, log.config, tail)? else {
        if log.silent {
            return Ok(0);
        }
        let name = &record.config.name;
        return Err(anyhow!("container \"{name}\" has no log: what it printed went straight to whoever ran it"))
            .hint(|| format!("rl run -d for a container whose output is kept, then rl logs -f {name}"));
    };
    // It may have ended between the record's being read and the watch.
    let mut ended = watch.as_mut().map_or(Ok(true), Watch::has_ended)?;
    loop {
        while let Some(line) = reader.next()? {
            if !printer.print(&line)? {
                return Ok(0);
            }
        }
        if !printer.streams.flush()? || ended {
            return Ok(0);
        }
        let Some(watch) = &mut watch else { return Ok(0) };
        match watch.wait(deadline)? {
            Turn::Changed => {}
            Turn::Ended => ended = true,
            Turn::TimeUp => return Ok(0),
        }
    }
}

fn journal(record: &Record, follow: bool, tail: Option<usize>, mut printer: Printer) -> Result<u8> {
    let (since, until) = (printer.since.clone(), printer.until.clone());
    let wanted = Wanted { id: &record.config.id, follow, tail, since: since.as_deref(), until: until.as_deref() };
    let mut reader = JournalReader::open(&wanted)?;
    while let Some(line) = reader.next()? {
        if !printer.print(&line)? || (follow && !printer.streams.flush()?) {
            return Ok(0);
        }
    }
    printer.streams.flush()?;
    Ok(0)
}

/// Which lines are shown, and how.
struct Printer {
    since: Option<String>,
    until: Option<String>,
    timestamps: bool,
    details: bool,
    streams: output::Streams,
    /// A piece without a newline was the last on stdout, stderr.
    open: [bool; 2],
}

impl Printer {
    /// False: no further line is wanted.
    fn print(&mut self, line: &Line) -> Result<bool> {
        if self.since.as_ref().is_some_and(|since| line.time < *since) {
            return Ok(true);
        }
        if self.until.as_ref().is_some_and(|until| line.time > *until) {
            self.streams.flush()?;
            return Ok(false);
        }
        let mut text = Vec::with_capacity(line.text.len() + 64);
        let open = &mut self.open[line.stream as usize];
        if !*open && self.timestamps {
            text.extend_from_slice(line.time.as_bytes());
            text.push(b' ');
        }
        if !*open && self.details {
            let pairs: Vec<String> = line.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
            text.extend_from_slice(pairs.join(",").as_bytes());
            text.push(b' ');
        }
        *open = !line.text.ends_with(b"\n");
        text.extend_from_slice(&line.text);
        self.streams.write(line.stream == Stream::Stderr, &text)
    }
}
