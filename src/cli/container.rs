//! `rl container`: the long forms of the verbs that work on containers, and the few that have no short one.

use std::ffi::OsString;

use anyhow::Result;

use super::images::Filters;
use super::{Context, output};
use crate::container::record::{self, Record};
use crate::container::remove;
use crate::container::state::Status;

/// Manage containers
///
/// Every verb that works on containers can be written so too: `rl container run`, `rl container inspect`, ...
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Exit with 0 where there is such a container, else with 1
    Exists {
        /// Name, id, or beginning of an id
        #[arg(value_name = "CONTAINER")]
        container: String,
    },
    /// Remove all containers that do not run
    Prune(Prune),
}

#[derive(Debug, clap::Args)]
pub struct Prune {
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Only those for which it is so: until=TIME, label=KEY[=VALUE], label!=KEY[=VALUE]
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
}

/// Verbs that `container` may stand before; with another name, what they are called without it.
const LONG_FORMS: [(&str, &[&str]); 26] = [
    ("attach", &["attach"]),
    ("cp", &["cp"]),
    ("create", &["create"]),
    ("exec", &["exec"]),
    ("inspect", &["inspect", "--type", "container"]),
    ("kill", &["kill"]),
    ("list", &["ps"]),
    ("logs", &["logs"]),
    ("ls", &["ps"]),
    ("pause", &["pause"]),
    ("port", &["port"]),
    ("ps", &["ps"]),
    ("remove", &["rm"]),
    ("rename", &["rename"]),
    ("restart", &["restart"]),
    ("rm", &["rm"]),
    ("run", &["run"]),
    ("start", &["start"]),
    ("stats", &["stats"]),
    ("stop", &["stop"]),
    ("top", &["top"]),
    ("unpause", &["unpause"]),
    ("update", &["update"]),
    ("wait", &["wait"]),
    ("diff", &["diff"]),
    ("export", &["export"]),
];

/// The same words without a long form: `container ls -a` is `ps -a`. `verb` is where the verb stands. Each form is one verb of the parser,
/// and not two: half as much for it to build before anything begins.
pub fn shortened(mut words: Vec<OsString>, verb: Option<usize>) -> Vec<OsString> {
    let Some(verb) = verb.filter(|&verb| words[verb] == "container") else { return words };
    let short = words.get(verb + 1).and_then(|word| LONG_FORMS.iter().find(|(long, _)| word == long));
    if let Some((_, short)) = short {
        words.splice(verb..verb + 2, short.iter().map(OsString::from));
    }
    words
}

/// Runs one of those that have no short form.
pub fn run(verb: &Verb, context: &Context) -> Result<u8> {
    match verb {
        Verb::Exists { container } => Ok(u8::from(record::find(&context.paths, container).is_err())),
        Verb::Prune(args) => prune(args, context),
    }
}

fn prune(args: &Prune, context: &Context) -> Result<u8> {
    let filters = Filters::for_prune(&args.filter)?;
    if !args.force && !output::confirm("WARNING! This will remove all stopped containers.")? {
        return Ok(1);
    }
    let bytes = remove_stopped(context, &filters)?;
    output::line(format!("Total reclaimed space: {}", output::size(bytes)))?;
    Ok(0)
}

/// Removes what `prune` means, telling of each; returns how many bytes that freed.
pub fn remove_stopped(context: &Context, filters: &Filters) -> Result<u64> {
    remove::sweep(&context.paths, || context.userns())?;
    let stopped = |record: &Record| matches!(record.state.status, Status::Created | Status::Exited | Status::Lost);
    // One that is just being made looks like one that was.
    let idle = |record: &Record| !(record.alive && record.state.status == Status::Created);
    let unwanted =
        |record: &Record| stopped(record) && idle(record) && filters.fit_container(&record.config.created, &record.config.labels);
    let containers: Vec<Record> = record::list(&context.paths)?.into_iter().filter(unwanted).collect();
    if containers.is_empty() {
        return Ok(0);
    }
    let sizes = super::size::written(context, &containers)?;
    let userns = context.userns()?;
    output::line("Deleted Containers:")?;
    for record in &containers {
        // Its anonymous volumes stay unless they are asked for, as with `rl rm`.
        remove::container(&context.paths, &userns, record, false, false)?;
        output::line(&record.config.id)?;
    }
    output::line("")?;
    Ok(sizes.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(text: &str) -> String {
        let words: Vec<OsString> = text.split(' ').map(OsString::from).collect();
        let verb = words.iter().position(|word| word == "container");
        shortened(words, verb).join(" ".as_ref()).into_string().unwrap()
    }

    #[test]
    fn long_forms_become_short_ones() {
        for (long, wanted) in [
            ("rl container ls -a", "rl ps -a"),
            ("rl --root x container run alpine", "rl --root x run alpine"),
            ("rl container inspect web", "rl inspect --type container web"),
            ("rl container prune -f", "rl container prune -f"),
            ("rl container", "rl container"),
            ("rl container nope", "rl container nope"),
        ] {
            assert_eq!(short(long), wanted);
        }
        let words: Vec<OsString> = ["rl", "rm", "container", "ls"].map(OsString::from).into();
        assert_eq!(shortened(words.clone(), Some(1)), words);
    }
}
