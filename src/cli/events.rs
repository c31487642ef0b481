//! `rl events`.

use std::os::fd::AsFd;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::filters::Filters;
use super::template::{Data, Template};
use super::{Context, output};
use crate::container::events::{Event, FILES, LOG};
use crate::container::log::files::Lines;
use crate::container::{moment, record};
use crate::error::Advise;

/// Show what happens to containers, images and volumes
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Begin with what has happened since this time: 2026-01-31T12:00:00Z, Unix seconds, or how long ago: 10m
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// End at this time; one that is past shows what is known and waits for nothing
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only those for which it is so: container, event, image, label, type, volume, network
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Print by a Go template, or `json`
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
}

/// Prints a line for each, from now on unless told otherwise.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let now = SystemTime::now();
    let time = |text: &Option<String>| text.as_deref().map(|text| moment::parse(text, now)).transpose();
    let (since, until) = (time(&args.since)?, time(&args.until)?);
    let filters =
        Filters::read(&args.filter, &["container", "event", "image", "label", "label!", "type", "volume", "network", "scope"])?;
    let template = args.format.as_deref().filter(|format| *format != "json").map(Template::parse).transpose()?;
    let mut shape =
        Shape { template, json: args.format.as_deref() == Some("json"), filters, streams: output::Streams::default() };
    context.make_store()?;
    let mut watch = Watch::new(
        &context.paths.events(),
        until.map(|until| Instant::now() + until.duration_since(now).unwrap_or(Duration::ZERO)),
    )?;
    let from = since.map_or_else(|| nanos(now), nanos);
    let to = until.map_or(u64::MAX, nanos);
    // Without --since only what is new; the file may not be there yet.
    let mut lines = None;
    loop {
        if lines.is_none() {
            let directory = record::open_directory(&context.paths.events())?;
            lines = Lines::open(directory, LOG, FILES, None)?;
        }
        while let Some(line) = lines.as_mut().map_or(Ok(None), Lines::next)? {
            let Ok(event) = serde_json::from_slice::<Event>(line) else { continue };
            if event.time_nano >= from && event.time_nano <= to && !shape.print(&event)? {
                return Ok(0);
            }
        }
        if !watch.wait()? {
            return Ok(0);
        }
    }
}

fn nanos(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

/// Which events are shown, and how.
struct Shape {
    template: Option<Template>,
    json: bool,
    filters: Filters,
    streams: output::Streams,
}

impl Shape {
    /// False: the reader has left.
    fn print(&mut self, event: &Event) -> Result<bool> {
        if !self.fits(event) {
            return Ok(true);
        }
        let line = match &self.template {
            Some(template) => {
                // As Docker's template sees it: the API's names, with capitals too.
                let mut value = serde_json::to_value(event)?;
                if let Some(members) = value.as_object_mut() {
                    for (old, new) in [
                        ("status", "Status"),
                        ("id", "ID"),
                        ("from", "From"),
                        ("scope", "Scope"),
                        ("time", "Time"),
                        ("timeNano", "TimeNano"),
                    ] {
                        let member = members.get(old).cloned().unwrap_or_default();
                        members.insert(new.into(), member);
                    }
                }
                template.render(Data::from(&value))?
            }
            None if self.json => serde_json::to_string(event)?,
            None => plain(event),
        };
        Ok(self.streams.write(false, format!("{line}\n").as_bytes())? && self.streams.flush()?)
    }

    fn fits(&self, event: &Event) -> bool {
        let (filters, attributes) = (&self.filters, &event.actor.attributes);
        let named = |kind: &str, wanted: &str| {
            let name = attributes.get("name").map_or("", String::as_str);
            event.kind == kind && (event.actor.id.starts_with(wanted) || name == wanted)
        };
        let image = |wanted: &str| {
            let image = if event.kind == "image" { attributes.get("name") } else { attributes.get("image") };
            let bare = |name: &str| name.strip_suffix(":latest").unwrap_or(name).to_string();
            named("image", wanted) || image.is_some_and(|image| bare(image) == bare(wanted))
        };
        // Docker's actions may say more after a colon: `exec_start: ls`.
        let action = event.action.split(':').next().unwrap_or_default();
        filters.any("type", |wanted| event.kind == wanted)
            && filters.any("event", |wanted| wanted == action || wanted == event.action)
            && filters.any("container", |wanted| named("container", wanted))
            && filters.any("volume", |wanted| named("volume", wanted))
            && filters.any("network", |wanted| named("network", wanted))
            && filters.any("image", image)
            && filters.any("scope", |wanted| wanted == event.scope)
            && filters.labels(attributes)
    }
}

fn plain(event: &Event) -> String {
    let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(event.time_nano);
    let attributes: Vec<String> = event.actor.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let attributes = if attributes.is_empty() { String::new() } else { format!(" ({})", attributes.join(", ")) };
    format!("{} {} {} {}{attributes}", moment::format(time), event.kind, event.action, event.actor.id)
}

/// inotify(7) on the directory of the events.
struct Watch {
    inotify: Inotify,
    until: Option<Instant>,
}

impl Watch {
    fn new(directory: &std::path::Path, until: Option<Instant>) -> Result<Watch> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).context("cannot watch the events");
        let inotify = inotify.hint(|| "sudo sysctl fs.inotify.max_user_instances=1024")?;
        let flags = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
        inotify.add_watch(directory, flags).context("cannot watch the events")?;
        Ok(Watch { inotify, until })
    }

    /// False: the time is up.
    fn wait(&mut self) -> Result<bool> {
        loop {
            let patience = match self.until.map(|until| until.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => return Ok(false),
                Some(left) => PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX),
                None => PollTimeout::NONE,
            };
            match poll(&mut [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)], patience) {
                Ok(0) | Err(Errno::EINTR) => continue,
                other => other.context("cannot wait for events")?,
            };
            match self.inotify.read_events() {
                Ok(_) | Err(Errno::EAGAIN) => return Ok(true),
                Err(errno) => return Err(errno).context("cannot watch the events"),
            }
        }
    }
}
