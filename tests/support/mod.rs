//! What every black-box test starts from: `rl` with a store and a home of its own, its terminal, and the host around it.
//!
//! A test file says `mod support;` and nothing else of this crate; the tests know `rl` by its command line only. The
//! environment is the contract with `tests/run`:
//!
//! | variable           | meaning                                                     | without it (plain `cargo test`)     |
//! |--------------------|-------------------------------------------------------------|-------------------------------------|
//! | `RL_TEST_BIN`      | the `rl` to drive, built with failpoints                    | the one that cargo built            |
//! | `RL_TEST_RELEASE`  | the `rl` of `cargo build --release`                         | unset: tests of it are skipped      |
//! | `RL_TEST_IMAGES`   | directory with the image layouts                            | /var/tmp/rl-tests/images            |
//! | `RL_TEST_PROBE`    | the static guest of helpers/probe                           | /var/tmp/rl-tests/bin/probe         |
//! | `RL_TEST_STRICT=1` | a test that cannot run here fails instead of being skipped  | it prints SKIP and why              |
//! | `RL_TEST_IN_VM=1`  | we run in the VM, as a user with a systemd session          |                                     |
//!
//! As under cargo, the working directory is the package's root (a copy of it) and `CARGO_MANIFEST_DIR` names it.
#![allow(dead_code, unused_imports, unused_macros)] // No test file uses all of it.

mod background;
mod host;
mod layout;
mod proxy;
mod pty;
mod registry;
mod session;

pub use background::Background;
pub use host::{HostState, Tree, assert_confined, host_address, host_v4, serve, titled, while_swapping};
pub use layout::{Layout, TarBuilder};
pub use proxy::{Action, FaultProxy, Seen};
pub use pty::Pty;
pub use registry::{LOGIN, Registry, two_layers};
pub use session::Session;
pub(crate) use session::session;

use std::{
    env,
    ffi::OsStr,
    fmt,
    io::{Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, Once, mpsc},
    thread,
    time::{Duration, Instant},
};

/// How long anything may take before it counts as hung. Only a hang reaches it: no test depends on a fast machine.
pub fn hang() -> Instant {
    Instant::now() + Duration::from_secs(if in_vm() { 180 } else { 60 })
}

pub fn in_vm() -> bool {
    env::var_os("RL_TEST_IN_VM").is_some()
}

fn path_from(variable: &str, default: &str) -> PathBuf {
    env::var_os(variable).map_or_else(|| default.into(), PathBuf::from)
}

/// The `rl` under test.
pub fn binary() -> PathBuf {
    path_from("RL_TEST_BIN", env!("CARGO_BIN_EXE_rl"))
}

/// The release build, for what is said about size and start time.
pub fn release_binary() -> Option<PathBuf> {
    env::var_os("RL_TEST_RELEASE").map(PathBuf::from)
}

/// The static guest that prints what it sees as JSON; to be bind-mounted into a container.
pub fn probe() -> PathBuf {
    path_from("RL_TEST_PROBE", "/var/tmp/rl-tests/bin/probe")
}

pub fn images() -> PathBuf {
    path_from("RL_TEST_IMAGES", "/var/tmp/rl-tests/images")
}

/// A reference to one of the test images: alpine, postgres, nginx, redis, python.
pub fn image(name: &str) -> String {
    format!("oci:{}:latest", images().join(name).display())
}

