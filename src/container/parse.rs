//! The values of flags, as Docker writes them, into types. Pure; errors name the value and what was wanted.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail};

use crate::network::resolv;

/// `-v` or `--mount`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountSpec {
    pub source: MountSource,
    pub target: PathBuf,
    /// mount(8) words: `ro`, `rslave`, `noexec`, …
    pub options: Vec<String>,
}

/// Where a mount's contents are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountSource {
    /// A path of the host, absolute.
    Host(PathBuf),
    /// A named volume.
    Volume(String),
    /// A volume that goes with the container.
    Anonymous,
    Tmpfs,
}

/// `--tmpfs`.
pub type TmpfsSpec = MountSpec;

/// `--add-host`.
pub type HostEntry = (String, IpAddr);

/// `--ulimit`: name without `RLIMIT_`, soft and hard limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ulimit {
    pub name: String,
    pub soft: u64,
    pub hard: u64,
}

/// `--device`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceSpec {
    pub source: PathBuf,
    pub path: PathBuf,
}

/// `--userns`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UsernsMode {
    /// Container root is the caller.
    #[default]
    HostUser,
    /// The caller keeps its number, or the one given.
    KeepId { uid: Option<u32>, gid: Option<u32> },
}

impl UsernsMode {
    /// The ids under which `caller` is to appear inside, where that is not root.
    pub fn kept(self, caller: (u32, u32)) -> Option<(u32, u32)> {
        match self {
            UsernsMode::HostUser => None,
            UsernsMode::KeepId { uid, gid } => Some((uid.unwrap_or(caller.0), gid.unwrap_or(caller.1))),
        }
    }
}

impl FromStr for UsernsMode {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<UsernsMode> {
        let (mode, rest) = text.split_once(':').map_or((text, None), |(mode, rest)| (mode, Some(rest)));
        match (mode, rest) {
            ("host-user", None) => Ok(UsernsMode::HostUser),
            ("keep-id", rest) => {
                let (mut uid, mut gid) = (None, None);
                for pair in rest.into_iter().flat_map(|rest| rest.split(',')) {
                    let (key, value) =
                        pair.split_once('=').with_context(|| format!("bad option \"{pair}\": want uid=N or gid=N"))?;
                    let number = value.parse().with_context(|| format!("\"{value}\" is not an id"))?;
                    match key {
                        "uid" => uid = Some(number),
                        "gid" => gid = Some(number),
                        _ => bail!("unknown option \"{key}\": want uid or gid"),
                    }
                }
                Ok(UsernsMode::KeepId { uid, gid })
            }
            _ => bail!("unknown mode: want host-user or keep-id[:uid=N,gid=N]"),
        }
    }
}

/// A container's or volume's name: Docker's alphabet.
pub fn name(text: &str) -> Result<String> {
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
    let rest = text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    if !first || !rest || text.len() > 128 {
        bail!("only letters, digits, \"_\", \".\" and \"-\" are allowed, beginning with a letter or a digit");
    }
    Ok(text.to_string())
}

/// A host name (hostname(7)).
pub fn hostname(text: &str) -> Result<String> {
    let label =
        |l: &str| !l.is_empty() && !l.starts_with('-') && l.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if text.len() > 64 || !text.split('.').all(label) {
        bail!("not a host name");
    }
    Ok(text.to_string())
}

/// `-v [SOURCE:]DIR[:OPTIONS]`.
pub fn volume(text: &str) -> Result<MountSpec> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts[..] {
        [target] => (MountSource::Anonymous, target, ""),
        [source, target] => (source_of(source)?, target, ""),
        [source, target, options] => (source_of(source)?, target, options),
        _ => bail!("too many colons: want [SOURCE:]DIR[:OPTIONS]"),
    };
    let options = options.split(',').filter(|o| !o.is_empty()).map(String::from).collect::<Vec<_>>();
    let known = [
        "ro", "rw", "rprivate", "private", "rslave", "slave", "rshared", "shared", "rbind", "bind", "nosuid", "suid", "nodev",
        "dev", "noexec", "exec",
    ];
    if let Some(unknown) = options.iter().find(|option| !known.contains(&option.as_str())) {
        bail!("unknown option \"{unknown}\"");
    }
    Ok(MountSpec { source, target: absolute(target)?, options })
}

