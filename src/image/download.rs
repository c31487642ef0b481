//! One blob from a registry into the store, once, however many processes want it.
//!
//! ```text
//! downloads/<algorithm>-<hex>      what has come so far; whoever holds its flock writes it, the others wait
//! ```
//!
//! It is hashed on the way, synced and renamed to its place in `blobs/`. What a killed process leaves is gone on with by the next one
//! that wants this blob, and removed by any pull when it is a week old.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::Store;
use super::layout::Blobs;
use super::registry::{Fault, Repository, Sink};
use crate::oci::digest::{Digest, Hasher};
use crate::oci::image::Descriptor;
use crate::sys::failpoint::milestone;

/// Read at once.
const PIECE: usize = 128 << 10;
/// Between two reports.
const REPORT: Duration = Duration::from_millis(80);
/// After this time nobody goes on with what a killed process left.
const STALE: Duration = Duration::from_secs(7 * 24 * 3600);

/// How a blob came to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// It was, or another process brought it meanwhile.
    Already,
    Downloaded,
}

/// Sees to it that the blob is in the store. `report` is told how many bytes are here.
pub fn blob(store: &Store, from: &Repository, descriptor: &Descriptor, report: &mut dyn FnMut(u64)) -> Result<Came> {
    let Some(partial) = Partial::claim(store, descriptor)? else { return Ok(Came::Already) };
    let mut download = Download { partial, descriptor, report, reported: Instant::now(), resumed: false, hasher: None };
    let brought = download.resume().and_then(|()| match download.is_complete()? {
        true => Ok(()),
        false => from.blob(&descriptor.digest, descriptor.size, &mut download),
    });
    let brought = brought.and_then(|()| store.adopt_blob(&download.partial.path, &descriptor.digest));
    if let Err(error) = brought {
        if error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(is_of_the_disk)) {
            download.partial.remove();
        }
        return Err(error).with_context(|| format!("cannot download {}", descriptor.digest));
    }
    milestone("pull-blob-stored");
    Ok(Came::Downloaded)
}

/// Whether the store can hold no more: then what is there of the blob is in the way.
fn is_of_the_disk(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT | libc::EIO | libc::EFBIG | libc::EROFS))
}

fn place(store: &Store, digest: &Digest) -> PathBuf {
    Blobs(store.root()).path(digest)
}

/// Whether the store has the blob, as far as its length tells.
pub fn is_there(store: &Store, descriptor: &Descriptor) -> bool {
    fs::metadata(place(store, &descriptor.digest)).is_ok_and(|found| found.len() == descriptor.size)
}

/// Removes the blob from the store when it is not what its name says. True: it is there and right.
pub fn check(store: &Store, descriptor: &Descriptor) -> Result<bool> {
    let path = place(store, &descriptor.digest);
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error).with_context(|| format!("cannot open {}", path.display())),
    };
    let mut hasher = Hasher::new(descriptor.digest.algorithm());
    let length = hash_all(&mut file, &mut hasher).with_context(|| format!("cannot read {}", path.display()))?;
    let right = length == descriptor.size && hasher.finish() == descriptor.digest;
    if !right {
        fs::remove_file(&path).with_context(|| format!("cannot remove {}, which is corrupt", path.display()))?;
    }
    Ok(right)
}

fn hash_all(file: &mut File, hasher: &mut Hasher) -> io::Result<u64> {
    let (mut buffer, mut length) = (vec![0; PIECE], 0);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(length),
            read => {
                hasher.update(&buffer[..read]);
                length += read as u64;
            }
        }
    }
}

/// The file that a blob grows in, locked.
struct Partial {
    path: PathBuf,
    file: Flock<File>,
    length: u64,
}

impl Partial {
    /// Takes the right to download, waiting for whoever has it. None: the blob is there by now.
    fn claim(store: &Store, descriptor: &Descriptor) -> Result<Option<Partial>> {
        let digest = &descriptor.digest;
        let directory = store.downloads()?;
        let path = directory.join(format!("{}-{}", digest.algorithm().name(), digest.hex()));
        let cannot = || format!("cannot open {}", path.display());
        loop {
            let file = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
            let file = match Flock::lock(file.with_context(cannot)?, FlockArg::LockExclusive) {
                Ok(file) => file,
                Err((_, Errno::EINTR)) => continue,
                Err((_, errno)) => return Err(errno).with_context(cannot),
            };
            let found = file.metadata().with_context(cannot)?;
            let here = fs::symlink_metadata(&path).is_ok_and(|now| (now.dev(), now.ino()) == (found.dev(), found.ino()));
            if is_there(store, descriptor) {
                // What we have locked is the blob itself, or a new file that nobody needs.
                if here {
                    let _ = fs::remove_file(&path);
                }
                return Ok(None);
            }
            if here {
                return Ok(Some(Partial { path, file, length: found.len() }));
            }
        }
    }

