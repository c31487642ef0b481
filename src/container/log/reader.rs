//! Any Client's side: the lines of all files, oldest first. A file that is put aside meanwhile is read to its end before the next.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, fstatat};

use super::line::{Line, decode};
use super::{Driver, LogConfig};

/// A container's log, open for reading.
pub struct LogReader {
    directory: OwnedFd,
    /// The current file's name.
    name: String,
    driver: Driver,
    count: u32,
    open: BufReader<File>,
    inode: u64,
    /// What has come of a line that is not complete yet.
    half: Vec<u8>,
}

impl LogReader {
    /// Opens container `id`'s log in its `directory`, before its last `tail` lines or at its beginning. None where there is no log: no
    /// driver that keeps files, or nothing that was ever started with one.
    pub fn open(directory: OwnedFd, id: &str, config: &LogConfig, tail: Option<usize>) -> Result<Option<LogReader>> {
        let Some(name) = config.file_name(id) else { return Ok(None) };
        let (driver, count) = (config.driver, config.files());
        let files = files(&directory, &name, count)?;
        let Some(mut start) = files.first().cloned() else { return Ok(None) };
        let mut offset = 0;
        if let Some(mut wanted) = tail {
            for file in files.iter().rev() {
                start = file.clone();
                let Some(opened) = open(&directory, file)? else { continue };
                let (found, at) = last_lines(&opened, wanted).context("cannot read the log")?;
                offset = at;
                wanted -= found;
                if wanted == 0 {
                    break;
                }
            }
        }
        // Put aside and out since it was listed: only a log that turns over faster than it is read.
        let Some(mut file) = open(&directory, &start)? else { return LogReader::open(directory, id, config, tail) };
        file.seek(SeekFrom::Start(offset)).context("cannot read the log")?;
        let open = BufReader::with_capacity(64 << 10, file);
        Ok(Some(LogReader { directory, name, driver, count, open, inode: start.inode, half: Vec::new() }))
    }