fn source_of(text: &str) -> Result<MountSource> {
    if text.is_empty() {
        bail!("the source is empty");
    }
    if text.starts_with('/') || text == "." || text == ".." || text.starts_with("./") || text.starts_with("../") {
        return Ok(MountSource::Host(std::path::absolute(text)?));
    }
    name(text).map(MountSource::Volume).with_context(|| format!("\"{text}\" is neither a path nor a volume's name"))
}

fn absolute(target: &str) -> Result<PathBuf> {
    if !Path::new(target).is_absolute() {
        bail!("\"{target}\" is not an absolute path");
    }
    Ok(PathBuf::from(target))
}

/// `--mount type=…,source=…,target=…`.
pub fn mount(text: &str) -> Result<MountSpec> {
    let (mut kind, mut source, mut target, mut options) = ("volume", None, None, Vec::new());
    for pair in text.split(',') {
        let (key, value) = pair.split_once('=').map_or((pair, None), |(key, value)| (key, Some(value)));
        let given = || value.with_context(|| format!("\"{key}\" needs a value"));
        match key {
            "type" => kind = given()?,
            "source" | "src" => source = Some(given()?),
            "target" | "dst" | "destination" => target = Some(absolute(given()?)?),
            "readonly" | "ro" if value.is_none_or(|v| v == "true" || v == "1") => options.push("ro".to_string()),
            "readonly" | "ro" => {}
            "bind-propagation" => options.push(propagation(given()?)?),
            "tmpfs-size" => options.push(format!("size={}", size(given()?)?)),
            "tmpfs-mode" => options.push(format!("mode={}", given()?)),
            _ => bail!("unknown key \"{key}\""),
        }
    }
    let target = target.context("no target given")?;
    let source = match (kind, source) {
        ("bind", Some(path)) => MountSource::Host(std::path::absolute(path)?),
        ("bind", None) => bail!("a bind mount needs a source"),
        ("volume", Some(volume)) => MountSource::Volume(name(volume)?),
        ("volume", None) => MountSource::Anonymous,
        ("tmpfs", None) => MountSource::Tmpfs,
        ("tmpfs", Some(_)) => bail!("a tmpfs has no source"),
        (other, _) => bail!("unknown type \"{other}\": want bind, volume or tmpfs"),
    };
    let is_tmpfs_option = |o: &String| o.starts_with("size=") || o.starts_with("mode=");
    if source != MountSource::Tmpfs && options.iter().any(is_tmpfs_option) {
        bail!("tmpfs-size and tmpfs-mode go with type=tmpfs");
    }
    if source == MountSource::Tmpfs {
        options.splice(0..0, ["nosuid", "nodev", "noexec"].map(String::from));
    }
    Ok(MountSpec { source, target, options })
}

fn propagation(text: &str) -> Result<String> {
    match text {
        "private" | "rprivate" | "slave" | "rslave" | "shared" | "rshared" => Ok(text.to_string()),
        _ => bail!("unknown propagation \"{text}\""),
    }
}

/// `--tmpfs DIR[:OPTIONS]`; without options as Docker's: noexec,nosuid,nodev.
pub fn tmpfs(text: &str) -> Result<TmpfsSpec> {
    let (target, given) = text.split_once(':').unwrap_or((text, ""));
    let mut options = ["nosuid", "nodev", "noexec"].map(String::from).to_vec();
    for option in given.split(',').filter(|o| !o.is_empty()) {
        match option.strip_prefix("size=") {
            Some(value) if !value.ends_with('%') => options.push(format!("size={}", size(value)?)),
            _ => options.push(option.to_string()),
        }
    }
    Ok(MountSpec { source: MountSource::Tmpfs, target: absolute(target)?, options })
}

