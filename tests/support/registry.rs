//! A real registry (docker-registry) on a free port of 127.0.0.1 with a storage of its own, filled by skopeo; gone when dropped.

use super::{Layout, Rl, Run, TarBuilder, run};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

/// `ann` with the password `pw`, as htpasswd writes it (bcrypt).
const HTPASSWD: &str = "ann:$2y$05$abcdefghijklmnopqrstuuHIrMEWpUCQe2YqFR3sXwQ75u4od..9q\n";
/// What Docker's and Podman's files hold for her: base64 of `ann:pw`.
pub const LOGIN: &str = "YW5uOnB3";

pub struct Registry {
    child: Child,
    port: u16,
    login: bool,
    /// What skopeo is to know of logins: nothing of this machine's.
    logins: PathBuf,
}

impl Registry {
    /// One that asks nobody who they are.
    #[track_caller]
    pub fn start(rl: &Rl) -> Registry {
        Registry::with(rl, json!({}))
    }

    /// One that knows only Ann.
    #[track_caller]
    pub fn for_ann(rl: &Rl) -> Registry {
        let file = rl.file("htpasswd", HTPASSWD);
        let mut registry = Registry::with(rl, json!({"htpasswd": {"realm": "tests", "path": file}}));
        registry.login = true;
        registry
    }

    #[track_caller]
    fn with(rl: &Rl, auth: Value) -> Registry {
        let storage = tempfile::Builder::new().prefix("registry-").tempdir_in(rl.path("")).expect("a directory").keep();
        let config = json!({
            "version": "0.1", "log": {"level": "info", "accesslog": {"disabled": true}},
            "storage": {"filesystem": {"rootdirectory": storage}}, "http": {"addr": "127.0.0.1:0", "secret": "s"}, "auth": auth,
        });
        let config = rl.file(format!("{}.yml", storage.display()).as_str(), config.to_string());
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("start docker-registry");
        let mut log = BufReader::new(child.stderr.take().expect("piped")).lines();
        let port = log.by_ref().map(|line| line.expect("its log")).find_map(|line| {
            let after = line.split("listening on 127.0.0.1:").nth(1)?;
            after.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
        });
        thread::spawn(move || log.for_each(drop));
        Registry { child, port: port.expect("docker-registry listens"), login: false, logins: rl.file("logins", "{}") }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Pushes `oci:DIR:TAG` as `name`, such as `library/alpine:latest`.
    #[track_caller]
    pub fn push(&self, image: &str, name: &str) -> Run {
        let mut command = Command::new("skopeo");
        command.args(["copy", "--quiet", "--all", "--insecure-policy", "--preserve-digests", "--dest-tls-verify=false"]);
        command.env("REGISTRY_AUTH_FILE", &self.logins);
        if self.login {
            command.args(["--dest-creds", "ann:pw"]);
        }
        run({
            command.args([image, &format!("docker://{}/{name}", self.host())]);
            command
        })
        .ok()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Bytes that do not compress, the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    })
    .take(length)
    .collect()
}

/// An image of two layers in `dir`, about 2 MB and 2 KB; no two seeds have a blob in common.
pub fn two_layers(dir: impl AsRef<Path>, seed: u64) -> Layout {
    let large = TarBuilder::new().file("large", noise(seed, 2_000_000)).finish();
    let small = TarBuilder::new().file("small", noise(seed + 1, 1000)).finish();
    Layout::new(dir.as_ref()).layer(&large).layer(&small).config(json!({"Cmd": ["/large"], "Labels": {"seed": seed.to_string()}}))
}
