//! Copying between a container and the host (`rl cp`), as a tar archive through a pipe between two processes.
//!
//! One side is a child with the caller's own ids, which sees the host; the other a Worker with the ids of U, which holds the container's root
//! by descriptor and resolves every path beneath it as if it were `/` (openat2, RESOLVE_IN_ROOT): no symlink of the container leads anywhere
//! else, whenever it was made (CVE-2018-15664, CVE-2019-10152). Nothing of the container runs, and no library of its is loaded
//! (CVE-2019-14271).
//!
//! ```text
//! scope.rs    where a path is resolved: on the host, or in a container
//! root.rs     a container's root: of the running payload, or mounted for this
//! pack.rs     a tree to an archive
//! unpack.rs   an archive to a tree; where it goes is decided by its first entry
//! ```

mod pack;
mod root;
mod scope;
mod unpack;

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::scope::Scope;
use super::monitor;
use super::record::Record;
use crate::error::Failure;
use crate::host::paths::Paths;
use crate::sys::process::{self, Fork};
use crate::userns::idmap::IdMaps;
use crate::userns::shared::Userns;
use crate::userns::spawn;

pub use self::unpack::Owners;

/// What is copied how.
#[derive(Debug, Clone, Copy, Default)]
pub struct Flags {
    /// Keep owners (`-a`).
    pub archive: bool,
    /// Copy what a symlink names, where the source is one (`-L`).
    pub follow: bool,
}

/// The container of a copy, and what it takes to reach its files.
pub struct Container<'a> {
    pub record: &'a Record,
    pub paths: &'a Paths,
    pub userns: &'a Userns,
}

impl Container<'_> {
    fn maps(&self) -> IdMaps {
        monitor::nested(&self.record.config, &self.userns.plan.maps)
    }

    /// Copies `from` of the container to `to` on the host. Returns the bytes of files.
    pub fn copy_out(&self, from: &Path, to: &Path, flags: Flags) -> Result<u64> {
        let (read, write) = pipe()?;
        let owners = if flags.archive { Owners::Kept } else { Owners::Callers };
        let contents = pack::is_contents(from);
        beside(
            read,
            |read| unpack::unpack(&mut BufReader::with_capacity(SIZE, read), &Scope::Host, to, contents, &owners),
            || self.pack(from, flags.follow, write),
        )
    }

    /// Copies `from` on the host to `to` of the container.
    pub fn copy_in(&self, from: &Path, to: &Path, flags: Flags) -> Result<u64> {
        let (read, write) = pipe()?;
        let (owners, contents) = (self.owners(flags.archive), pack::is_contents(from));
        beside(
            write,
            |write| pack::pack(&Scope::Host, from, flags.follow, BufWriter::with_capacity(SIZE, write), None).map(|()| 0),
            || self.unpack(BufReader::with_capacity(SIZE, read), to, contents, &owners),
        )
    }

    /// Writes `from` of the container as an archive.
    pub fn archive_out(&self, from: &Path, follow: bool, archive: File) -> Result<()> {
        self.pack(from, follow, archive).map(drop)
    }

    /// Writes all files of the container as an archive, as if it were an image's: without what is mounted in it.
    pub fn export(&self, archive: File) -> Result<()> {
        let maps = self.maps();
        spawn::worker(self.userns, || {
            let (root, mounts) = root::own(self, &maps)?;
            pack::pack_whole(root.as_fd(), &mounts, BufWriter::with_capacity(SIZE, archive), &maps)
        })
    }

    /// Unpacks an archive into the directory `to` of the container.
    pub fn archive_in(&self, archive: File, to: &Path, flags: Flags) -> Result<u64> {
        let owners = self.owners(flags.archive);
        let maps = self.maps();
        spawn::worker(self.userns, || {
            let scope = Scope::Container(root::of(self, &maps)?);
            unpack::unpack_into(&mut BufReader::with_capacity(SIZE, archive), &scope, to, &owners)
        })
    }

    fn owners(&self, archive: bool) -> Owners {
        Owners::Mapped { maps: self.maps(), kept: archive }
    }

    fn pack(&self, from: &Path, follow: bool, to: impl Write) -> Result<u64> {
        let maps = self.maps();
        spawn::worker(self.userns, || {
            let scope = Scope::Container(root::of(self, &maps)?);
            pack::pack(&scope, from, follow, BufWriter::with_capacity(SIZE, to), Some(&maps)).map(|()| 0)
        })
    }

    fn unpack(&self, mut from: impl Read, to: &Path, contents: bool, owners: &Owners) -> Result<u64> {
        let maps = self.maps();
        spawn::worker(self.userns, || {
            let scope = Scope::Container(root::of(self, &maps)?);
            unpack::unpack(&mut from, &scope, to, contents, owners)
        })
    }
}

/// Of a pipe's buffer, and so of what is moved at once.
const SIZE: usize = 64 << 10;

fn pipe() -> Result<(File, File)> {
    let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).context("cannot create a pipe")?;
    Ok((read.into(), write.into()))
}

/// Runs `there` in a child, which alone has `end`, while `here` runs; the sum of both. Where both fail, who read tells why: the writer only
/// found the reader gone.
fn beside(end: File, there: impl FnOnce(File) -> Result<u64>, here: impl FnOnce() -> Result<u64>) -> Result<u64> {
    let (read, write) = pipe()?;
    let child = match process::fork(0).context("cannot start the copying process")? {
        Fork::Child => {
            drop((here, read));
            process::reset_signals();
            process::ignore_signal(libc::SIGPIPE);
            let result = there(end).map_err(|error| Failure::from(&error));
            let sent = send(write, &result);
            process::exit_now(if sent.is_ok() { 0 } else { 1 })
        }
        Fork::Parent(child) => child,
    };
    drop((end, write, there));
    let here = here();
    let there: Result<Result<u64, Failure>> = receive(read);
    child.wait().context("cannot wait for the copying process")?;
    let broken = |error: &anyhow::Error| format!("{error:#}").contains("Broken pipe");
    match (here, there?) {
        (Ok(here), Ok(there)) => Ok(here + there),
        (Err(error), Ok(_)) => Err(error),
        (Ok(_), Err(failure)) => Err(failure.into()),
        (Err(error), Err(failure)) if broken(&error) => Err(failure.into()),
        (Err(error), Err(_)) => Err(error),
    }
}

fn send<T: Serialize>(mut pipe: File, value: &T) -> Result<()> {
    Ok(pipe.write_all(&serde_json::to_vec(value)?)?)
}

fn receive<T: DeserializeOwned>(mut pipe: File) -> Result<T> {
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes)?;
    serde_json::from_slice(&bytes).context("the copying process died")
}
