//! Reading ahead: a layer is read, hashed and inflated in a thread of its own, while the one before works on what came of it.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::thread;

const BUFFER: usize = 256 << 10;
/// As many buffers may be full: what one thread gets ahead while the other creates a directory full of small files.
const BUFFERS: usize = 8;

/// The end of the stream, read by another thread.
pub struct Ahead {
    full: Receiver<Vec<u8>>,
    empty: Sender<Vec<u8>>,
    current: Vec<u8>,
    at: usize,
    ended: bool,
}

/// What has become of a source: it, and why it could not be read to its end.
pub struct Source<R> {
    pub source: R,
    pub failed: Option<io::Error>,
}

/// Gives `consume` what `source` yields. When `consume` returns, no more is read.
pub fn read_ahead<R: Read + Send, T>(source: R, consume: impl FnOnce(&mut Ahead) -> T) -> (T, Source<R>) {
    thread::scope(|scope| {
        let (fill, full) = sync_channel(BUFFERS);
        let (empty, emptied) = channel::<Vec<u8>>();
        let reader = scope.spawn(move || {
            let mut source = source;
            loop {
                let mut buffer = emptied.try_recv().unwrap_or_default();
                buffer.resize(BUFFER, 0);
                match read_full(&mut source, &mut buffer) {
                    Err(error) => return Source { source, failed: Some(error) },
                    Ok(n) => buffer.truncate(n),
                }
                // An empty one is the end.
                let ended = buffer.is_empty();
                if fill.send(buffer).is_err() || ended {
                    return Source { source, failed: None };
                }
            }
        });
        let mut ahead = Ahead { full, empty, current: Vec::new(), at: 0, ended: false };
        let consumed = consume(&mut ahead);
        drop(ahead);
        match reader.join() {
            Ok(source) => (consumed, source),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// As much as there is room for; less only at the end.
fn read_full(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

impl Ahead {
    fn next(&mut self) -> io::Result<()> {
        // Its sender leaves without an end when it has failed, and says why itself.
        let next = self.full.recv().map_err(|_| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        self.ended = next.is_empty();
        let used = std::mem::replace(&mut self.current, next);
        self.at = 0;
        if used.capacity() > 0 {
            // Nobody needs it at the end.
            let _ = self.empty.send(used);
        }
        Ok(())
    }
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.current.len() && !self.ended {
            self.next()?;
        }
        let n = buffer.len().min(self.current.len() - self.at);
        buffer[..n].copy_from_slice(&self.current[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_arrives_in_order_and_the_source_comes_back() {
        let bytes: Vec<u8> = (0..3_000_001u32).map(|n| (n % 251) as u8).collect();
        let (copy, end) = read_ahead(&bytes[..], |ahead| {
            let mut copy = Vec::new();
            ahead.read_to_end(&mut copy).map(|_| copy)
        });
        assert_eq!(copy.unwrap(), bytes);
        assert!(end.source.is_empty() && end.failed.is_none());
        assert_eq!(read_ahead(&b""[..], |ahead| ahead.read(&mut [0]).unwrap()).0, 0);
    }

    #[test]
    fn who_stops_reading_stops_the_source() {
        let (first, end) = read_ahead(io::repeat(7), |ahead| {
            let mut first = [0; 10];
            ahead.read_exact(&mut first).map(|()| first)
        });
        assert_eq!(first.unwrap(), [7; 10]);
        assert!(end.failed.is_none());
    }

    #[test]
    fn a_failure_is_no_end() {
        struct Failing;
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("broken"))
            }
        }
        let (read, end) = read_ahead((&b"abc"[..]).chain(Failing), |ahead| ahead.read_to_end(&mut Vec::new()));
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(end.failed.unwrap().to_string(), "broken");
    }
}
