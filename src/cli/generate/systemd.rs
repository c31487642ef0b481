//! `rl generate systemd`: a unit that runs a container as a service.

use anyhow::{Result, anyhow};
use clap::Parser;

use crate::cli::{Cli, Context, Verb, output};
use crate::container::boot::quoted;
use crate::container::config::Config;
use crate::container::record;
use crate::container::sdnotify::Sdnotify;
use crate::error::Advise;
use crate::host::paths::Paths;

/// Print a systemd unit that runs a container as a service
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Call the container by its name instead of its id
    #[arg(short, long)]
    name: bool,
    /// Make the container anew at each start, by the command it was made with, and remove it at each stop
    #[arg(long)]
    new: bool,
    /// When systemd is to start it again
    #[arg(long, value_name = "POLICY", default_value = "on-failure",
        value_parser = ["no", "on-success", "on-failure", "on-abnormal", "on-watchdog", "on-abort", "always"])]
    restart_policy: String,
    /// Seconds that it has to end (default: the container's, or 10)
    #[arg(short, long, visible_alias = "stop-timeout", value_name = "SECONDS")]
    time: Option<u32>,
    /// Name, id, or beginning of an id
    #[arg(value_name = "CONTAINER")]
    container: String,
}

/// Prints it. To be saved as ~/.config/systemd/user/container-NAME.service.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let record = record::find(&context.paths, &args.container)?;
    let executable = std::env::current_exe()?.to_string_lossy().trim_end_matches(" (deleted)").to_string();
    let mut rl = vec![executable];
    if !Paths::find(context.caller.uid, None).is_ok_and(|own| own.store == context.paths.store) {
        rl.extend(["--root".into(), context.paths.store.display().to_string()]);
    }
    let target = if context.caller.uid == 0 { "multi-user.target" } else { "default.target" };
    output::line(unit(&record.config, args, &rl, target)?.trim_end())?;
    Ok(0)
}

/// The unit. rl stays in the foreground, so that the payload's exit code is the service's, and its output the journal's; the container
/// has its own scope beside the service, where limits work, and so Client tells systemd that it is ready.
fn unit(config: &Config, args: &Args, rl: &[String], target: &str) -> Result<String> {
    let name = if args.name || args.new { config.name.as_str() } else { &config.id };
    let stop = u64::from(args.time.unwrap_or_else(|| u32::try_from(config.patience() / 1000).unwrap_or(u32::MAX)));
    let line = |key: &str, words: &[&str]| {
        let words = words.iter().map(|word| quoted(word).replace('$', "$$"));
        let words: Vec<String> = rl.iter().map(|word| quoted(word).replace('$', "$$")).chain(words).collect();
        format!("{key}={}\n", words.join(" "))
    };
    let time = stop.to_string();
    let (start, kind) = if args.new {
        let (words, kind) = anew(config)?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        (line("ExecStartPre", &["rm", "-f", name]) + &line("ExecStart", &words), kind)
    } else {
        (line("ExecStart", &["start", "--attach", name]), config.sdnotify.map_or(READY_BY_NOBODY, kind))
    };
    let post =
        if args.new { line("ExecStopPost", &["rm", "-f", name]) } else { line("ExecStopPost", &["stop", "-t", &time, name]) };
    Ok(format!(
        "# container-{name}.service\n\
         # Written by rl {}\n\
         [Unit]\n\
         Description=Container {name} of rl\n\
         Documentation=man:rl-generate-systemd(1)\n\
         \n\
         [Service]\n\
         {kind}\
         Restart={}\n\
         SuccessExitStatus=143\n\
         TimeoutStopSec={}\n\
         {start}{}{post}\
         \n\
         [Install]\n\
         WantedBy={target}\n",
        env!("CARGO_PKG_VERSION"),
        args.restart_policy,
        stop + 60,
        line("ExecStop", &["stop", "-t", &time, name]),
    ))
}

const READY_BY_NOBODY: &str = "Type=exec\n";

/// Who systemd waits for. A payload that is to tell must be one of the service's own processes.
fn kind(sdnotify: Sdnotify) -> &'static str {
    match sdnotify {
        Sdnotify::Conmon => "Type=notify\nNotifyAccess=main\n",
        Sdnotify::Container => "Type=notify\nNotifyAccess=all\n",
        Sdnotify::Ignore => READY_BY_NOBODY,
    }
}

/// The command that made the container, in the foreground and for one stay.
fn anew(config: &Config) -> Result<(Vec<String>, &'static str)> {
    let unknown = || anyhow!("container \"{}\" does not say by which command it was made", config.name);
    let made = &config.create_command;
    let cli = Cli::try_parse_from(made).map_err(|_| unknown()).hint(|| "leave out --new")?;
    let options = match &cli.verb {
        Verb::Run(args) => args.options(),
        Verb::Create(args) => args.options(),
        _ => return Err(unknown()),
    };
    // From the image on everything is the container's.
    let image = made.len().checked_sub(1 + options.usual.command.len()).ok_or_else(unknown)?;
    let mut words: Vec<String> = vec!["run".into()];
    // A payload tells systemd only if the unit was made for that: nearly none do, and systemd would wait.
    let sdnotify = config.sdnotify.filter(|mode| *mode == Sdnotify::Container).unwrap_or(Sdnotify::Conmon);
    words.extend(["--sdnotify".into(), sdnotify.word().into(), "--rm".into(), "--name".into(), config.name.clone()]);
    if sdnotify == Sdnotify::Container {
        words.extend(["--cgroups".into(), "disabled".into()]);
    }
    words.extend(kept(&made[1..image]));
    words.extend(made[image..].iter().cloned());
    Ok((words, kind(sdnotify)))
}

/// The flags but for those that the unit has in its own way.
fn kept(flags: &[String]) -> Vec<String> {
    const WITH_VALUE: [&str; 6] = ["--root", "--name", "--cidfile", "--sdnotify", "--restart", "--detach-keys"];
    const ALONE: [&str; 3] = ["--detach", "--rm", "--"];
    let mut kept = Vec::new();
    let mut flags = flags.iter();
    let mut verb = false;
    while let Some(flag) = flags.next() {
        let bare = flag.split('=').next().unwrap_or_default();
        if WITH_VALUE.contains(&bare) {
            if bare == flag {
                flags.next();
            }
        } else if !verb && matches!(flag.as_str(), "run" | "create") {
            verb = true;
        } else if !ALONE.contains(&flag.as_str()) {
            kept.extend(without_detach(flag));
        }
    }
    kept
}

/// `-d` may stand among other short flags without a value: `-itd`.
fn without_detach(flag: &str) -> Option<String> {
    let short = flag.strip_prefix('-').filter(|rest| rest.chars().all(|c| "ditqP".contains(c)));
    match short {
        Some(letters) if letters.contains('d') => {
            let rest = letters.replace('d', "");
            (!rest.is_empty()).then(|| format!("-{rest}"))
        }
        _ => Some(flag.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(String::from).collect()
    }

    #[test]
    fn flags_that_the_unit_has_in_its_own_way_go() {
        let kept = |text: &str| kept(&words(text)).join(" ");
        assert_eq!(kept("--root /x run -d --name web -p 80:80 --rm -e A=1"), "-p 80:80 -e A=1");
        assert_eq!(kept("run -itd --name=web --cidfile f --restart always -v run:/run"), "-it -v run:/run");
        assert_eq!(kept("create --sdnotify=ignore -q --"), "-q");
    }
}
