//! The lines of a file that grows and is put aside as `.1`, `.2`, … when it is full: oldest first, and none missed while that happens. A
//! file that was put aside is read to its end before the next.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, fstatat};

/// Such files, open for reading.
pub struct Lines {
    directory: OwnedFd,
    /// The current file's name.
    name: String,
    count: u32,
    open: BufReader<File>,
    inode: u64,
    /// A line that was given out, or what has come of one that is not complete yet.
    line: Vec<u8>,
}

impl Lines {
    /// Opens `name` and its at most `count - 1` elders in `directory`, before the last `tail` lines or at the beginning. None where there is
    /// no file.
    pub fn open(directory: OwnedFd, name: &str, count: u32, tail: Option<usize>) -> Result<Option<Lines>> {
        let files = files(&directory, name, count)?;
        let Some(mut start) = files.first().cloned() else { return Ok(None) };
        let mut offset = 0;
        if let Some(mut wanted) = tail {
            for file in files.iter().rev() {
                start = file.clone();
                let Some(opened) = open(&directory, name, file)? else { continue };
                let (found, at) = last_lines(&opened, wanted).context("cannot read the log")?;
                offset = at;
                wanted -= found;
                if wanted == 0 {
                    break;
                }
            }
        }
        // Put aside and out since it was listed: only a log that turns over faster than it is read.
        let Some(mut file) = open(&directory, name, &start)? else { return Lines::open(directory, name, count, tail) };
        file.seek(SeekFrom::Start(offset)).context("cannot read the log")?;
        let open = BufReader::with_capacity(64 << 10, file);
        Ok(Some(Lines { directory, name: name.into(), count, open, inode: start.inode, line: Vec::new() }))
    }

    /// The next line with its newline; None where there is none yet.
    pub fn next(&mut self) -> Result<Option<&[u8]>> {
        if self.line.ends_with(b"\n") {
            self.line.clear();
        }
        loop {
            self.open.read_until(b'\n', &mut self.line).context("cannot read the log")?;
            if self.line.ends_with(b"\n") {
                return Ok(Some(&self.line));
            }
            let Some(next) = self.successor()? else { return Ok(None) };
            // It may have grown between our look at its end and its being put aside.
            if self.open.read_until(b'\n', &mut self.line).context("cannot read the log")? > 0 {
                if self.line.ends_with(b"\n") {
                    return Ok(Some(&self.line));
                }
                continue;
            }
            self.line.clear();
            if let Some(file) = open(&self.directory, &self.name, &next)? {
                self.open = BufReader::with_capacity(64 << 10, file);
                self.inode = next.inode;
            }
        }
    }

    /// The file after the one that is open; the oldest where that one is gone.
    fn successor(&self) -> Result<Option<Found>> {
        let current = fstatat(&self.directory, self.name.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW);
        if current.is_ok_and(|stat| stat.st_ino == self.inode) {
            return Ok(None);
        }
        let files = files(&self.directory, &self.name, self.count)?;
        let own = files.iter().position(|file| file.inode == self.inode);
        Ok(files.into_iter().nth(own.map_or(0, |own| own + 1)))
    }
}

/// A file of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    /// 0 is the current one.
    elder: u32,
    inode: u64,
}

/// The name of a file that was put aside so many times.
pub fn aside(name: &str, elder: u32) -> String {
    if elder == 0 { name.into() } else { format!("{name}.{elder}") }
}

/// All files, oldest first. Looked at until nothing changes between two looks: a file that moves on meanwhile could be missed.
fn files(directory: &OwnedFd, name: &str, count: u32) -> Result<Vec<Found>> {
    let look = || -> Result<Vec<Found>> {
        let mut found = Vec::new();
        for elder in (0..count).rev() {
            match fstatat(directory, aside(name, elder).as_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
                Ok(stat) => found.push(Found { elder, inode: stat.st_ino }),
                Err(Errno::ENOENT) => {}
                Err(errno) => return Err(errno).context("cannot read the log"),
            }
        }
        Ok(found)
    };
    let mut files = look()?;
    loop {
        let again = look()?;
        if again == files {
            return Ok(files);
        }
        files = again;
    }
}

/// Opens what was found; under another name where it has moved on, None where it is gone.
fn open(directory: &OwnedFd, name: &str, wanted: &Found) -> Result<Option<File>> {
    let at = |name: &str| -> Result<Option<File>> {
        match openat(directory.as_fd(), name, OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty()) {
            Ok(fd) => {
                let file = File::from(fd);
                let same = file.metadata().context("cannot read the log")?.ino() == wanted.inode;
                Ok(same.then_some(file))
            }
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(errno).context("cannot open the log"),
        }
    };
    if let Some(file) = at(&aside(name, wanted.elder))? {
        return Ok(Some(file));
    }
    for elder in wanted.elder + 1..wanted.elder + 4 {
        if let Some(file) = at(&aside(name, elder))? {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

/// How many of the `wanted` last lines the file has, and where the first of them begins.
fn last_lines(mut file: &File, wanted: usize) -> std::io::Result<(usize, u64)> {
    let size = file.metadata()?.len();
    let mut buffer = vec![0; 64 << 10];
    let (mut at, mut found) = (size, 0);
    if wanted == 0 {
        return Ok((0, size));
    }
    while at > 0 {
        let length = at.min(buffer.len() as u64);
        at -= length;
        file.seek(SeekFrom::Start(at))?;
        let chunk = &mut buffer[..length as usize];
        file.read_exact(chunk)?;
        for (index, _) in chunk.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            // The newline at the very end ends the last line; every other begins one.
            let begins = at + index as u64 + 1;
            if begins < size {
                found += 1;
                if found == wanted {
                    return Ok((found, begins));
                }
            }
        }
    }
    Ok((found + usize::from(size > 0), 0))
}
