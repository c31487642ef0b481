//! What a cgroup has used, from its files. Parsers are pure; a file that is missing or says something else counts as nothing.

use std::os::fd::BorrowedFd;

use serde::Serialize;

use super::tree;

/// One look at a cgroup. Times in microseconds, sizes in bytes.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Sample {
    pub cpu_usec: u64,
    /// Without the file cache that can be given up at once, as Docker counts it (memory.current - inactive_file).
    pub memory: Option<u64>,
    /// None: no limit.
    pub memory_limit: Option<u64>,
    pub pids: Option<u64>,
    pub pids_limit: Option<u64>,
    pub block_read: u64,
    pub block_write: u64,
    /// Share of time in which something stalled, of the last ten seconds (PSI, `some avg10`), in percent.
    pub cpu_pressure: Option<f64>,
    pub memory_pressure: Option<f64>,
    pub io_pressure: Option<f64>,
}

/// Reads the payload's cgroup; what no controller counts there is read from `around`, the container's whole scope.
pub fn sample(payload: BorrowedFd, around: BorrowedFd) -> Sample {
    let read = |name: &str| tree::read(payload, name).or_else(|_| tree::read(around, name)).ok();
    let number = |name: &str| read(name).and_then(|text| text.trim().parse::<u64>().ok());
    let inactive = read("memory.stat").and_then(|text| value(&text, "inactive_file")).unwrap_or(0);
    let (block_read, block_write) = read("io.stat").map_or((0, 0), |text| block(&text));
    let pressure = |name: &str| read(name).and_then(|text| some_avg10(&text));
    Sample {
        cpu_usec: read("cpu.stat").and_then(|text| value(&text, "usage_usec")).unwrap_or(0),
        memory: number("memory.current").map(|all| all.saturating_sub(inactive)),
        memory_limit: number("memory.max"),
        // Around the payload there are Monitor and the network's helper.
        pids: tree::read(payload, "pids.current")
            .ok()
            .map_or_else(|| Some(tree::tasks(payload, 0)), |text| text.trim().parse().ok()),
        pids_limit: number("pids.max"),
        block_read,
        block_write,
        cpu_pressure: pressure("cpu.pressure"),
        memory_pressure: pressure("memory.pressure"),
        io_pressure: pressure("io.pressure"),
    }
}

/// The number beside `key` in a flat-keyed file.
pub fn value(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Bytes read and written over all devices (io.stat).
fn block(text: &str) -> (u64, u64) {
    let sum = |key: &str| {
        let number = |word: &str| word.strip_prefix(key)?.strip_prefix('=')?.parse::<u64>().ok();
        text.split_whitespace().filter_map(number).fold(0, u64::saturating_add)
    };
    (sum("rbytes"), sum("wbytes"))
}

/// `some avg10=1.23 …` of a pressure file.
fn some_avg10(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("some "))?;
    line.split_whitespace().find_map(|word| word.strip_prefix("avg10=")?.parse().ok())
}

/// Bytes received and sent over all interfaces but the loopback, from `/proc/PID/net/dev`.
pub fn network(text: &str) -> (u64, u64) {
    let mut total = (0u64, 0u64);
    for line in text.lines() {
        let Some((name, counters)) = line.split_once(':') else { continue };
        if name.trim() == "lo" {
            continue;
        }
        let counters: Vec<u64> = counters.split_whitespace().map_while(|n| n.parse().ok()).collect();
        if let (Some(received), Some(sent)) = (counters.first(), counters.get(8)) {
            total = (total.0.saturating_add(*received), total.1.saturating_add(*sent));
        }
    }
    total
}

/// `MemTotal` of /proc/meminfo, in bytes.
pub fn mem_total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn counters_are_found_by_their_whole_name() {
        let text = "oom 3\noom_kill 2\noom_group_kill 9\n";
        assert_eq!((value(text, "oom_kill"), value(text, "oom"), value(text, "nothing")), (Some(2), Some(3), None));
    }

    #[test]
    fn devices_add_up() {
        let text = "8:0 rbytes=10 wbytes=1 rios=1 wios=1 dbytes=0 dios=0\n8:16 rbytes=5 wbytes=2 rios=9\n";
        assert_eq!(block(text), (15, 3));
    }

    #[test]
    fn pressure_is_the_share_of_the_last_ten_seconds() {
        let text = "some avg10=1.25 avg60=0.50 avg300=0.10 total=12\nfull avg10=9.00 avg60=0 avg300=0 total=1\n";
        assert_eq!(some_avg10(text), Some(1.25));
    }

    #[test]
    fn traffic_is_without_the_loopback() {
        let text = "Inter-| Receive | Transmit\n face |bytes packets|bytes\n    lo: 99 1 0 0 0 0 0 0 99 1 0 0 0 0 0 0\n  eth0: 7 1 0 0 0 0 0 0 8 1 0 0 0 0 0 0\n";
        assert_eq!(network(text), (7, 8));
    }

    #[test]
    fn the_machines_memory_is_in_bytes() {
        assert_eq!(mem_total("MemTotal:        2048 kB\nMemFree: 1 kB\n"), Some(2 << 20));
    }

    proptest! {
        #[test]
        fn no_file_panics(text in "[a-z0-9:=. \\n]{0,80}") {
            let _ = (value(&text, "a"), block(&text), some_avg10(&text), network(&text), mem_total(&text));
        }
    }
}
