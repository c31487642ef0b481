//! What may go wrong between us and a registry, and when to try again.

use std::fs::File;
use std::io::{self, Read};
use std::time::Duration;

use anyhow::{Error, Result, anyhow};

use crate::error::Advise;

/// In all, of one document or blob.
const TRIES: u32 = 5;
/// A connection that brings nothing is given up after 10 to 20 seconds; twice is enough to know.
const STALLS: u32 = 2;
/// Before the second try, and twice as long before each further one.
const FIRST_WAIT: Duration = Duration::from_millis(400);
/// A registry that asks for more patience is told to the person instead.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// An error, and what can be done about it.
#[derive(Debug)]
pub struct Fault {
    pub cure: Cure,
    pub error: Error,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cure {
    /// Nothing: it would only happen again.
    None,
    /// Another try, after this time where the registry named one.
    Again(Option<Duration>),
    /// Another try; but each takes long.
    Stalled,
    /// No connection: another endpoint or scheme, perhaps.
    Elsewhere,
}

impl Fault {
    pub fn again(error: Error) -> Fault {
        Fault { cure: Cure::Again(None), error }
    }

    /// Says what was being done.
    pub fn context(self, context: String) -> Fault {
        Fault { error: self.error.context(context), ..self }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault { cure: Cure::None, error }
    }
}

impl From<ureq::Error> for Fault {
    fn from(error: ureq::Error) -> Fault {
        match error {
            ureq::Error::Io(error) => error.into(),
            ureq::Error::Timeout(_) => Fault { cure: Cure::Stalled, error: anyhow!("no answer in time") },
            ureq::Error::Protocol(error) => Fault::again(Error::new(error).context("the answer is not HTTP")),
            ureq::Error::Rustls(error) => tls(&error),
            // The resolver's own words.
            ureq::Error::Other(error) => Fault { cure: Cure::Elsewhere, error: anyhow!("{error:#}") },
            error @ (ureq::Error::HostNotFound | ureq::Error::ConnectionFailed | ureq::Error::Tls(_)) => {
                Fault { cure: Cure::Elsewhere, error: error.into() }
            }
            ureq::Error::ConnectProxyFailed(reason) => Err::<(), _>(anyhow!("the proxy refuses: {reason}"))
                .hint(|| "look at HTTPS_PROXY, HTTP_PROXY and NO_PROXY")
                .unwrap_err()
                .into(),
            error => Error::new(error).into(),
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        use io::ErrorKind as Kind;
        if error.get_ref().is_some_and(|inner| inner.is::<ureq::Error>()) {
            return ureq::Error::from(error).into();
        }
        if let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return tls(inner);
        }
        match error.kind() {
            Kind::ConnectionRefused | Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::AddrNotAvailable => {
                Fault { cure: Cure::Elsewhere, error: error.into() }
            }
            Kind::TimedOut | Kind::WouldBlock => Fault { cure: Cure::Stalled, error: anyhow!("no answer in time") },
            Kind::UnexpectedEof => Fault::again(anyhow!("the connection ended in the middle")),
            Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe => Fault::again(error.into()),
            _ => Error::new(error).into(),
        }
    }
}

fn tls(error: &rustls::Error) -> Fault {
    Fault { cure: Cure::Elsewhere, error: Error::new(error.clone()).context("TLS") }
}

/// What may help where `host` could not be spoken to.
pub fn advice(error: &Error, host: &str) -> String {
    let table = format!("[registries.\"{host}\"]");
    match error.chain().find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(_)) => {
            format!("is the clock right? If you know its certificate: {table} ca = \"FILE\" in ~/.config/rl/config.toml")
        }
        Some(rustls::Error::InvalidMessage(_)) => {
            format!("if it speaks plain http and the network is yours: {table} insecure = true in ~/.config/rl/config.toml")
        }
        _ => format!("curl -v https://{host}/v2/   (behind a proxy: HTTPS_PROXY=http://HOST:PORT)"),
    }
}

/// Runs `attempt` until it succeeds or trying again is of no use. `wait` is told each delay, and why.
pub fn retrying<T>(mut attempt: impl FnMut() -> Result<T, Fault>, wait: impl Fn(Duration, &Error)) -> Result<T, Fault> {
    let mut stalls = 0;
    for tried in 1.. {
        let fault = match attempt() {
            Ok(value) => return Ok(value),
            Err(fault) => fault,
        };
        let delay = match fault.cure {
            Cure::None | Cure::Elsewhere => return Err(fault),
            Cure::Stalled => {
                stalls += 1;
                if stalls == STALLS {
                    return Err(fault);
                }
                Duration::ZERO
            }
            Cure::Again(Some(asked)) if asked > LONGEST_WAIT => {
                return Err(fault.context(format!("asked to come again in {} seconds only", asked.as_secs())));
            }
            Cure::Again(asked) => asked.unwrap_or_default().max(jittered(FIRST_WAIT * 2u32.pow(tried - 1))),
        };
        if tried == TRIES {
            return Err(fault.context(format!("tried {TRIES} times")));
        }
        wait(delay, &fault.error);
    }
    unreachable!("the loop has no end but these")
}

/// From a half to the whole, so that many who failed together do not come again together.
fn jittered(longest: Duration) -> Duration {
    let mut random = [0; 2];
    let _ = File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut random));
    longest / 2 + longest / 2 * u32::from(u16::from_ne_bytes(random)) / u32::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    /// The number of tries and the waits between them.
    fn tries(cures: &[Cure]) -> (usize, Vec<Duration>, bool) {
        let (mut count, waits) = (0, RefCell::new(Vec::new()));
        let attempt = || {
            count += 1;
            match cures.get(count - 1) {
                Some(cure) => Err(Fault { cure: *cure, error: anyhow!("no") }),
                None => Ok(()),
            }
        };
        let ok = retrying(attempt, |delay, _| waits.borrow_mut().push(delay)).is_ok();
        (count, waits.into_inner(), ok)
    }

    #[test]
    fn what_may_pass_is_tried_five_times_with_growing_waits() {
        let (count, waits, ok) = tries(&[Cure::Again(None); 9]);
        assert_eq!((count, ok), (5, false));
        for (number, wait) in waits.iter().enumerate() {
            let longest = FIRST_WAIT * 2u32.pow(number as u32);
            assert!((longest / 2..=longest).contains(wait), "{waits:?}");
        }
        assert_eq!(tries(&[Cure::Again(None); 4]).0, 5);
        assert!(tries(&[Cure::Again(None); 4]).2);
    }

    #[test]
    fn the_registry_s_own_wait_is_kept_unless_it_is_too_long() {
        let second = Duration::from_secs(7);
        let (count, waits, ok) = tries(&[Cure::Again(Some(second))]);
        assert_eq!((count, waits, ok), (2, vec![second], true));
        assert_eq!(tries(&[Cure::Again(Some(Duration::from_secs(61)))]).0, 1);
    }

    #[test]
    fn a_stall_is_tried_twice_and_what_stays_so_once() {
        assert_eq!((tries(&[Cure::Stalled; 3]).0, tries(&[Cure::None]).0, tries(&[Cure::Elsewhere]).0), (2, 1, 1));
    }
}
