//! Roll-call: every kind of process that `rl` becomes, its title in `ps` and how its messages are signed.

/// What this process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Holds a new U until its id maps are written; `userns/mapper.rs`.
    Mapper,
    /// Brings an image's blobs from a registry into the store; `image/pull.rs`.
    Puller,
    /// Keeps U open for others while its maker works for long; `userns/sharing.rs`.
    Keeper,
    /// Short work with the ids of U: unpack, remove; `userns/spawn.rs`.
    Worker,
    /// Outlives the Client, holds the container; `container/monitor.rs`.
    Monitor,
    /// Carries a container's connections; `network/embedded/`.
    Gateway,
    /// The same for all containers on a user-defined network; `network/embedded/hub.rs`.
    Hub,
    /// Finds a Hub a cgroup that is no container's; `network/bridge/connector.rs`.
    Settler,
    /// Connects one container to user-defined networks; `network/bridge/connector.rs`.
    Connector,
    /// Looks after the program that does so instead; `network/driver.rs`.
    Driver,
    /// Becomes the payload; `container/init.rs`.
    Init,
    /// Becomes another process of the container; `container/join.rs`.
    Joiner,
    /// PID 1 under `--init`: forwards signals and reaps; `container/init.rs`.
    Reaper,
}

impl Role {
    fn word(self) -> &'static str {
        match self {
            Role::Mapper => "mapper",
            Role::Puller => "puller",
            Role::Keeper => "keeper",
            Role::Worker => "worker",
            Role::Monitor => "monitor",
            Role::Gateway => "gateway",
            Role::Hub => "hub",
            Role::Settler => "settler",
            Role::Connector => "connector",
            Role::Driver => "driver",
            Role::Init => "init",
            Role::Joiner => "joiner",
            Role::Reaper => "reaper",
        }
    }

    /// The title in `ps`: `rl[web]: monitor`.
    pub fn title(self, object: &str) -> String {
        format!("rl[{object}]: {}", self.word())
    }

    /// The thread name (at most 15 bytes, prctl(2) PR_SET_NAME): `rl:monitor`.
    pub fn comm(self) -> String {
        format!("rl:{}", self.word())
    }
}
