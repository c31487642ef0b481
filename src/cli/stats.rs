//! `rl stats`.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use serde_json::Value;

use super::listing::{Listing, Row};
use super::{Context, output};
use crate::cgroup::stats::{self, Sample};
use crate::cgroup::{PAYLOAD, delegate, tree};
use crate::container::record::{self, Record};
use crate::container::state::Status;
use crate::error::Advise;

/// Show what running containers use, until interrupted
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Names, ids, or beginnings of ids (default: all that run)
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
    /// Show containers that do not run too
    #[arg(short, long)]
    all: bool,
    /// Show it once
    #[arg(long)]
    no_stream: bool,
    /// Do not shorten ids
    #[arg(long)]
    no_trunc: bool,
    /// Print by a Go template, `table TEMPLATE`, or `json`
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
}

const STATS: Listing = Listing {
    columns: &[
        ("Container", "CONTAINER"),
        ("ID", "CONTAINER ID"),
        ("Name", "NAME"),
        ("CPUPerc", "CPU %"),
        ("MemUsage", "MEM USAGE / LIMIT"),
        ("MemPerc", "MEM %"),
        ("NetIO", "NET I/O"),
        ("BlockIO", "BLOCK I/O"),
        ("PIDs", "PIDS"),
        ("CPUPressure", "CPU PRESSURE"),
        ("MemPressure", "MEM PRESSURE"),
        ("IOPressure", "IO PRESSURE"),
    ],
    table: "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}",
    id: "ID",
};

/// Between two looks, as Docker.
const INTERVAL: Duration = Duration::from_secs(1);

/// Prints the list once a second. The share of the CPUs is of the time since the look before.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let layout = STATS.layout(args.format.as_deref(), false)?;
    let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC).context("cannot make a timer")?;
    timer.set(Expiration::Interval(INTERVAL.into()), TimerSetTimeFlags::empty()).context("cannot set the timer")?;
    let mut before = looks(args, context)?;
    loop {
        timer.wait().context("cannot wait for the timer")?;
        let now = looks(args, context)?;
        let rows = now.iter().map(|look| row(look, before.iter().find(|b| b.record.config.id == look.record.config.id), args));
        let text = layout.text(rows.collect::<Vec<_>>())?;
        if args.no_stream {
            output::text(&text)?;
            return Ok(0);
        }
        // From the top of a cleared screen, where there is one.
        let clear = if io::stdout().is_terminal() { "\x1b[H\x1b[2J" } else { "" };
        output::text(&format!("{clear}{text}"))?;
        if reader_left() {
            return Ok(0);
        }
        before = now;
    }
}

/// Whether nobody reads what we write any more.
fn reader_left() -> bool {
    let stdout = io::stdout();
    let mut set = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
    poll(&mut set, PollTimeout::ZERO).is_ok_and(|ready| ready > 0) && set[0].any().unwrap_or(false)
}

/// One look at one container.
struct Look {
    record: Record,
    at: Instant,
    /// None where it does not run, or has no cgroup that counts.
    sample: Option<Sample>,
    network: (u64, u64),
}

impl Look {
    fn without(record: Record) -> Look {
        Look { record, at: Instant::now(), sample: None, network: (0, 0) }
    }
}

fn looks(args: &Args, context: &Context) -> Result<Vec<Look>> {
    let runs = |record: &Record| record.state.status == Status::Running;
    if args.containers.is_empty() {
        let records = record::list(&context.paths)?;
        return Ok(records
            .into_iter()
            .filter(|record| args.all || runs(record))
            .map(|record| look(record.clone()).unwrap_or_else(|_| Look::without(record)))
            .collect());
    }
    args.containers.iter().map(|wanted| record::find(&context.paths, wanted).and_then(look)).collect()
}

fn look(record: Record) -> Result<Look> {
    let at = Instant::now();
    let Some(pid) = record.state.pid else { return Ok(Look::without(record)) };
    let Some(cgroup) = &record.state.cgroup else {
        return Err(anyhow!("container \"{}\" has no cgroup of its own, so nothing counts what it uses", record.config.name))
            .hint(|| "rl info says why there is none");
    };
    let sample = match open(cgroup) {
        Ok((payload, around)) => Some(sample(&payload, &around)),
        // It has just ended.
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).with_context(|| format!("cannot open the cgroup {cgroup}")),
    };
    // The host's traffic is not the container's.
    let own = record.config.spec.linux.has("network");
    let counters = if own { std::fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default() } else { String::new() };
    let network = stats::network(&counters);
    Ok(Look { record, at, sample, network })
}

