//! The command line: one file per verb. Each has its arguments (the doc comments are the help), one call down, and prints.

mod attach;
mod container;
mod container_json;
mod cp;
mod create;
mod diff;
mod events;
mod exec;
mod export;
mod filters;
mod generate;
mod glob;
mod healthcheck;
mod history;
mod image;
mod images;
mod info;
mod inspect;
mod kill;
mod listing;
mod logs;
mod network;
mod network_json;
mod output;
mod pause;
mod port;
mod ps;
mod pull;
mod rename;
mod restart;
mod rm;
mod rmi;
mod run;
mod size;
mod start;
mod stats;
mod stop;
mod system;
mod tag;
mod template;
mod top;
mod unshare;
mod update;
mod version;
mod volume;
mod wait;

use std::ffi::OsString;
use std::mem::ManuallyDrop;
use std::path::PathBuf;

use anyhow::{Result, anyhow};
use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::container::record;
use crate::error::{Advise, EXIT_RL, Failure};
use crate::host::debug;
use crate::host::facts::Caller;
use crate::host::paths::{Paths, runtime_dir};
use crate::image::Store;
use crate::userns::plan::Plan;
use crate::userns::shared::{self, Pending, Userns};

/// Rootless containers: no daemon, no root, nothing to install first
#[derive(Debug, Parser)]
#[command(name = "rl", version, disable_help_subcommand = true, arg_required_else_help = true)]
#[command(
    after_help = "First steps:\n  rl run rootfs:/ sh            a copy-on-write view of this very system\n  rl run -it alpine sh          an image from docker.io\n  rl run -d -p 8080:80 nginx    in the background, reached at port 8080"
)]
pub struct Cli {
    /// Keep images, containers and volumes in this directory
    #[arg(long, global = true, value_name = "DIR", env = "RL_ROOT")]
    root: Option<PathBuf>,
    /// What to tell on stderr: debug explains decisions
    #[arg(long, global = true, value_name = "LEVEL", default_value = "warn", hide_default_value = true)]
    log_level: LogLevel,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogLevel {
    /// Errors and warnings
    Warn,
    /// And why something was decided so
    Debug,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(Box<run::Args>),
    Pull(pull::Args),
    Create(Box<create::Args>),
    Start(start::Args),
    Stop(stop::Args),
    Restart(restart::Args),
    Kill(kill::Args),
    /// Freeze all processes of containers
    Pause(pause::Args),
    /// Let frozen containers go on
    Unpause(pause::Args),
    Wait(wait::Args),
    Top(top::Args),
    Exec(exec::Args),
    Attach(attach::Args),
    Rename(rename::Args),
    Port(port::Args),
    Ps(ps::Args),
    Rm(rm::Args),
    Stats(stats::Args),
    Update(Box<update::Args>),
    #[command(subcommand)]
    Healthcheck(healthcheck::Verb),
    Inspect(inspect::Args),
    Logs(logs::Args),
    Images(images::Args),
    Rmi(rmi::Args),
    Tag(tag::Args),
    History(history::Args),
    #[command(subcommand)]
    Container(container::Verb),
    #[command(subcommand)]
    Image(Box<image::Verb>),
    #[command(subcommand)]
    System(system::Verb),
    Events(events::Args),
    Cp(cp::Args),
    Diff(diff::Args),
    Export(export::Args),
    #[command(subcommand)]
    Volume(volume::Verb),
    #[command(subcommand)]
    Network(network::Verb),
    Unshare(unshare::Args),
    Info(info::Args),
    Version(version::Args),
    Generate(generate::Args),
}

/// What every verb works with: who calls, and where things lie.
struct Context {
    caller: Caller,
    paths: Paths,
    /// U, where its making was begun before the arguments were read.
    pending: Option<Result<Pending>>,
}

impl Context {
    /// The images.
    fn store(&self) -> Store {
        Store::new(&self.paths.store)
    }

    /// Makes the directories of containers and of what is told of things, where they are missing.
    fn make_store(&self) -> Result<()> {
        record::make_store(&self.paths, Plan::of(&self.caller).maps.root())
    }

