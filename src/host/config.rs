//! `config.toml`: what the administrator (`/etc/rl/config.toml`) and then the user (`~/.config/rl/config.toml`) say about registries.
//!
//! ```toml
//! [registries."docker.io"]
//! mirrors = ["127.0.0.1:5000"]        # asked in this order, then docker.io itself; https:// or http:// may stand before
//!
//! [registries."reg.example:5000"]
//! insecure = true                     # https with any certificate, then plain http
//! ca = "reg.pem"                      # trusted for this host beside the system's; paths are relative to this file
//! client_cert = "me.pem"
//! client_key = "me.key"
//!
//! [aliases]
//! deb = "docker.io/library/debian"    # what a name without registry stands for, where it is not in the store
//! ```
//!
//! Where both speak of one registry, each key of the user's wins.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use serde::Deserialize;

use crate::error::Advise;

/// What both files say together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default)]
    registries: BTreeMap<String, Registry>,
    #[serde(default)]
    aliases: BTreeMap<String, String>,
}

/// How one registry, by host and port, is to be spoken to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registry {
    pub mirrors: Option<Vec<String>>,
    pub insecure: Option<bool>,
    pub ca: Option<PathBuf>,
    pub client_cert: Option<PathBuf>,
    pub client_key: Option<PathBuf>,
}

impl Config {
    /// Reads the files there are.
    pub fn load() -> Result<Config> {
        let user = directories::BaseDirs::new().map(|dirs| dirs.config_dir().join("rl/config.toml"));
        Config::read([Some(PathBuf::from("/etc/rl/config.toml")), user].into_iter().flatten())
    }

    /// Reads these files; a later one wins.
    fn read(files: impl IntoIterator<Item = PathBuf>) -> Result<Config> {
        let mut whole = Config::default();
        for file in files {
            match fs::read_to_string(&file) {
                Ok(text) => whole.add(parse(&text, &file)?),
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
            }
        }
        Ok(whole)
    }

    fn add(&mut self, later: Config) {
        for (host, registry) in later.registries {
            let known = self.registries.entry(host).or_default();
            known.mirrors = registry.mirrors.or(known.mirrors.take());
            known.insecure = registry.insecure.or(known.insecure);
            known.ca = registry.ca.or(known.ca.take());
            known.client_cert = registry.client_cert.or(known.client_cert.take());
            known.client_key = registry.client_key.or(known.client_key.take());
        }
        self.aliases.extend(later.aliases);
    }

    /// What is said about a registry, by host and port as written in references.
    pub fn registry(&self, host: &str) -> Option<&Registry> {
        self.registries.get(host)
    }

    /// What a short name stands for.
    pub fn alias(&self, name: &str) -> Option<&str> {
        self.aliases.get(name).map(String::as_str)
    }
}

/// Reads one file's text; an error names the line.
fn parse(text: &str, file: &Path) -> Result<Config> {
    let mut config: Config = toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        anyhow!("{}:{line}: {}", file.display(), one_line(error.message()))
    })?;
    let beside = file.parent().unwrap_or(Path::new("/"));
    for (host, registry) in &mut config.registries {
        for path in [&mut registry.ca, &mut registry.client_cert, &mut registry.client_key].into_iter().flatten() {
            *path = beside.join(&path);
        }
        if registry.client_cert.is_some() != registry.client_key.is_some() {
            return Err(anyhow!("{}: registry {host:?} has a client_cert without a client_key, or the reverse", file.display()))
                .hint(|| "name both files, or neither");
        }
    }
    Ok(config)
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Config> {
        parse(text, Path::new("/etc/rl/config.toml"))
    }

    #[test]
    fn registries_and_aliases_are_read_and_the_user_s_keys_win() {
        let mut config =
            read("[registries.\"docker.io\"]\nmirrors = [\"127.0.0.1:5000\"]\nca = \"ca.pem\"\n[aliases]\ndeb = \"debian:13\"\n")
                .unwrap();
        assert_eq!(config.registry("docker.io").unwrap().ca.as_deref(), Some(Path::new("/etc/rl/ca.pem")));
        config.add(parse("[registries.\"docker.io\"]\ninsecure = true\nca = \"/x.pem\"\n", Path::new("/home/a/c.toml")).unwrap());
        let registry = config.registry("docker.io").unwrap();
        assert_eq!(registry.mirrors, Some(vec!["127.0.0.1:5000".to_string()]));
        assert_eq!((registry.insecure, registry.ca.as_deref()), (Some(true), Some(Path::new("/x.pem"))));
        assert_eq!((config.alias("deb"), config.alias("x")), (Some("debian:13"), None));
        assert_eq!(read("").unwrap(), Config::default());
    }

    #[test]
    fn a_mistake_is_named_with_its_file_line_and_key() {
        for (text, line, word) in [
            ("\n[registries.\"x\"]\nmirror = []\n", 3, "`mirror`"),
            ("[registry.\"x\"]\n", 1, "`registry`"),
            ("\n[registries.x]\ninsecure = \"yes\"\n", 3, "boolean"),
            ("[registries\n", 1, ""),
            ("a = \"\n", 1, ""),
        ] {
            let message = format!("{:#}", read(text).unwrap_err());
            assert!(message.starts_with(&format!("/etc/rl/config.toml:{line}: ")) && message.contains(word), "{message}");
        }
        assert!(read("[registries.x]\nclient_cert = \"a\"\n").is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,40}|[\\[\\]a-z.=\"\n ]{0,40}") {
            let _ = read(&text);
        }
    }
}
