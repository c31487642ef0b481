//! Monitor's side: output as it comes, cut into lines, appended in one write(2) for each piece of output.
//!
//! By directory descriptor only, since Monitor has no paths. What cannot be written (a full disk) is lost and the payload runs on; a line
//! that was torn by that, or by a death, ends before the next begins.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::SystemTime;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::files::aside;
use super::journald::Journal;
use super::line::encode;
use super::{Driver, LONGEST, LogConfig, Stream};

/// A container's log, open for writing.
#[derive(Debug)]
pub struct LogWriter {
    target: Target,
    /// Read, and no newline yet: stdout's and stderr's.
    pending: [Vec<u8>; 2],
    /// What goes into the file next.
    batch: Vec<u8>,
}

#[derive(Debug)]
enum Target {
    Nowhere,
    Journal(Journal),
    Files(Files),
}

/// The current file and where its elders are.
#[derive(Debug)]
struct Files {
    directory: OwnedFd,
    name: String,
    file: OwnedFd,
    size: u64,
    /// Its last byte is not the end of a line.
    torn: bool,
    driver: Driver,
    max_size: u64,
    count: u32,
    /// As JSON, or empty.
    attributes: String,
}

impl LogWriter {
    /// Opens container `id`'s log in its `directory`, to continue what is there. For the journal this must happen while the host's mounts
    /// can still be seen.
    pub fn open(directory: OwnedFd, id: &str, name: &str, config: &LogConfig) -> Result<LogWriter> {
        let target = match config.file_name(id) {
            Some(file) => Target::Files(Files::open(directory, file, config)?),
            None if config.driver == Driver::Journald => Target::Journal(Journal::open(id, name, config)?),
            None => Target::Nowhere,
        };
        Ok(LogWriter { target, pending: Default::default(), batch: Vec::new() })
    }

    /// Appends what the payload has just written.
    pub fn write(&mut self, stream: Stream, bytes: &[u8], now: SystemTime) {
        if matches!(self.target, Target::Nowhere) {
            return;
        }
        let time = humantime::format_rfc3339_nanos(now).to_string();
        let mut pending = std::mem::take(&mut self.pending[stream as usize]);
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = (&rest[..at], &rest[at + 1..]);
            if pending.is_empty() {
                self.line(stream, line, true, &time);
            } else {
                pending.extend_from_slice(line);
                self.line(stream, &pending, true, &time);
                pending.clear();
            }
            rest = after;
        }
        pending.extend_from_slice(rest);
        while pending.len() > LONGEST {
            let cut = cut(&pending);
            self.piece(stream, &pending[..cut], false, &time);
            pending.drain(..cut);
        }
        self.pending[stream as usize] = pending;
        self.flush();
    }

    /// The payload has ended: what it left without a newline is a line too.
    pub fn finish(&mut self, now: SystemTime) {
        let time = humantime::format_rfc3339_nanos(now).to_string();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let pending = std::mem::take(&mut self.pending[stream as usize]);
            if !pending.is_empty() {
                self.piece(stream, &pending, false, &time);
            }
        }
        self.flush();
    }

    /// One line, in pieces where it is too long.
    fn line(&mut self, stream: Stream, line: &[u8], whole: bool, time: &str) {
        let mut rest = line;
        while rest.len() > LONGEST {
            let (piece, after) = rest.split_at(cut(rest));
            self.piece(stream, piece, false, time);
            rest = after;
        }
        self.piece(stream, rest, whole, time);
    }

    fn piece(&mut self, stream: Stream, text: &[u8], whole: bool, time: &str) {
        match &mut self.target {
            Target::Nowhere => {}
            Target::Journal(journal) => journal.send(stream, text, whole),
            Target::Files(files) => {
                let before = self.batch.len();
                encode(files.driver, &mut self.batch, text, whole, stream, time, &files.attributes);
                // A file's first line is written however long it is.
                if files.size + self.batch.len() as u64 > files.max_size && files.size + before as u64 > 0 {
                    files.append(&self.batch[..before]);
                    self.batch.drain(..before);
                    files.rotate();
                }
            }
        }
    }

    fn flush(&mut self) {
        if let Target::Files(files) = &mut self.target {
            files.append(&self.batch);
            self.batch.clear();
        }
    }
}

