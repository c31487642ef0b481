//! `rl top`.

use std::collections::HashSet;
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context as _, Result, anyhow, bail};
use nix::unistd::{Uid, User};

use super::listing::aligned;
use super::{Context, output};
use crate::container::processes::{self, Process};
use crate::container::record;
use crate::error::Advise;
use crate::sys::time;

/// Show the processes of a running container, in the host's numbers
///
/// Without options of ps, a table like that of `ps -ef`; with them what the host's ps prints of these processes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name, id, or beginning of an id
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// Options for the host's ps; the column PID must be among what it prints
    #[arg(value_name = "PS OPTIONS", trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

/// Prints a line for each. Nothing of the container's is run, and no ps is needed in it.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let record = record::find(&context.paths, &args.container)?;
    let options: Vec<&str> = args.options.iter().flat_map(|option| option.split_whitespace()).collect();
    let table = match options.as_slice() {
        [] => own(&processes::of(&record)?),
        options => {
            let pids = processes::pids(&record)?;
            chosen(&host_ps(options)?, &pids.into_iter().collect())?
        }
    };
    output::text(&aligned(&table))?;
    Ok(0)
}

fn own(processes: &[Process]) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_secs().cast_signed());
    let mut table = String::from("UID\tPID\tPPID\tC\tSTIME\tTTY\tTIME\tCMD\n");
    for process in processes {
        let Process { pid, parent, uid, cpu_share, command, .. } = process;
        // As ps: a user without a name is a number. Subordinate ids have none.
        let user = User::from_uid(Uid::from_raw(*uid)).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
        let (start, used) = (started(process.started, now), used(process.cpu_seconds));
        let terminal = process.terminal.as_deref().unwrap_or("?");
        table += &format!("{user}\t{pid}\t{parent}\t{cpu_share}\t{start}\t{terminal}\t{used}\t{command}\n");
    }
    table
}

/// The time, the date, or the year: what tells most.
fn started(then: i64, now: i64) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (Some(then), Some(now)) = (time::civil(then), time::civil(now)) else { return "?".into() };
    let (year, month, day) = then.date;
    match now.date {
        today if today == then.date => format!("{:02}:{:02}", then.hour, then.minute),
        today if today.0 == year => format!("{}{day:02}", MONTHS[(month as usize).clamp(1, 12) - 1]),
        _ => year.to_string(),
    }
}

/// `[DAYS-]HH:MM:SS`.
fn used(seconds: u64) -> String {
    let clock = format!("{:02}:{:02}:{:02}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    if seconds < 86_400 { clock } else { format!("{}-{clock}", seconds / 86_400) }
}

fn host_ps(options: &[&str]) -> Result<String> {
    let output = Command::new("ps").args(options).output().context("cannot run ps");
    let output = output.hint(|| "rl top CONTAINER needs none: only without options")?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(anyhow!("ps: {}", why.lines().find(|line| !line.trim().is_empty()).unwrap_or("it failed").trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Of what ps printed, the header and the lines of these processes. The last column may hold spaces.
fn chosen(printed: &str, pids: &HashSet<i32>) -> Result<String> {
    let mut lines = printed.lines();
    let titles: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    let Some(column) = titles.iter().position(|title| *title == "PID") else { bail!("ps printed no column PID") };
    let mut table = titles.join("\t") + "\n";
    for line in lines {
        let cells = cells(line, titles.len());
        if cells.get(column).and_then(|cell| cell.parse().ok()).is_some_and(|pid: i32| pids.contains(&pid)) {
            table += &(cells.join("\t") + "\n");
        }
    }
    Ok(table)
}

fn cells(line: &str, count: usize) -> Vec<&str> {
    let mut cells = Vec::new();
    let mut rest = line.trim();
    while cells.len() + 1 < count && !rest.is_empty() {
        let (cell, next) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        cells.push(cell);
        rest = next.trim_start();
    }
    cells.push(rest);
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_those_of_ps() {
        for (seconds, text) in [(0, "00:00:00"), (3_725, "01:02:05"), (86_400, "1-00:00:00"), (200_000, "2-07:33:20")] {
            assert_eq!(used(seconds), text);
        }
        let now = 1_800_000_000;
        assert!(started(now, now).contains(':'));
        assert_eq!(started(now - 400 * 86_400, now).len(), 4);
        assert_eq!(started(now + 3 * 86_400, now).len(), 5);
    }

    #[test]
    fn of_ps_only_the_containers_lines_remain() {
        let printed = "  PID COMMAND\n    1 init\n   42 sh -c  a b\n  420 x\n";
        assert_eq!(chosen(printed, &HashSet::from([42])).unwrap(), "PID\tCOMMAND\n42\tsh -c  a b\n");
        assert_eq!(chosen("USER  PID\nann 7\nbob 8\n", &HashSet::from([8])).unwrap(), "USER\tPID\nbob\t8\n");
        assert!(chosen("COMMAND\nsh\n", &HashSet::from([42])).is_err());
        assert!(chosen("", &HashSet::new()).is_err());
    }
}
