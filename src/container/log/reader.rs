//! Any Client's side: the lines of a container's log, oldest first.

use std::os::fd::OwnedFd;

use anyhow::Result;

use super::files::Lines;
use super::line::{Line, decode};
use super::{Driver, LogConfig};

/// A container's log, open for reading.
pub struct LogReader {
    lines: Lines,
    driver: Driver,
}

impl LogReader {
    /// Opens container `id`'s log in its `directory`, before its last `tail` lines or at its beginning. None where there is no log: no
    /// driver that keeps files, or nothing that was ever started with one.
    pub fn open(directory: OwnedFd, id: &str, config: &LogConfig, tail: Option<usize>) -> Result<Option<LogReader>> {
        let Some(name) = config.file_name(id) else { return Ok(None) };
        let lines = Lines::open(directory, &name, config.files(), tail)?;
        Ok(lines.map(|lines| LogReader { lines, driver: config.driver }))
    }

    /// The next line; None where there is none yet.
    pub fn next(&mut self) -> Result<Option<Line>> {
        while let Some(line) = self.lines.next()? {
            // One that is torn is passed over.
            if let Some(line) = decode(self.driver, line) {
                return Ok(Some(line));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LogWriter, Stream};
    use super::*;
    use std::fs::File;
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
        while !writing.is_finished() {
            seen.extend(numbers(&mut reader));
        }
        seen.extend(numbers(&mut reader));
        let gap = seen
            .windows(2)
            .position(|pair| pair[1] != pair[0] + 1)
            .map(|at| &seen[at.saturating_sub(2)..(at + 4).min(seen.len())]);
        assert_eq!(gap, None);
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
