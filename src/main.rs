//! `rl`: rootless containers. Dispatch and exit code, nothing else; see cli/ for the verbs.

#![cfg_attr(not(test), no_main)]

mod cgroup;
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

sys::entry::entry!(exit_code);

fn exit_code() -> i32 {
    let (result, default) = cli::dispatch();
    let code = match result {
        Ok(code) => code,
        Err(error) => {
            let failure = error::Failure::from(&error);
            failure.print();
            failure.exit.unwrap_or(default)
        }
    };
    code.into()
}