/// What a test needs of the machine. `require!` turns it into a skip or, under RL_TEST_STRICT=1, a failure.
#[derive(Debug, Clone)]
pub enum Feature {
    /// A range in /etc/subuid and /etc/subgid for the caller, and newuidmap.
    SubIds,
    /// One of the test images.
    Image(&'static str),
    /// The guest of helpers/probe.
    Probe,
    /// The release build.
    Release,
    /// A program on the host.
    Tool(&'static str),
    /// Cgroup v2 on /sys/fs/cgroup and a systemd user manager.
    UserSession,
    /// The caller is root, or is not.
    Root(bool),
}

/// Why the feature is missing, if it is.
pub fn missing(feature: &Feature) -> Option<String> {
    let (there, what) = match feature {
        Feature::SubIds => (
            !host::sub_ids("/etc/subuid").is_empty() && !host::sub_ids("/etc/subgid").is_empty() && on_path("newuidmap"),
            "no subuid range or no newuidmap".into(),
        ),
        Feature::Image(name) => {
            (images().join(name).join("index.json").exists(), format!("no image {name} in {}", images().display()))
        }
        Feature::Probe => (probe().exists(), format!("no {}", probe().display())),
        Feature::Release => (release_binary().is_some(), "no release build (RL_TEST_RELEASE)".into()),
        Feature::Tool(name) => (on_path(name), format!("no {name}")),
        Feature::UserSession => (
            Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
                && Path::new(&format!("/run/user/{}/systemd/private", nix::unistd::getuid())).exists(),
            "no systemd user session with cgroup v2".into(),
        ),
        Feature::Root(wanted) => (nix::unistd::getuid().is_root() == *wanted, format!("root: must be {wanted}")),
    };
    (!there).then_some(what)
}

fn on_path(name: &str) -> bool {
    env::split_paths(&env::var_os("PATH").unwrap_or_default()).any(|dir| dir.join(name).is_file())
}

/// `require!(Feature::SubIds, Feature::Image("alpine"));` at the start of a test: returns from it when one is missing.
macro_rules! require {
    ($($feature:expr),+ $(,)?) => {
        $(if let Some(why) = $crate::support::missing(&$feature) {
            println!("SKIP {}: {why}", ::std::thread::current().name().unwrap_or("test"));
            assert!(::std::env::var_os("RL_TEST_STRICT").is_none_or(|v| v != "1"), "cannot run here: {why}");
            return;
        })+
    };
}
pub(crate) use require;

/// Which tests of this executable may run beside each other: any number, or one `Rl::alone()`.
static TURN: (Mutex<Turn>, Condvar) = (Mutex::new(Turn { together: 0, alone: false }), Condvar::new());

struct Turn {
    together: usize,
    alone: bool,
}

/// One user's `rl`: a store, a home and an environment that no other test shares.
pub struct Rl {
    dir: tempfile::TempDir,
    alone: bool,
}

impl Rl {
    pub fn new() -> Rl {
        let mut turn = TURN.1.wait_while(TURN.0.lock().unwrap(), |t| t.alone).unwrap();
        turn.together += 1;
        Rl::in_new_home(false)
    }

    /// No other test of this executable has an `Rl` meanwhile: for those that look at the host (`HostState`).
    pub fn alone() -> Rl {
        let mut turn = TURN.1.wait_while(TURN.0.lock().unwrap(), |t| t.alone || t.together > 0).unwrap();
        turn.alone = true;
        Rl::in_new_home(true)
    }

    fn in_new_home(alone: bool) -> Rl {
        static TOLD: Once = Once::new();
        TOLD.call_once(|| told_of_no_cgroup(nix::unistd::getuid()));
        let dir = tempfile::Builder::new().prefix("rl-").tempdir().expect("a temporary directory");
        for name in ["home", "tmp"] {
            std::fs::create_dir(dir.path().join(name)).expect("create a directory");
        }
        Rl { dir, alone }
    }

    /// A path in the test's own directory, which is gone afterwards.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn store(&self) -> PathBuf {
        self.path("store")
    }

    pub fn home(&self) -> PathBuf {
        self.path("home")
    }

    /// Writes a file in the test's directory and returns its path.
    pub fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("create a directory");
        std::fs::write(&path, contents).expect("write a file");
        path
    }

    /// `rl --root STORE ARGS…`, to be changed and then given to `run`.
    pub fn command(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        let mut command = Command::new(binary());
        command.arg("--root").arg(self.store()).args(args);
        self.environment(&mut command);
        command
    }

    /// The environment of a fresh login, and nothing of the caller's.
    fn environment(&self, command: &mut Command) {
        command.env_clear().env("HOME", self.home()).env("TMPDIR", self.path("tmp")).env("TERM", "xterm").env("LANG", "C.UTF-8");
        for name in ["PATH", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"] {
            command.envs(env::var_os(name).map(|value| (name, value)));
        }
    }

