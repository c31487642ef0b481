//! The states of a container and what moves it from one to another: a pure table (runtime-spec, runtime.md, "State").

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

/// Docker's words; `lost` is ours: Monitor was killed, so nobody knows the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Created,
    Running,
    Paused,
    /// Ended; its restart policy will start it again.
    Restarting,
    Exited,
    Lost,
}

/// What happens to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The payload was executed.
    Started,
    /// Its processes are frozen, and run again.
    Paused,
    Resumed,
    /// The payload ended, or could not be executed.
    Ended,
    /// It ended, and is to be started again.
    Retrying,
    /// Monitor is gone without a last word.
    MonitorDied,
    /// The host has booted since.
    Rebooted,
}

impl Status {
    /// Every state.
    #[cfg(test)]
    const ALL: [Status; 6] = [Status::Created, Status::Running, Status::Paused, Status::Restarting, Status::Exited, Status::Lost];

    /// The state after `event`, or a refusal.
    pub fn after(self, event: Event) -> Result<Status> {
        use Status::*;
        Ok(match (self, event) {
            (Created | Restarting | Exited | Lost, Event::Started) => Running,
            (Running, Event::Paused) => Paused,
            (Paused, Event::Resumed) => Running,
            (_, Event::Ended) => Exited,
            (Running | Paused | Restarting, Event::Retrying) => Restarting,
            (Running | Paused, Event::MonitorDied) => Lost,
            // Nothing ran: its last exit code is known.
            (Restarting, Event::MonitorDied) => Exited,
            (Running | Paused | Restarting, Event::Rebooted) => Exited,
            (settled, Event::MonitorDied | Event::Rebooted) => settled,
            (status, event) => bail!("a container that is {} cannot take {event:?}", status.word()),
        })
    }

    /// As listings print it.
    pub fn word(self) -> &'static str {
        match self {
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Restarting => "restarting",
            Status::Exited => "exited",
            Status::Lost => "lost",
        }
    }

    /// Whether its processes exist.
    pub fn has_processes(self) -> bool {
        matches!(self, Status::Running | Status::Paused)
    }

    /// What `ps` shows without `-a`: running, or about to again.
    pub fn is_up(self) -> bool {
        self.has_processes() || self == Status::Restarting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_killed_monitor_leaves_a_running_container_lost_and_others_as_they_were() {
        assert_eq!(Status::Running.after(Event::MonitorDied).unwrap(), Status::Lost);
        assert_eq!(Status::Paused.after(Event::MonitorDied).unwrap(), Status::Lost);
        assert_eq!(Status::Exited.after(Event::MonitorDied).unwrap(), Status::Exited);
        assert_eq!(Status::Running.after(Event::Rebooted).unwrap(), Status::Exited);
    }

    #[test]
    fn nothing_starts_that_has_processes() {
        for status in Status::ALL {
            assert_eq!(status.after(Event::Started).is_ok(), !status.has_processes(), "{status:?}");
        }
    }

    #[test]
    fn after_death_or_a_reboot_nothing_has_processes() {
        for (status, event) in Status::ALL.into_iter().flat_map(|s| [(s, Event::MonitorDied), (s, Event::Rebooted)]) {
            assert!(!status.after(event).unwrap().is_up(), "{status:?} {event:?}");
        }
    }
}