    fn remove(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// A download under way.
struct Download<'a> {
    partial: Partial,
    descriptor: &'a Descriptor,
    report: &'a mut dyn FnMut(u64),
    reported: Instant,
    /// Part of what is there came from another process, or another try.
    resumed: bool,
    /// Of all that is there; None once it has been asked.
    hasher: Option<Hasher>,
}

impl Download<'_> {
    /// Hashes what is there already.
    fn resume(&mut self) -> Result<()> {
        let mut hasher = Hasher::new(self.descriptor.digest.algorithm());
        let cannot = || format!("cannot read {}", self.partial.path.display());
        self.partial.file.seek(SeekFrom::Start(0)).with_context(cannot)?;
        self.partial.length = hash_all(&mut self.partial.file, &mut hasher).with_context(cannot)?;
        (self.hasher, self.resumed) = (Some(hasher), self.partial.length > 0);
        if self.partial.length > self.descriptor.size {
            self.restart()?;
        }
        Ok(())
    }

    /// Whether the blob is whole and right. One that is whole and wrong is begun anew where that may help.
    fn is_complete(&mut self) -> Result<bool> {
        if self.partial.length < self.descriptor.size {
            return Ok(false);
        }
        let found = self.hasher.clone().context("a download is hashed as it comes")?.finish();
        if found == self.descriptor.digest {
            return Ok(true);
        }
        let resumed = self.resumed;
        self.restart()?;
        if !resumed {
            self.partial.remove();
            bail!("what the registry sends has another digest, {found}");
        }
        Ok(false)
    }
}

impl Sink for Download<'_> {
    fn length(&self) -> u64 {
        self.partial.length
    }

    fn restart(&mut self) -> Result<()> {
        let mut start = || -> io::Result<()> {
            self.partial.file.set_len(0)?;
            self.partial.file.seek(SeekFrom::Start(0)).map(drop)
        };
        start().with_context(|| format!("cannot empty {}", self.partial.path.display()))?;
        (self.partial.length, self.resumed) = (0, false);
        self.hasher = Some(Hasher::new(self.descriptor.digest.algorithm()));
        Ok(())
    }

    fn take(&mut self, body: &mut dyn Read) -> Result<(), Fault> {
        let mut buffer = vec![0; PIECE];
        loop {
            let read = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.resumed = true;
                    return Err(error.into());
                }
            };
            if self.partial.length + read as u64 > self.descriptor.size {
                self.partial.remove();
                return Err(anyhow!("what the registry sends is longer than {} bytes", self.descriptor.size).into());
            }
            let cannot = || format!("cannot write {}", self.partial.path.display());
            self.partial.file.write_all(&buffer[..read]).map_err(anyhow::Error::new).with_context(cannot)?;
            self.hasher.as_mut().context("a download is hashed as it comes")?.update(&buffer[..read]);
            self.partial.length += read as u64;
            if self.reported.elapsed() >= REPORT {
                self.reported = Instant::now();
                (self.report)(self.partial.length);
                milestone("pull-blob-begun");
            }
        }
        (self.report)(self.partial.length);
        milestone("pull-blob-come");
        if self.partial.length < self.descriptor.size {
            self.resumed = true;
            let (here, size) = (self.partial.length, self.descriptor.size);
            return Err(Fault::again(anyhow!("the connection ended after {here} of {size} bytes")));
        }
        match self.is_complete()? {
            true => Ok(()),
            false => Err(Fault::again(anyhow!("what came in parts has another digest"))),
        }
    }
}

/// Removes what was begun long ago and nobody is at work on. What cannot be removed is no reason to stop.
pub fn clear_stale(store: &Store) -> Result<()> {
    for entry in fs::read_dir(store.downloads()?).context("cannot read downloads")?.flatten() {
        let old = entry.metadata().and_then(|m| m.modified()).is_ok_and(|then| then.elapsed().is_ok_and(|age| age > STALE));
        if old {
            remove_unless_locked(&entry.path());
        }
    }
    Ok(())
}

fn remove_unless_locked(path: &Path) {
    if let Ok(file) = File::open(path)
        && Flock::lock(file, FlockArg::LockExclusiveNonblock).is_ok()
    {
        let _ = fs::remove_file(path);
    }
}

/// Puts a small document into the store.
pub fn document(store: &Store, scratch: &Path, digest: &Digest, bytes: &[u8]) -> Result<()> {
    let file = scratch.join("document");
    fs::write(&file, bytes).with_context(|| format!("cannot write {}", file.display()))?;
    store.adopt_blob(&file, digest)
}