    /// U, made or joined, waiting for it.
    fn userns(&self) -> Result<Userns> {
        Userns::open(&self.caller, &self.paths.runtime)
    }
}

/// Parses the arguments and runs the verb. Beside the result, the exit code of a failure that has none of its own.
pub fn dispatch() -> (Result<u8>, u8) {
    let words: Vec<OsString> = std::env::args_os().collect();
    if words.get(1..) == Some(&["--version".into()]) {
        // Asked for alone, it needs no parser of all verbs, which is half of what it would take.
        return (output::line(concat!("rl ", env!("CARGO_PKG_VERSION"))).map(|()| 0), EXIT_RL);
    }
    let caller = Caller::now();
    let verb = verb_at(&words);
    let words = container::shortened(words, verb);
    let run = verb_at(&words).filter(|&verb| words[verb] == "run");
    // newuidmap takes longer than anything else on the way to a container, reading the arguments included: so it starts first.
    let pending = run.map(|_| shared::begin(&caller, &runtime_dir(caller.uid)));
    let cli = match run.and_then(|verb| only(&words, verb)).map_or_else(|| Cli::try_parse_from(&words), Ok) {
        Ok(cli) => cli,
        Err(error) => {
            return (told(&error, &words), EXIT_RL);
        }
    };
    let default = if matches!(cli.verb, Verb::Run(_)) { EXIT_RL } else { 1 };
    (run_verb(cli, caller, pending), default)
}

/// Where the verb stands, as far as that can be told without a parser.
fn verb_at(words: &[OsString]) -> Option<usize> {
    let mut at = 1;
    loop {
        match words.get(at)?.as_encoded_bytes() {
            b"--root" | b"--log-level" => at += 2,
            word if word.starts_with(b"--root=") || word.starts_with(b"--log-level=") => at += 1,
            word => return (!word.starts_with(b"-")).then_some(at),
        }
    }
}

/// `rl run` by a parser that knows no other verb, and of its flags the usual ones if these will do: each halves the time that the parser
/// takes to be made. What it does not understand the whole one shall answer to: help, and mistakes.
fn only(words: &[OsString], verb: usize) -> Option<Cli> {
    let rest: Vec<&OsString> = words[..verb].iter().chain(&words[verb + 1..]).collect();
    let parsed = alone::<run::Brief>(&rest).map(|(root, log_level, brief)| (root, log_level, brief.into()));
    let (root, log_level, args) = parsed.or_else(|| alone::<run::Args>(&rest))?;
    Some(Cli { root, log_level, verb: Verb::Run(Box::new(args)) })
}

/// The arguments of one verb, with the options of all.
fn alone<A: clap::Args>(words: &[&OsString]) -> Option<(Option<PathBuf>, LogLevel, A)> {
    #[derive(Parser)]
    struct Alone<A: clap::Args> {
        #[arg(long, env = "RL_ROOT")]
        root: Option<PathBuf>,
        #[arg(long, default_value = "warn")]
        log_level: LogLevel,
        #[command(flatten)]
        args: A,
    }
    // Neither is taken apart again, which would take a fifth of the time: the process ends soon.
    let mut command = ManuallyDrop::new(Alone::<A>::command());
    let mut matches = ManuallyDrop::new(command.try_get_matches_from_mut(words).ok()?);
    let Alone { root, log_level, args } = Alone::from_arg_matches_mut(&mut matches).ok()?;
    Some((root, log_level, args))
}

/// Help and version as they are; a mistake in our words: what, then where to look.
fn told(error: &clap::Error, words: &[OsString]) -> Result<u8> {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
        return Ok(if error.use_stderr() { EXIT_RL } else { 0 });
    }
    let text = error.render().to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let what = lines.next().unwrap_or_default().trim_start_matches("error: ").to_string();
    let useful = |line: &&str| !line.contains("as a value, use");
    let more: Vec<&str> =
        lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more")).filter(useful).collect();
    let what = [what.as_str()].into_iter().chain(more).collect::<Vec<_>>().join(" ");
    let known = error.kind() != ErrorKind::InvalidSubcommand;
    let verb = verb_at(words).filter(|_| known).map(|verb| format!("{} ", words[verb].display())).unwrap_or_default();
    Err(anyhow!(what)).hint(|| format!("rl {verb}--help"))
}

