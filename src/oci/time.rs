//! Times as image documents have them: RFC 3339, with any offset.

use std::time::{Duration, SystemTime};

/// Reads `2026-05-22T18:18:12.5Z` or `…+02:00`. None: no such time, or the zero time of Go (year 1), which means that nobody knows.
pub fn parse(text: &str) -> Option<SystemTime> {
    let at = text.rfind(['Z', 'z', '+', '-']).filter(|&at| at > "2026-05-22".len())?;
    let (local, zone) = text.split_at(at);
    let local = humantime::parse_rfc3339(&format!("{}Z", local.replace('t', "T"))).ok()?;
    if zone.eq_ignore_ascii_case("z") {
        return Some(local);
    }
    let (hours, minutes) = zone[1..].split_once(':')?;
    let number = |digits: &str| digits.parse::<u64>().ok().filter(|_| digits.len() == 2);
    let offset = Duration::from_secs(number(hours)? * 3600 + number(minutes)? * 60);
    if zone.starts_with('+') { local.checked_sub(offset) } else { local.checked_add(offset) }
}

/// `2026-05-22 18:18:12 +0000 UTC`, as Docker shows times.
pub fn shown(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string().replace('T', " ").replace('Z', " +0000 UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_taken_off() {
        let utc = parse("2026-05-22T18:18:12.5Z").unwrap();
        for same in ["2026-05-22T20:18:12.5+02:00", "2026-05-22T12:48:12.5-05:30", "2026-05-22t18:18:12.5z"] {
            assert_eq!(parse(same), Some(utc), "{same}");
        }
        assert_eq!(shown(utc), "2026-05-22 18:18:12 +0000 UTC");
    }

    #[test]
    fn what_is_no_time_is_none() {
        for bad in ["", "Z", "2026-05-22", "0001-01-01T00:00:00Z", "2026-05-22T18:18:12", "2026-05-22T18:18:12+0200", "é+02:00"]
        {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