/// Where a line that is too long is cut: never within a character.
fn cut(text: &[u8]) -> usize {
    let continues = |at: usize| text.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
    (LONGEST - 3..=LONGEST).rev().find(|at| !continues(*at)).unwrap_or(LONGEST)
}

impl Files {
    fn open(directory: OwnedFd, name: String, config: &LogConfig) -> Result<Files> {
        let file = create(&directory, &name, OFlag::empty()).with_context(|| format!("cannot open the log {name}"))?;
        let size = fstat(&file).with_context(|| format!("cannot read the log {name}"))?.st_size as u64;
        let attributes = match config.attributes.is_empty() {
            true => String::new(),
            false => serde_json::to_string(&config.attributes)?,
        };
        let mut last = [b'\n'];
        let torn = size > 0 && nix::sys::uio::pread(&file, &mut last, size as i64 - 1).is_ok() && last != *b"\n";
        Ok(Files {
            directory,
            name,
            file,
            size,
            torn,
            driver: config.driver,
            max_size: config.max_size.unwrap_or(u64::MAX),
            count: config.files(),
            attributes,
        })
    }

    fn append(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.torn && self.write_all(b"\n").is_err() {
            return;
        }
        self.torn = false;
        self.torn = self.write_all(bytes).is_err();
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match nix::unistd::write(&self.file, bytes) {
                Ok(written) => {
                    self.size += written as u64;
                    bytes = &bytes[written..];
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Puts the current file aside as `.1`, after the elders have made room. Where that fails, the old file goes on.
    fn rotate(&mut self) {
        for elder in (1..self.count).rev() {
            let (from, to) = (aside(&self.name, elder - 1), aside(&self.name, elder));
            match renameat(&self.directory, from.as_str(), &self.directory, to.as_str()) {
                Ok(()) | Err(Errno::ENOENT) => {}
                // The next would take its place.
                Err(_) => return,
            }
        }
        if self.count == 1 {
            let _ = unlinkat(&self.directory, self.name.as_str(), UnlinkatFlags::NoRemoveDir);
        }
        if let Ok(file) = create(&self.directory, &self.name, OFlag::O_EXCL) {
            (self.file, self.size, self.torn) = (file, 0, false);
        }
    }
}

fn create(directory: &OwnedFd, name: &str, flags: OFlag) -> io::Result<OwnedFd> {
    let flags = flags | OFlag::O_RDWR | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(openat(directory.as_fd(), name, flags, Mode::from_bits_truncate(0o600))?)
}

#[cfg(test)]
mod tests {
    use super::super::reader::LogReader;
    use super::*;
    use proptest::prelude::*;
    use std::fs::{self, File};
    use std::path::Path;
    use std::time::Duration;

    fn directory(path: &Path) -> OwnedFd {
        File::open(path).unwrap().into()
    }

    fn config(driver: Driver, max_size: Option<u64>, max_file: u32) -> LogConfig {
        LogConfig { driver, max_size, max_file, ..LogConfig::default() }
    }

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn read(path: &Path, config: &LogConfig) -> Vec<(Stream, Vec<u8>)> {
        let mut reader = LogReader::open(directory(path), "id", config, None).unwrap().unwrap();
        std::iter::from_fn(|| reader.next().unwrap()).map(|line| (line.stream, line.text)).collect()
    }

    #[test]
    fn lines_come_back_as_they_were_written() {
        for driver in [Driver::JsonFile, Driver::Local] {
            let dir = tempfile::tempdir().unwrap();
            let config = config(driver, None, 0);
            let mut log = LogWriter::open(directory(dir.path()), "id", "web", &config).unwrap();
            log.write(Stream::Stdout, b"one\ntw", now());
            log.write(Stream::Stderr, b"error\n", now());
            log.write(Stream::Stdout, b"o\n\nlast", now());
            log.finish(now());
            drop(log);
            let mut log = LogWriter::open(directory(dir.path()), "id", "web", &config).unwrap();
            log.write(Stream::Stdout, b"again\n", now());
            let wanted: [(Stream, &[u8]); 6] = [
                (Stream::Stdout, b"one\n"),
                (Stream::Stderr, b"error\n"),
                (Stream::Stdout, b"two\n"),
                (Stream::Stdout, b"\n"),
                (Stream::Stdout, b"last"),
                (Stream::Stdout, b"again\n"),
            ];
            assert_eq!(read(dir.path(), &config), wanted.map(|(stream, text)| (stream, text.to_vec())));
        }
    }

    #[test]
    fn no_line_is_split_unless_it_is_too_long() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(Driver::JsonFile, None, 0);
        let mut log = LogWriter::open(directory(dir.path()), "id", "web", &config).unwrap();
        let fits = "x".repeat(LONGEST);
        let long = format!("{}é{}", "y".repeat(LONGEST - 1), "z".repeat(10));
        for part in format!("{fits}\n{long}\n").as_bytes().chunks(1000) {
            log.write(Stream::Stdout, part, now());
        }
        let lines: Vec<String> =
            read(dir.path(), &config).into_iter().map(|(_, text)| String::from_utf8(text).unwrap()).collect();
        assert_eq!(lines[0], format!("{fits}\n"));
        assert_eq!(lines.len(), 3, "and never within a character");
        assert_eq!(lines[1..].concat(), format!("{long}\n"));
    }

    #[test]
    fn files_rotate_and_no_more_are_kept_than_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(Driver::Local, Some(1000), 3);
        let mut log = LogWriter::open(directory(dir.path()), "id", "web", &config).unwrap();
        for n in 0..200 {
            log.write(Stream::Stdout, format!("line {n}\n").as_bytes(), now());
        }
        let mut names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["container.log", "container.log.1", "container.log.2"]);
        assert!(names.iter().all(|name| fs::metadata(dir.path().join(name)).unwrap().len() <= 1000));
        let lines = read(dir.path(), &config);
        let first: usize = std::str::from_utf8(&lines[0].1).unwrap().trim().strip_prefix("line ").unwrap().parse().unwrap();
        let wanted: Vec<_> = (first..200).map(|n| (Stream::Stdout, format!("line {n}\n").into_bytes())).collect();
        assert_eq!(lines, wanted, "the newest, in order, with no gap");
        assert!(lines.len() > 40);
    }