fn run_verb(cli: Cli, caller: Caller, pending: Option<Result<Pending>>) -> Result<u8> {
    if cli.log_level == LogLevel::Debug {
        debug::enable();
    }
    let paths = Paths::find(caller.uid, cli.root.as_deref())?;
    let mut context = Context { caller, paths, pending };
    match cli.verb {
        Verb::Run(args) => run::run(&args, &mut context),
        Verb::Pull(args) => pull::run(&args, &context),
        Verb::Create(args) => create::run(&args, &context),
        Verb::Start(args) => start::run(&args, &context),
        Verb::Stop(args) => stop::run(&args, &context),
        Verb::Restart(args) => restart::run(&args, &context),
        Verb::Kill(args) => kill::run(&args, &context),
        Verb::Pause(args) => pause::run(&args, true, &context),
        Verb::Unpause(args) => pause::run(&args, false, &context),
        Verb::Wait(args) => wait::run(&args, &context),
        Verb::Top(args) => top::run(&args, &context),
        Verb::Exec(args) => exec::run(&args, &context),
        Verb::Attach(args) => attach::run(&args, &context),
        Verb::Rename(args) => rename::run(&args, &context),
        Verb::Port(args) => port::run(&args, &context),
        Verb::Ps(args) => ps::run(&args, &context),
        Verb::Rm(args) => rm::run(&args, &context),
        Verb::Stats(args) => stats::run(&args, &context),
        Verb::Update(args) => update::run(&args, &context),
        Verb::Healthcheck(verb) => healthcheck::run(&verb, &context),
        Verb::Inspect(args) => inspect::run(&args, &context),
        Verb::Logs(args) => logs::run(&args, &context),
        Verb::Images(args) => images::run(&args, &context),
        Verb::Rmi(args) => rmi::run(&args, &context),
        Verb::Tag(args) => tag::run(&args, &context),
        Verb::History(args) => history::run(&args, &context),
        Verb::Container(verb) => container::run(&verb, &context),
        Verb::Image(verb) => image::run(&verb, &context),
        Verb::System(verb) => system::run(&verb, &context),
        Verb::Events(args) => events::run(&args, &context),
        Verb::Cp(args) => cp::run(&args, &context),
        Verb::Diff(args) => diff::run(&args, &context),
        Verb::Export(args) => export::run(&args, &context),
        Verb::Volume(verb) => volume::run(&verb, &context),
        Verb::Network(verb) => network::run(&verb, &context),
        Verb::Unshare(args) => unshare::run(&args, &context),
        Verb::Info(args) => info::run(&args, &context),
        Verb::Version(args) => version::run(&args, &context),
        Verb::Generate(args) => generate::run(&args, &context),
    }
}

/// Does the same to each; goes on after a failure, as Docker. 1 when there was one.
fn attempt(names: &[String], act: impl Fn(&str) -> Result<()>) -> Result<u8> {
    let mut code = 0;
    for wanted in names {
        if let Err(error) = act(wanted) {
            Failure::from(&error).print();
            code = 1;
        }
    }
    Ok(code)
}

/// The same, and prints the names of those that it worked for.
fn each(names: &[String], act: impl Fn(&str) -> Result<()>) -> Result<u8> {
    attempt(names, |wanted| act(wanted).and_then(|()| output::line(wanted)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn every_parser_of_run_makes_the_same_of_a_command_line() {
        for (line, is_brief) in [
            ("rl run alpine", true),
            (
                "rl --root /s run -it --rm --name web -e A=1 --env-file f -w / -u 1:2 --entrypoint x -h h -l a=b alpine sh -c --cpus",
                true,
            ),
            (
                "rl run -d --init --read-only -v a:/a --mount type=tmpfs,target=/t --network none -p 80 -q --sig-proxy=false alpine",
                true,
            ),
            ("rl --log-level=debug run --detach-keys a alpine -- --pid host", true),
            ("rl run --cpus 2 --rm alpine true", false),
            ("rl run --rm -itP -m 64m alpine true", false),
        ] {
            let words = words(line);
            let rest: Vec<&OsString> = words.iter().filter(|word| *word != "run").collect();
            assert_eq!(alone::<run::Brief>(&rest).is_some(), is_brief, "{line}");
            let only = only(&words, verb_at(&words).unwrap()).unwrap();
            assert_eq!(format!("{only:?}"), format!("{:?}", Cli::try_parse_from(&words).unwrap()), "{line}");
        }
    }

    #[test]
    fn mistakes_are_left_to_the_parser_of_all_verbs() {
        for line in ["rl run --cpu 2 alpine", "rl run", "rl run --help", "rl run --name -x alpine", "rl run --pid nobody alpine"]
        {
            let words = words(line);
            assert!(only(&words, verb_at(&words).unwrap()).is_none(), "{line}");
        }
    }
}
