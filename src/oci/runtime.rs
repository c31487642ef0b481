//! The OCI runtime-spec's `config.json`, as far as `rl` acts on it (runtime-spec v1.2, config.md and config-linux.md).

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Version of the runtime-spec that [`Spec`] follows.
pub const VERSION: &str = "1.2.0";

/// config.md: the container as its runtime sees it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    pub oci_version: String,
    pub process: Process,
    pub root: Root,
    pub hostname: String,
    pub mounts: Vec<Mount>,
    pub linux: Linux,
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub annotations: BTreeMap<String, String>,
}

/// config.md, "Process".
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    pub terminal: bool,
    pub user: User,
    pub args: Vec<String>,
    pub env: Vec<String>,
    pub cwd: String,
    pub capabilities: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub rlimits: Vec<Rlimit>,
    pub no_new_privileges: bool,
}

/// config.md, "POSIX-platform User". `username` is what image or flag say, resolved in the container's own passwd at the start.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    pub username: String,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub additional_groups: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub umask: Option<u32>,
}

/// config.md, "Rlimits": `RLIMIT_NOFILE` and the like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    #[serde(rename = "type")]
    pub kind: String,
    pub soft: u64,
    pub hard: u64,
}

/// config.md, "Root".
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Root {
    pub readonly: bool,
}

/// config.md, "Mounts". `kind` is `bind` or `tmpfs`; `options` as mount(8) has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    pub destination: PathBuf,
    #[serde(rename = "type")]
    pub kind: String,
    pub source: PathBuf,
    pub options: Vec<String>,
    /// Name of the volume behind a bind, filled from the image at its first use.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub volume: Option<String>,
}

/// config-linux.md.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Linux {
    /// Kinds that the container has of its own: `mount`, `pid`, `network`, `ipc`, `uts`, `cgroup`, `user`, `time`.
    pub namespaces: Vec<String>,
    /// Host nodes and their place inside.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub devices: Vec<Device>,
    pub masked_paths: Vec<String>,
    pub readonly_paths: Vec<String>,
    /// Size of /dev/shm in bytes.
    pub shm_size: u64,
}

/// A node of the host bound into the container; nobody can make one in a user namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    pub source: PathBuf,
    pub path: PathBuf,
}

impl Linux {
    /// Whether the container has a `kind` namespace of its own.
    pub fn has(&self, kind: &str) -> bool {
        self.namespaces.iter().any(|n| n == kind)
    }
}