/// `--add-host NAME:IP`.
pub fn add_host(text: &str) -> Result<HostEntry> {
    resolv::parse_add_host(text)
}

/// `--dns-search` and `--dns-option`: a word of resolv.conf(5).
pub fn resolver_word(text: &str) -> Result<String> {
    if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) || text.starts_with(['#', ';']) {
        bail!("\"{text}\" cannot stand in /etc/resolv.conf");
    }
    Ok(text.to_string())
}

/// `--ulimit TYPE=SOFT[:HARD]`; -1 is unlimited.
pub fn ulimit(text: &str) -> Result<Ulimit> {
    let (name, limits) = text.split_once('=').context("want TYPE=SOFT[:HARD]")?;
    let number = |text: &str| match text {
        "-1" | "unlimited" => Ok(u64::MAX),
        _ => text.parse::<u64>().with_context(|| format!("\"{text}\" is not a number")),
    };
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let (soft, hard) = (number(soft)?, number(hard)?);
    if !ULIMITS.contains(&name) {
        bail!("unknown type \"{name}\"");
    }
    if soft > hard {
        bail!("the soft limit is above the hard one");
    }
    Ok(Ulimit { name: name.to_string(), soft, hard })
}

const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// A size in bytes: `64m`, `1g`, `512k`, `100b`, `100`.
pub fn size(text: &str) -> Result<u64> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &lower[digits.len()..] {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        other => bail!("unknown unit \"{other}\": want b, k, m, g or t"),
    };
    let number: u64 = digits.parse().with_context(|| format!("\"{text}\" is not a size"))?;
    number.checked_mul(1 << shift).with_context(|| format!("\"{text}\" is too large"))
}

/// A signal by number or name, with or without SIG (signal(7)).
pub fn signal(text: &str) -> Result<i32> {
    if let Ok(number) = text.parse::<i32>() {
        if (1..=64).contains(&number) {
            return Ok(number);
        }
        bail!("no such signal");
    }
    let upper = text.to_ascii_uppercase();
    let short = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = |tail: &str| if tail.is_empty() { Some(0) } else { tail.parse::<i32>().ok() };
    if let Some(tail) = short.strip_prefix("RTMIN") {
        return offset(tail).filter(|n| (0..=30).contains(n)).map(|n| 34 + n).context("no such signal");
    }
    if let Some(tail) = short.strip_prefix("RTMAX") {
        return offset(tail).filter(|n| (-30..=0).contains(n)).map(|n| 64 + n).context("no such signal");
    }
    let signal = nix::sys::signal::Signal::from_str(&format!("SIG{short}")).ok().context("no such signal")?;
    Ok(signal as i32)
}

/// `--device HOST[:INSIDE[:rwm]]`. Which of read, write and mknod are allowed cannot be limited without the device cgroup.
pub fn device(text: &str) -> Result<DeviceSpec> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, path) = match parts[..] {
        [source] | [source, "rwm"] => (source, source),
        [source, path] | [source, path, "rwm"] => (source, path),
        [_, _, _] => bail!("only rwm: a rootless container cannot limit a device to reading or writing"),
        _ => bail!("want HOST[:INSIDE]"),
    };
    Ok(DeviceSpec { source: absolute(source)?, path: absolute(path)? })
}

/// An octal mask.
pub fn umask(text: &str) -> Result<u32> {
    let mask = u32::from_str_radix(text, 8).ok().context("not an octal number")?;
    if mask > 0o777 {
        bail!("beyond 0777");
    }
    Ok(mask)
}

/// `-e NAME[=VALUE]`.
pub fn env(text: &str) -> Result<String> {
    if text.is_empty() || text.starts_with('=') {
        bail!("a variable needs a name");
    }
    Ok(text.to_string())
}