fn open(cgroup: &str) -> io::Result<(OwnedFd, OwnedFd)> {
    let around: OwnedFd = File::open(format!("{}{cgroup}", delegate::ROOT))?.into();
    Ok((tree::open_child(around.as_fd(), PAYLOAD)?, around))
}

/// What is not limited is limited by the machine.
fn sample(payload: &OwnedFd, around: &OwnedFd) -> Sample {
    let mut sample = stats::sample(payload.as_fd(), around.as_fd());
    let total = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| stats::mem_total(&text));
    sample.memory_limit = [sample.memory_limit, total].into_iter().flatten().min();
    sample
}

fn row(look: &Look, before: Option<&Look>, args: &Args) -> Row {
    let record = &look.record;
    let id = if args.no_trunc { record.config.id.as_str() } else { record.short_id() };
    let named = args.containers.iter().find(|wanted| record.config.name == **wanted || record.config.id.starts_with(*wanted));
    let mut fields: Vec<(&str, String)> =
        vec![("Container", named.cloned().unwrap_or_else(|| id.into())), ("ID", id.into()), ("Name", record.config.name.clone())];
    let percent = |share: Option<f64>| share.map_or("--".into(), |share| format!("{share:.2}%"));
    let sample = look.sample.as_ref();
    fields.push(("CPUPerc", percent(sample.map(|sample| cpu_percent(sample, look.at, before)))));
    let (used, limit) = (sample.and_then(|s| s.memory), sample.and_then(|s| s.memory_limit));
    fields.push(("MemUsage", format!("{} / {}", binary(used), binary(limit))));
    let share = used.zip(limit).filter(|(_, limit)| *limit > 0).map(|(used, limit)| used as f64 / limit as f64 * 100.0);
    fields.push(("MemPerc", percent(share)));
    let pair = |pair: Option<(u64, u64)>| {
        pair.map_or("-- / --".to_string(), |(a, b)| format!("{} / {}", output::size(a), output::size(b)))
    };
    fields.push(("NetIO", pair(sample.map(|_| look.network))));
    fields.push(("BlockIO", pair(sample.map(|s| (s.block_read, s.block_write)))));
    fields.push(("PIDs", sample.and_then(|s| s.pids).map_or("--".into(), |pids| pids.to_string())));
    fields.push(("CPUPressure", percent(sample.and_then(|s| s.cpu_pressure))));
    fields.push(("MemPressure", percent(sample.and_then(|s| s.memory_pressure))));
    fields.push(("IOPressure", percent(sample.and_then(|s| s.io_pressure))));
    let mut row = Row::new([]);
    row.fields = fields.into_iter().map(|(name, text)| (name.to_string(), Value::from(text))).collect();
    row
}

/// 100 is one CPU's whole time.
fn cpu_percent(sample: &Sample, at: Instant, before: Option<&Look>) -> f64 {
    let Some((earlier, then)) = before.and_then(|look| Some((look.sample.as_ref()?, look.at))) else { return 0.0 };
    let passed = at.saturating_duration_since(then).as_micros().max(1) as f64;
    sample.cpu_usec.saturating_sub(earlier.cpu_usec) as f64 / passed * 100.0
}

/// Docker's size of memory: four digits and a unit of 1024, as in 1.952MiB.
fn binary(bytes: Option<u64>) -> String {
    let Some(bytes) = bytes else { return "--".into() };
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit < units.len() - 1 {
        value /= 1024.0;
        unit += 1;
    }
    let whole = (value as u64).to_string().len();
    let text = format!("{value:.*}", 4usize.saturating_sub(whole));
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_memory_are_dockers() {
        let cases = [
            (0, "0B"),
            (1000, "1000B"),
            (1024, "1KiB"),
            (2_046_820, "1.952MiB"),
            (64 << 20, "64MiB"),
            (8_150_000_000, "7.59GiB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(binary(Some(bytes)), text);
        }
        assert_eq!(binary(None), "--");
    }
}
