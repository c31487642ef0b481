//! `rl`: rootless containers. Dispatch and exit code, nothing else; see cli/ for the verbs.

mod cli;
mod container;
mod error;
mod host;
mod image;
mod network;
mod oci;
mod role;
mod rootfs;
mod security;
mod sys;
mod userns;

use std::process::ExitCode;

fn main() -> ExitCode {
    let (result, default) = cli::dispatch();
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let failure = error::Failure::from(&error);
            failure.print();
            ExitCode::from(failure.exit.unwrap_or(default))
        }
    }
}
