//! The states of a container and what moves it from one to another: a pure table (runtime-spec, runtime.md, "State").

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

/// Docker's words; `lost` is ours: Monitor was killed, so nobody knows the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Created,
    Running,
    Exited,
    Lost,
}

/// What happens to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The payload was executed.
    Started,
    /// The payload ended, or could not be executed.
    Ended,
    /// Monitor is gone without a last word.
    MonitorDied,
    /// The host has booted since.
    Rebooted,
}

impl Status {
    /// The state after `event`, or a refusal.
    pub fn after(self, event: Event) -> Result<Status> {
        Ok(match (self, event) {
            (Status::Created, Event::Started) => Status::Running,
            (Status::Created | Status::Running, Event::Ended) => Status::Exited,
            (Status::Running, Event::MonitorDied) => Status::Lost,
            (Status::Running, Event::Rebooted) => Status::Exited,
            (settled, Event::MonitorDied | Event::Rebooted) => settled,
            (status, event) => bail!("a container that is {} cannot take {event:?}", status.word()),
        })
    }

    /// As listings print it.
    pub fn word(self) -> &'static str {
        match self {
            Status::Created => "created",
            Status::Running => "running",
            Status::Exited => "exited",
            Status::Lost => "lost",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_killed_monitor_leaves_a_running_container_lost_and_others_as_they_were() {
        assert_eq!(Status::Running.after(Event::MonitorDied).unwrap(), Status::Lost);
        assert_eq!(Status::Exited.after(Event::MonitorDied).unwrap(), Status::Exited);
        assert_eq!(Status::Running.after(Event::Rebooted).unwrap(), Status::Exited);
    }

    #[test]
    fn nothing_starts_twice_or_ends_after_its_end() {
        assert!(Status::Running.after(Event::Started).is_err());
        assert!(Status::Exited.after(Event::Started).is_err());
        assert!(Status::Exited.after(Event::Ended).is_err());
    }
}