    /// Runs `rl ARGS…` to its end, with stdin at /dev/null.
    pub fn cmd(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Run {
        run(self.command(args))
    }

    /// The same, with this on its stdin.
    pub fn cmd_with_input(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>, input: impl Into<Vec<u8>>) -> Run {
        run_with_input(self.command(args), input.into())
    }

    /// `rl run --rm FLAGS… alpine COMMAND…`, to be changed and then given to `run`.
    pub fn alpine(&self, flags: &[&str], command: &[&str]) -> Command {
        self.command([&["run", "--rm"], flags, &[image("alpine").as_str()], command].concat())
    }

    /// Runs a shell script in alpine to its end.
    #[track_caller]
    pub fn sh(&self, flags: &[&str], script: &str) -> Run {
        run(self.alpine(flags, &["sh", "-c", script]))
    }

    /// What a process in an alpine with these flags sees of itself: the guest's report (helpers/probe).
    #[track_caller]
    pub fn look(&self, flags: &[&str]) -> serde_json::Value {
        let bind = format!("{}:/probe:ro", probe().display());
        run(self.alpine(&[flags, &["-v", &bind]].concat(), &["/probe"])).ok().json()
    }

    /// Starts `rl ARGS…` and lets it run.
    #[track_caller]
    pub fn start(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Background {
        Background::spawn(self.command(args))
    }

    /// `rl inspect`'s one answer.
    #[track_caller]
    pub fn inspect(&self, container: &str) -> serde_json::Value {
        self.cmd(["inspect", container]).ok().json()[0].clone()
    }

    /// Starts `rl ARGS…` on a terminal of its own, 24 by 80.
    pub fn pty(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Pty {
        Pty::spawn(&self.command(args))
    }

    /// The ids of this store's containers, running or not.
    pub fn containers(&self) -> Vec<String> {
        self.cmd(["ps", "-a", "-q"]).ok().stdout().split_whitespace().map(String::from).collect()
    }
}

/// What a user hears once, where there is no cgroup to be had, was heard before: which test comes first nobody knows.
pub fn told_of_no_cgroup(uid: nix::unistd::Uid) {
    let session = PathBuf::from(format!("/run/user/{uid}"));
    let runtime = match uid.as_raw() {
        0 => "/run/rl".into(),
        uid if std::fs::metadata(&session).is_ok_and(|found| found.uid() == uid) => session.join("rl"),
        uid => PathBuf::from(format!("/dev/shm/rl-{uid}")),
    };
    let _ = std::fs::DirBuilder::new().mode(0o700).create(&runtime);
    let _ = std::fs::write(runtime.join("cgroup-warned"), "");
    for path in [runtime.join("cgroup-warned"), runtime] {
        let _ = std::os::unix::fs::chown(path, Some(uid.as_raw()), None);
    }
}

impl Drop for Rl {
    fn drop(&mut self) {
        self.clean();
        let mut turn = TURN.0.lock().unwrap();
        if self.alone {
            turn.alone = false
        } else {
            turn.together -= 1
        }
        TURN.1.notify_all();
    }
}

impl Rl {
    /// Removes all that is left, subuids' files too: those only their user namespace may delete. `tests/run` reports what
    /// survives, so nothing is asserted here, where a failed test may be passing through.
    fn clean(&self) {
        if !self.store().exists() {
            return;
        }
        let quietly = |args: &[&str]| self.command(args).stdin(Stdio::null()).stderr(Stdio::null()).output();
        if let Ok(listed) = quietly(&["ps", "-a", "-q"]) {
            let ids = String::from_utf8_lossy(&listed.stdout).into_owned();
            if !ids.trim().is_empty() {
                let _ = quietly(&["rm", "-f", "-v"].into_iter().chain(ids.split_whitespace()).collect::<Vec<_>>());
            }
        }
        let _ =
            quietly(&["unshare", "rm", "-rf", &self.dir.path().join("tmp").to_string_lossy(), &self.store().to_string_lossy()]);
    }
}

/// A program that has run to its end.
pub struct Run {
    line: String,
    pub status: ExitStatus,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Run {
    /// It succeeded, or the test fails with all that it printed.
    #[track_caller]
    pub fn ok(self) -> Run {
        self.code(0)
    }

    #[track_caller]
    pub fn code(self, wanted: i32) -> Run {
        assert_eq!(self.status.code(), Some(wanted), "exit code of {self}");
        self
    }

    #[track_caller]
    pub fn killed_by(self, signal: i32) -> Run {
        assert_eq!(self.status.signal(), Some(signal), "signal that ended {self}");
        self
    }

    /// Its stderr contains this.
    #[track_caller]
    pub fn says(self, text: &str) -> Run {
        assert!(self.stderr().contains(text), "no {text:?} on stderr of {self}");
        self
    }

    /// Without the newline at the end.
    #[track_caller]
    pub fn stdout(&self) -> &str {
        text(&self.stdout, self)
    }

    #[track_caller]
    pub fn stderr(&self) -> &str {
        text(&self.stderr, self)
    }

    pub fn bytes(&self) -> &[u8] {
        &self.stdout
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|e| panic!("not JSON, {e}: {self}"))
    }
}

#[track_caller]
fn text<'a>(bytes: &'a [u8], run: &Run) -> &'a str {
    std::str::from_utf8(bytes).unwrap_or_else(|_| panic!("not UTF-8: {run}")).trim_end_matches('\n')
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(f, "`{}` ({})", self.line, self.status)?;
        for (name, bytes) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            writeln!(f, "--- {name}\n{}", String::from_utf8_lossy(bytes).trim_end())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The command as one would type it.
fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|w| w.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// Runs any command to its end; panics when it hangs, or leaves a process behind that holds its stdout or stderr.
#[track_caller]
pub fn run(command: Command) -> Run {
    run_from(command, Stdio::null())
}

/// The same, with this as its stdin.
#[track_caller]
pub fn run_from(mut command: Command, stdin: impl Into<Stdio>) -> Run {
    command.stdin(stdin);
    finish(line(&command), start(&mut command))
}

/// Runs a command, whose streams are set, to its end.
#[track_caller]
pub fn run_as_is(mut command: Command) -> ExitStatus {
    let mut child = command.spawn().unwrap_or_else(|e| panic!("cannot start `{}`: {e}", line(&command)));
    wait_until(&mut child, hang()).unwrap_or_else(|| {
        let _ = child.kill();
        panic!("hung: `{}`", line(&command))
    })
}

/// `sh -c SCRIPT sh COMMAND ARGS…`: the command as `"$@"`, with all of its environment.
pub fn in_shell(shell: &str, script: &str, command: &Command) -> Command {
    let mut wrapped = Command::new(shell);
    wrapped.args(["-c", script, shell]).arg(command.get_program()).args(command.get_args());
    wrapped.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(dir) = command.get_current_dir() {
        wrapped.current_dir(dir);
    }
    wrapped
}

#[track_caller]
pub fn run_with_input(mut command: Command, input: Vec<u8>) -> Run {
    let mut child = start(command.stdin(Stdio::piped()));
    let mut stdin = child.stdin.take().expect("piped");
    // A program that does not read its input is no failure.
    thread::spawn(move || stdin.write_all(&input));
    finish(line(&command), child)
}

#[track_caller]
fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap_or_else(|e| panic!("cannot start `{}`: {e}", line(command)))
}

#[track_caller]
fn finish(line: String, mut child: Child) -> Run {
    let (close, closed) = mpsc::channel();
    let stdout = collect(child.stdout.take().expect("piped"), close.clone());
    let stderr = collect(child.stderr.take().expect("piped"), close);
    finish_with(line, child, [stdout, stderr], closed)
}

/// Waits for a child's end and for the two messages that its output has ended.
#[track_caller]
fn finish_with(line: String, mut child: Child, output: [Arc<Mutex<Vec<u8>>>; 2], both: mpsc::Receiver<()>) -> Run {
    let deadline = hang();
    let in_time = (0..2).all(|_| both.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok());
    let ended = wait_until(&mut child, deadline);
    let status = ended.unwrap_or_else(|| {
        let _ = child.kill();
        child.wait().expect("wait")
    });
    let [stdout, stderr] = output.map(|bytes| bytes.lock().unwrap().clone());
    let run = Run { line, status, stdout, stderr };
    assert!(ended.is_some(), "hung: {run}");
    assert!(in_time, "it has ended, but something still holds its stdout or stderr: {run}");
    run
}

/// Reads to the end in a thread; what has come so far can be looked at meanwhile.
fn collect(mut from: impl Read + Send + 'static, closed: mpsc::Sender<()>) -> Arc<Mutex<Vec<u8>>> {
    let all = Arc::new(Mutex::new(Vec::new()));
    let filling = all.clone();
    thread::spawn(move || {
        let mut part = [0; 8192];
        while let Ok(n @ 1..) = from.read(&mut part) {
            filling.lock().unwrap().extend_from_slice(&part[..n]);
        }
        let _ = closed.send(());
    });
    all
}

/// The child's status, or None at the deadline.
fn wait_until(child: &mut Child, deadline: Instant) -> Option<ExitStatus> {
    loop {
        match child.try_wait().expect("wait") {
            None if Instant::now() < deadline => thread::sleep(Duration::from_millis(2)),
            status => return status,
        }
    }
}

/// Polls until the condition holds; panics with `what` when it never does.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = hang();
    while !condition() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