/// The lines of an `--env-file`: `NAME=VALUE`, `NAME` (from the caller), blanks and `#` comments (Docker's format: no quotes).
pub fn env_file(text: &str) -> Result<Vec<String>> {
    let mut entries = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start_matches('\u{feff}').trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split('=').next().unwrap_or_default();
        if name.is_empty() || name.contains(char::is_whitespace) {
            bail!("line {}: \"{}\" is not a variable's name", number + 1, name.trim());
        }
        if line.contains('\0') {
            bail!("line {}: a NUL byte", number + 1);
        }
        entries.push(line.to_string());
    }
    Ok(entries)
}

/// Labels and the like: `KEY[=VALUE]`, each; of a key that is given twice the last counts.
pub fn pairs(texts: &[String]) -> impl Iterator<Item = (String, String)> {
    texts.iter().map(|text| text.split_once('=').unwrap_or((text, ""))).map(|(key, value)| (key.into(), value.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn volumes_come_in_dockers_three_forms() {
        let of = |text: &str| volume(text).unwrap();
        assert_eq!(of("/data").source, MountSource::Anonymous);
        assert_eq!(
            of("db:/data:ro"),
            MountSpec { source: MountSource::Volume("db".into()), target: "/data".into(), options: vec!["ro".into()] }
        );
        assert_eq!(of("/src:/dst").source, MountSource::Host("/src".into()));
        for bad in ["", "rel", "/a:rel", "a b:/x", "/a:/b:fast", "/a:/b:ro:x", ":/x"] {
            assert!(volume(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_long_form_says_the_same() {
        let bind = mount("type=bind,src=/s,dst=/d,readonly,bind-propagation=rslave").unwrap();
        assert_eq!(bind.options, ["ro", "rslave"]);
        assert_eq!(mount("target=/d").unwrap().source, MountSource::Anonymous);
        assert!(mount("type=tmpfs,dst=/t,tmpfs-size=1m").unwrap().options.contains(&"size=1048576".to_string()));
        for bad in
            ["type=bind,dst=/d", "type=nfs,dst=/d", "src=x", "type=tmpfs,src=x,dst=/d", "dst=/d,tmpfs-size=1m", "dst=/d,x=y"]
        {
            assert!(mount(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, number) in [("9", 9), ("KILL", 9), ("sigterm", 15), ("RTMIN+3", 37), ("SIGRTMAX", 64)] {
            assert_eq!(signal(text).unwrap(), number, "{text}");
        }
        assert!(signal("0").is_err() && signal("SIGNONE").is_err() && signal("65").is_err());
    }

    #[test]
    fn sizes_limits_masks_and_devices() {
        assert_eq!(size("64m").unwrap(), 64 << 20);
        assert!(size("m").is_err() && size("1x").is_err() && size("99999999999g").is_err());
        assert_eq!(ulimit("nofile=10:-1").unwrap().hard, u64::MAX);
        assert!(ulimit("nofile=10:5").is_err() && ulimit("shoes=2").is_err());
        assert_eq!(umask("027").unwrap(), 0o27);
        assert!(umask("8").is_err() && umask("1777").is_err());
        assert_eq!(device("/dev/fuse:/dev/fuse:rwm").unwrap().path, Path::new("/dev/fuse"));
        assert!(device("/dev/fuse:/dev/fuse:r").is_err());
    }

    #[test]
    fn an_env_file_is_dockers() {
        assert_eq!(env_file("# c\n\nA=1 2\n  B\n").unwrap(), ["A=1 2", "B"]);
        assert!(env_file("A=1\nbad name=2\n").unwrap_err().to_string().contains("line 2"));
        assert!(env_file("=x").is_err());
    }

    proptest! {
        #[test]
        fn no_flag_value_panics(text in ".{0,60}") {
            let _ = (volume(&text), mount(&text), tmpfs(&text), ulimit(&text));
            let _ = (size(&text), signal(&text), device(&text), umask(&text));
            let _ = (env_file(&text), UsernsMode::from_str(&text), hostname(&text), name(&text), add_host(&text));
        }
    }
}
