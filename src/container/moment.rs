//! Points in time as Docker's `--since` and `--until` take them: a date, Unix seconds, or how long ago.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

use crate::sys::time;

/// Reads one. Without a zone it is the host's. `now` is what a duration is counted back from.
pub fn parse(text: &str, now: SystemTime) -> Result<SystemTime> {
    let found = match text {
        _ if text.as_bytes().get(4) == Some(&b'-') => date(text),
        _ => unix(text).or_else(|| duration(text).and_then(|ago| now.checked_sub(ago))),
    };
    found.with_context(|| {
        format!("\"{text}\" is no time: want 2026-01-31T12:00:00Z, 2026-01-31, Unix seconds, or 1h30m for that long ago")
    })
}

/// RFC 3339 in UTC with nine decimals: such times sort as text.
pub fn format(time: SystemTime) -> String {
    humantime::format_rfc3339_nanos(time).to_string()
}

fn unix(text: &str) -> Option<SystemTime> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds = seconds.parse().ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanos(fraction)?))
}

/// The digits after the point.
fn nanos(fraction: &str) -> Option<u32> {
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    fraction.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// Go's durations: `1h30m`, `1.5h`, `250ms`.
pub fn duration(text: &str) -> Option<Duration> {
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let letters = rest[digits..].find(|c: char| c.is_ascii_digit() || c == '.').map_or(rest.len(), |at| digits + at);
        total += number
            * match &rest[digits..letters] {
                "ns" => 1e-9,
                "us" | "µs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = &rest[letters..];
    }
    (!text.is_empty()).then(|| Duration::try_from_secs_f64(total).ok())?
}

/// `2026-01-31`, with `T12`, `T12:30`, `T12:30:15.5`, and with `Z` or `+02:00`.
fn date(text: &str) -> Option<SystemTime> {
    let (date, rest) = (text.get(..10)?, text.get(10..)?);
    let mut parts = date.split('-').map(|part| part.parse::<i32>().ok());
    let date = (parts.next()??, parts.next()??, parts.next()??);
    let (clock, zone) = match rest.find(['Z', '+', '-']) {
        Some(at) => (&rest[..at], Some(zone(&rest[at..])?)),
        None => (rest, None),
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut parts = match clock.strip_prefix(['T', ' ']) {
        Some(clock) => clock.split(':').map(|part| part.parse::<i32>().ok().filter(|n| (0..61).contains(n))).collect(),
        None if clock.is_empty() => Vec::new(),
        None => return None,
    };
    if parts.len() > 3 || !(1..13).contains(&date.1) || !(1..32).contains(&date.2) {
        return None;
    }
    parts.resize(3, Some(0));
    let clock = (parts[0].filter(|hour| *hour < 24)?, parts[1]?, parts[2]?);
    let seconds = match zone {
        Some(offset) => days(date) * 86_400 + i64::from(clock.0 * 3600 + clock.1 * 60 + clock.2) - offset,
        None => time::local(date, clock)?,
    };
    SystemTime::UNIX_EPOCH.checked_add(Duration::new(u64::try_from(seconds).ok()?, nanos(fraction)?))
}

/// Seconds east of Greenwich.
fn zone(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    let offset = hours.parse::<i64>().ok().filter(|h| *h < 24)? * 3600 + minutes.parse::<i64>().ok().filter(|m| *m < 60)? * 60;
    Some(if text.starts_with('-') { -offset } else { offset })
}

/// Days since 1970-01-01 of a date in the Gregorian calendar, counted from March so that the leap day comes last.
fn days((year, month, day): (i32, i32, i32)) -> i64 {
    let year = i64::from(if month <= 2 { year - 1 } else { year });
    let of_year = (153 * i64::from((month + 9) % 12) + 2) / 5 + i64::from(day) - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seconds(text: &str) -> f64 {
        parse(text, SystemTime::UNIX_EPOCH + Duration::from_secs(10_000))
            .unwrap()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs_f64()
    }

    #[test]
    fn every_form_of_dockers_is_understood() {
        for (text, wanted) in [
            ("1136073600", 1_136_073_600.0),
            ("1136073600.5", 1_136_073_600.5),
            ("2006-01-02T15:04:05Z", 1_136_214_245.0),
            ("2006-01-02T15:04:05.25Z", 1_136_214_245.25),
            ("2006-01-02T15:04:05+02:00", 1_136_207_045.0),
            ("2006-01-02T15:04Z", 1_136_214_240.0),
            ("2006-01-02T15Z", 1_136_214_000.0),
            ("2006-01-02Z", 1_136_160_000.0),
            ("2000-02-29Z", 951_782_400.0),
            ("1h30m", 10_000.0 - 5400.0),
            ("1.5h", 10_000.0 - 5400.0),
            ("250ms", 9_999.75),
        ] {
            assert_eq!(seconds(text), wanted, "{text}");
        }
        // In whatever zone this runs.
        assert!((seconds("2006-01-02T15:04:05") - 1_136_214_245.0).abs() <= 14.0 * 3600.0);
        assert!((seconds("2006-01-02") - 1_136_160_000.0).abs() <= 14.0 * 3600.0);
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "yesterday",
            "1x",
            "h",
            "2006-13-02",
            "2006-01-02T25",
            "2006-01-02T15:04:05:06",
            "2006-01-02x",
            "-1",
            "1..2",
            "999999999999999999999",
        ] {
            assert!(parse(text, SystemTime::now()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in r"[0-9a-zT:Z+. µ-]{0,30}") {
            let _ = parse(&text, SystemTime::now());
        }

        #[test]
        fn what_is_printed_is_read_back(seconds in 0u64..4_000_000_000, nanos in 0u32..1_000_000_000) {
            let time = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos);
            prop_assert_eq!(parse(&format(time), SystemTime::now()).unwrap(), time);
        }
    }
}
