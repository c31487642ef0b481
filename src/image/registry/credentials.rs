//! Who the user is at a registry, as other tools have kept it: containers-auth.json(5) and Docker's config.json, with their
//! credential helpers (docker-credential-helpers: `docker-credential-NAME get`). The first file that knows the registry wins.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::base64;
use crate::error::Advise;

const MAX_FILE: u64 = 1 << 20;
/// The user name by which a helper says that the secret is an identity token.
const TOKEN_USER: &str = "<token>";
/// What Docker calls its own registry there.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// What proves who the user is.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    Password {
        user: String,
        password: String,
    },
    /// To be changed into an access token (OAuth 2 refresh).
    IdentityToken(String),
}

#[derive(Default, Deserialize)]
struct AuthFile {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(default, rename = "credsStore")]
    store: String,
}

#[derive(Default, Deserialize)]
struct Auth {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    identitytoken: String,
}

/// Looks for `registry` (`docker.io`, `host:port`) in the files of this user.
pub fn find(registry: &str, repository: &str) -> Result<Option<Credentials>> {
    for file in files() {
        let text = match File::open(&file) {
            Ok(open) => {
                let mut text = Vec::new();
                open.take(MAX_FILE).read_to_end(&mut text).with_context(|| format!("cannot read {}", file.display()))?;
                text
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => continue,
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
        };
        let found = in_file(&text, registry, repository, &ask_helper).with_context(|| format!("bad {}", file.display()))?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// In the order of containers-auth.json(5).
fn files() -> Vec<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(file) = variable("REGISTRY_AUTH_FILE") {
        return vec![file];
    }
    let runtime = variable("XDG_RUNTIME_DIR").unwrap_or_else(|| format!("/run/user/{}", nix::unistd::getuid()).into());
    let mut files = vec![runtime.join("containers/auth.json")];
    if let Some(dirs) = directories::BaseDirs::new() {
        files.push(dirs.config_dir().join("containers/auth.json"));
        files.push(variable("DOCKER_CONFIG").unwrap_or_else(|| dirs.home_dir().join(".docker")).join("config.json"));
    }
    files
}

type AskHelper<'a> = &'a dyn Fn(&str, &str) -> Result<Option<Credentials>>;

fn in_file(text: &[u8], registry: &str, repository: &str, ask: AskHelper) -> Result<Option<Credentials>> {
    let file: AuthFile = serde_json::from_slice(text)?;
    let hub = registry == "docker.io";
    let key = if hub { DOCKER_HUB_KEY } else { registry };
    let of_host = |host: &str| host == registry || (hub && host == "index.docker.io");
    if let Some((_, helper)) = file.helpers.iter().find(|(known, _)| of_host(host_of(known))) {
        return ask(helper, key);
    }
    if !file.store.is_empty()
        && let Some(found) = ask(&file.store, key)?
    {
        return Ok(Some(found));
    }
    // The longest name wins: `host/ann/tool`, `host/ann`, `host`.
    let mut name = format!("{registry}/{repository}");
    loop {
        if let Some(auth) = file.auths.get(&name) {
            return read(auth);
        }
        let Some(slash) = name.rfind('/') else { break };
        name.truncate(slash);
    }
    // Docker writes addresses: `https://index.docker.io/v1/`.
    file.auths.iter().find(|(known, _)| of_host(host_of(known))).map_or(Ok(None), |(_, auth)| read(auth))
}

/// The host and port of `https://host:port/v1/`.
fn host_of(key: &str) -> &str {
    match key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")) {
        Some(rest) => rest.split('/').next().unwrap_or_default(),
        None => key.strip_suffix("/v1/").or_else(|| key.strip_suffix("/v2/")).unwrap_or(key),
    }
}

fn read(auth: &Auth) -> Result<Option<Credentials>> {
    if !auth.identitytoken.is_empty() {
        return Ok(Some(Credentials::IdentityToken(auth.identitytoken.clone())));
    }
    let (mut user, mut password) = (auth.username.clone(), auth.password.clone());
    if !auth.auth.is_empty() {
        let pair = base64::decode(&auth.auth).and_then(|bytes| String::from_utf8(bytes).ok()).context("bad base64 in `auth`")?;
        let (name, secret) = pair.split_once(':').context("no ':' in `auth`")?;
        (user, password) = (name.to_string(), secret.trim_end_matches('\0').to_string());
    }
    // Docker leaves an empty entry where a helper knows more.
    Ok((!user.is_empty()).then_some(Credentials::Password { user, password }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Told {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// Asks `docker-credential-HELPER` for a registry. None: it knows none.
fn ask_helper(helper: &str, key: &str) -> Result<Option<Credentials>> {
    if helper.is_empty() || !helper.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        bail!("{helper:?} is not a credential helper's name");
    }
    let program = format!("docker-credential-{helper}");
    let cure = || format!("install {program}, or log in again with the tool that named it");
    let mut command = Command::new(&program);
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    // What is ours means nothing to it.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("RL_")) {
        command.env_remove(name);
    }
    let mut child = command.spawn().with_context(|| format!("cannot run {program}")).hint(cure)?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read has its reasons; its answer tells.
        let _ = stdin.write_all(key.as_bytes());
    }
    let mut answer = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(MAX_FILE).read_to_end(&mut answer).with_context(|| format!("cannot read from {program}"))?;
    }
    let status = child.wait().with_context(|| format!("cannot wait for {program}"))?;
    if !status.success() {
        let said = String::from_utf8_lossy(&answer).trim().chars().take(200).collect::<String>();
        if said.contains("credentials not found") {
            return Ok(None);
        }
        bail!("{program} failed ({status}): {said:?}");
    }
    let told: Told = serde_json::from_slice(&answer).with_context(|| format!("cannot read the answer of {program}"))?;
    Ok(match told.username.as_str() {
        "" => None,
        TOKEN_USER => Some(Credentials::IdentityToken(told.secret)),
        _ => Some(Credentials::Password { user: told.username, password: told.secret }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    impl std::fmt::Debug for Credentials {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            match self {
                Credentials::Password { user, password } => write!(f, "{user}:{password}"),
                Credentials::IdentityToken(token) => write!(f, "token {token}"),
            }
        }
    }

    fn look(text: &str, registry: &str, repository: &str) -> String {
        let helper = |helper: &str, key: &str| {
            Ok((helper != "none").then(|| Credentials::Password { user: helper.into(), password: key.into() }))
        };
        let found = in_file(text.as_bytes(), registry, repository, &helper).unwrap();
        found.map_or("-".into(), |found| format!("{found:?}"))
    }

    #[test]
    fn entries_are_found_by_host_and_the_longest_name() {
        // ann:pw, bob:pw2
        let text = r#"{"auths": {
            "reg.example": {"auth": "YW5uOnB3"},
            "reg.example/team": {"auth": "Ym9iOnB3Mg=="},
            "https://index.docker.io/v1/": {"username": "hub", "password": "x"},
            "http://old.example:5000/v2/": {"identitytoken": "tok"},
            "empty.example": {}}}"#;
        assert_eq!(look(text, "reg.example", "a/b"), "ann:pw");
        assert_eq!(look(text, "reg.example", "team/b"), "bob:pw2");
        assert_eq!(look(text, "docker.io", "library/alpine"), "hub:x");
        assert_eq!(look(text, "old.example:5000", "x"), "token tok");
        assert_eq!(look(text, "old.example", "x"), "-");
        assert_eq!(look(text, "empty.example", "x"), "-");
        assert_eq!(look(text, "127.0.0.1:5000", "library/alpine"), "-");
    }

    #[test]
    fn a_helper_is_asked_before_what_the_file_holds() {
        let text = r#"{"credsStore": "all", "credHelpers": {"gcr.io": "one", "docker.io": "hub"}, "auths": {"reg.example": {"auth": "YW5uOnB3"}}}"#;
        assert_eq!(look(text, "gcr.io", "x"), "one:gcr.io");
        assert_eq!(look(text, "docker.io", "x"), "hub:https://index.docker.io/v1/");
        assert_eq!(look(text, "reg.example", "x"), "all:reg.example");
        assert_eq!(look(&text.replace("\"all\"", "\"none\""), "reg.example", "x"), "ann:pw");
    }

    #[test]
    fn a_helper_s_name_is_no_path() {
        for helper in ["", "../x", "a/b", "a b", "$(x)"] {
            assert!(ask_helper(helper, "x").is_err(), "{helper}");
        }
    }

    proptest! {
        #[test]
        fn no_file_panics(text in "\\PC{0,40}", auth in "[A-Za-z0-9+/=]{0,20}") {
            let none: AskHelper = &|_, _| Ok(None);
            let _ = in_file(text.as_bytes(), "a", "b", none);
            let _ = in_file(format!(r#"{{"auths": {{"a": {{"auth": "{auth}"}}}}}}"#).as_bytes(), "a", "b", none);
        }
    }
}