    /// The next line; None where there is none yet.
    pub fn next(&mut self) -> Result<Option<Line>> {
        loop {
            self.open.read_until(b'\n', &mut self.half).context("cannot read the log")?;
            if self.half.ends_with(b"\n") {
                let line = decode(self.driver, &self.half);
                self.half.clear();
                if line.is_some() {
                    return Ok(line);
                }
                continue;
            }
            let Some(next) = self.successor()? else { return Ok(None) };
            // It may have grown between our look at its end and its being put aside.
            let before = self.half.len();
            self.open.read_until(b'\n', &mut self.half).context("cannot read the log")?;
            if self.half.len() > before {
                continue;
            }
            self.half.clear();
            if let Some(file) = open(&self.directory, &next)? {
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
    name: String,
    inode: u64,
}

/// All files, oldest first. Looked at until nothing changes between two looks: a file that moves on meanwhile could be missed.
fn files(directory: &OwnedFd, name: &str, count: u32) -> Result<Vec<Found>> {
    let look = || -> Result<Vec<Found>> {
        let mut found = Vec::new();
        for elder in (0..count).rev() {
            let name = if elder == 0 { name.to_string() } else { format!("{name}.{elder}") };
            match fstatat(directory, name.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
                Ok(stat) => found.push(Found { name, inode: stat.st_ino }),
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
fn open(directory: &OwnedFd, wanted: &Found) -> Result<Option<File>> {
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
    if let Some(file) = at(&wanted.name)? {
        return Ok(Some(file));
    }
    let (name, elder) = match wanted.name.rsplit_once(".log.") {
        Some((name, elder)) => (format!("{name}.log"), elder.parse().unwrap_or(0)),
        None => (wanted.name.clone(), 0u32),
    };
    for moved in elder + 1..elder + 4 {
        if let Some(file) = at(&format!("{name}.{moved}"))? {
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

#[cfg(test)]
mod tests {
    use super::super::{LogWriter, Stream};
    use super::*;
    use std::path::Path;
    use std::time::SystemTime;

    fn directory(path: &Path) -> OwnedFd {
        File::open(path).unwrap().into()
    }

    fn config(max_size: u64, max_file: u32) -> LogConfig {
        LogConfig { driver: Driver::JsonFile, max_size: Some(max_size), max_file, ..LogConfig::default() }
    }

    fn writer(path: &Path, config: &LogConfig) -> LogWriter {
        LogWriter::open(directory(path), "id", "web", config).unwrap()
    }

    fn numbers(reader: &mut LogReader) -> Vec<u32> {
        let lines = std::iter::from_fn(|| reader.next().unwrap());
        lines.map(|line| String::from_utf8(line.text).unwrap().trim().parse().unwrap()).collect()
    }

    #[test]
    fn the_tail_counts_over_all_files() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(1000, 5);
        let mut log = writer(dir.path(), &config);
        (0..50).for_each(|n| log.write(Stream::Stdout, format!("{n}\n").as_bytes(), SystemTime::now()));
        for tail in [0, 1, 7, 20, 49, 50] {
            let mut reader = LogReader::open(directory(dir.path()), "id", &config, Some(tail)).unwrap().unwrap();
            assert_eq!(numbers(&mut reader), (50 - tail as u32..50).collect::<Vec<_>>(), "{tail}");
        }
        let mut reader = LogReader::open(directory(dir.path()), "id", &config, Some(1000)).unwrap().unwrap();
        assert_eq!(numbers(&mut reader).len(), 50);
    }

    #[test]
    fn a_reader_follows_through_rotations() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(300, 20);
        let mut log = writer(dir.path(), &config);
        log.write(Stream::Stdout, b"0\n", SystemTime::now());
        let mut reader = LogReader::open(directory(dir.path()), "id", &config, None).unwrap().unwrap();
        let mut seen = numbers(&mut reader);
        let mut next = 1;
        for burst in [1, 2, 3, 10, 30, 1, 0, 25] {
            for _ in 0..burst {
                log.write(Stream::Stdout, format!("{next}\n").as_bytes(), SystemTime::now());
                next += 1;
            }
            seen.extend(numbers(&mut reader));
        }
        assert_eq!(seen, (0..next).collect::<Vec<_>>());
    }

    #[test]
    fn a_reader_beside_the_writer_misses_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(2000, 2000);
        let mut log = writer(dir.path(), &config);
        log.write(Stream::Stdout, b"0\n", SystemTime::now());
        let mut reader = LogReader::open(directory(dir.path()), "id", &config, None).unwrap().unwrap();
        let writing = std::thread::spawn(move || {
            (1..3000).for_each(|n| log.write(Stream::Stdout, format!("{n}\n").as_bytes(), SystemTime::now()));
        });
        let mut seen = Vec::new();
        while seen.len() < 3000 {
            seen.extend(numbers(&mut reader));
        }
        writing.join().unwrap();
        assert_eq!(seen, (0..3000).collect::<Vec<_>>());
    }

    #[test]
    fn half_a_line_waits_for_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(1 << 20, 1);
        let line = "{\"log\":\"1\\n\",\"stream\":\"stdout\",\"time\":\"T\"}\n";
        let path = dir.path().join("id-json.log");
        std::fs::write(&path, &line[..10]).unwrap();
        let mut reader = LogReader::open(directory(dir.path()), "id", &config, None).unwrap().unwrap();
        assert_eq!(numbers(&mut reader), [] as [u32; 0]);
        let mut file = File::options().append(true).open(&path).unwrap();
        std::io::Write::write_all(&mut file, &line.as_bytes()[10..]).unwrap();
        assert_eq!(numbers(&mut reader), [1]);
    }

    #[test]
    fn without_files_there_is_no_log() {
        let dir = tempfile::tempdir().unwrap();
        assert!(LogReader::open(directory(dir.path()), "id", &config(10, 1), None).unwrap().is_none());
        let none = LogConfig { driver: Driver::None, ..LogConfig::default() };
        assert!(LogReader::open(directory(dir.path()), "id", &none, None).unwrap().is_none());
    }
}
