//! A program that runs while the test goes on.

use super::{Run, collect, finish_with, hang, line};
use std::{
    io::Write,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

pub struct Background {
    line: String,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Arc<Mutex<Vec<u8>>>,
    stderr: Arc<Mutex<Vec<u8>>>,
    closed: mpsc::Receiver<()>,
}

impl Background {
    /// Starts it with pipes on all three streams.
    #[track_caller]
    pub fn spawn(mut command: Command) -> Background {
        let line = line(&command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("cannot start `{line}`: {e}"));
        let (close, closed) = mpsc::channel();
        let stdout = collect(child.stdout.take().expect("piped"), close.clone());
        let stderr = collect(child.stderr.take().expect("piped"), close);
        let stdin = child.stdin.take();
        Background { line, child, stdin, stdout, stderr, closed }
    }

    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// What it has printed so far.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout.lock().unwrap()).into_owned()
    }

    /// Waits until its stdout contains this.
    #[track_caller]
    pub fn expect(&self, text: &str) {
        let deadline = hang();
        while !self.stdout().contains(text) {
            let errors = || String::from_utf8_lossy(&self.stderr.lock().unwrap()).into_owned();
            assert!(Instant::now() < deadline, "{text:?} never came from `{}`: {}\n{}", self.line, self.stdout(), errors());
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[track_caller]
    pub fn write(&mut self, input: &str) {
        self.stdin.as_mut().expect("stdin is open").write_all(input.as_bytes()).expect("write to its stdin");
    }

    /// The end of its input.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    #[track_caller]
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid()), signal).expect("kill");
    }

    /// Waits for its end and that of its output.
    #[track_caller]
    pub fn finish(self) -> Run {
        drop(self.stdin);
        finish_with(self.line, self.child, [self.stdout, self.stderr], self.closed)
    }
}