    #[test]
    fn one_file_alone_starts_anew() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(Driver::JsonFile, Some(500), 1);
        let mut log = LogWriter::open(directory(dir.path()), "id", "web", &config).unwrap();
        log.write(Stream::Stdout, "a line of some length\n".repeat(40).as_bytes(), now());
        log.write(Stream::Stdout, b"the last\n", now());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(fs::metadata(dir.path().join("id-json.log")).unwrap().len() <= 500);
        assert_eq!(read(dir.path(), &config).last().unwrap().1, b"the last\n");
    }

    #[test]
    fn a_torn_line_spoils_no_other() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("id-json.log"), "{\"log\":\"kept\\n\",\"stream\":\"stdout\",\"time\":\"T\"}\n{\"log\":\"to")
            .unwrap();
        let config = config(Driver::JsonFile, None, 0);
        let mut log = LogWriter::open(directory(dir.path()), "id", "web", &config).unwrap();
        log.write(Stream::Stdout, b"next\n", now());
        let lines: Vec<_> = read(dir.path(), &config).into_iter().map(|(_, text)| text).collect();
        assert_eq!(lines, [b"kept\n", b"next\n"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn nothing_is_lost_however_the_output_is_cut(
            pieces in prop::collection::vec((any::<bool>(), prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..40)), 0..40),
            max_size in prop_oneof![Just(None), (100u64..2000).prop_map(Some)],
        ) {
            let dir = tempfile::tempdir().unwrap();
            let config = config(Driver::Local, max_size, 1000);
            let mut log = LogWriter::open(directory(dir.path()), "id", "web", &config).unwrap();
            let mut wanted: [Vec<u8>; 2] = Default::default();
            for (stdout, bytes) in &pieces {
                let stream = if *stdout { Stream::Stdout } else { Stream::Stderr };
                wanted[stream as usize].extend(bytes);
                log.write(stream, bytes, now());
            }
            log.finish(now());
            let mut found: [Vec<u8>; 2] = Default::default();
            for (stream, text) in read(dir.path(), &config) {
                found[stream as usize].extend(text);
            }
            prop_assert_eq!(found, wanted);
        }
    }
}
