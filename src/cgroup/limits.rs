//! From the runtime-spec's resources to files of cgroup v2 and what is written there. Pure.

use anyhow::{Result, bail};

use crate::oci::runtime::{BlockIo, Cpu, Memory, Resources, ThrottleDevice};

/// Processes and threads of a container that nobody gave a limit (podman's default; Docker has none).
pub const DEFAULT_PIDS: i64 = 2048;

/// The kernel's default for cpu.max, in microseconds.
const CPU_PERIOD: u64 = 100_000;

/// One write to one file of a cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    pub file: String,
    pub value: String,
    pub absent: Absent,
}

/// What to do where the kernel has no such file although the controller is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Absent {
    /// The limit was asked for: that is a failure.
    Fail,
    /// Nobody asked for it by name.
    Skip,
    /// Another file means the same.
    Write { file: String, value: String },
}

impl Setting {
    fn new(file: &str, value: impl ToString) -> Setting {
        Setting { file: file.into(), value: value.to_string(), absent: Absent::Fail }
    }

    /// The controller that the file belongs to: `memory` of `memory.max`.
    pub fn controller(&self) -> &str {
        self.file.split('.').next().unwrap_or_default()
    }
}

/// The writes for everything that was asked for, in an order in which the kernel takes them.
pub fn settings(resources: &Resources) -> Result<Vec<Setting>> {
    let mut settings = memory(&resources.memory)?;
    settings.extend(cpu(&resources.cpu));
    settings.extend(resources.pids.as_ref().map(|pids| Setting::new("pids.max", or_max(pids.limit))));
    settings.extend(block_io(&resources.block_io));
    for (file, value) in &resources.unified {
        check_unified(file)?;
        settings.push(Setting::new(file, value));
    }
    Ok(settings)
}

/// What of `new` is not so already under `old`. A limit that is named no more goes back to the kernel's default.
pub fn changes(old: &Resources, new: &Resources) -> Result<Vec<Setting>> {
    let old = settings(old)?;
    Ok(settings(new)?.into_iter().filter(|setting| !old.contains(setting)).collect())
}

/// The controllers that these settings need, each once.
pub fn controllers(settings: &[Setting]) -> Vec<&str> {
    let mut names: Vec<&str> = settings.iter().map(Setting::controller).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Zero and below is no limit, as Docker has it.
fn or_max(limit: i64) -> String {
    if limit > 0 { limit.to_string() } else { "max".into() }
}

fn memory(memory: &Memory) -> Result<Vec<Setting>> {
    let mut settings = Vec::new();
    settings.extend(memory.limit.map(|limit| Setting::new("memory.max", or_max(limit))));
    settings.extend(memory.reservation.map(|low| Setting::new("memory.low", low.max(0))));
    if let Some(total) = memory.swap {
        let limit = memory.limit.filter(|limit| *limit > 0);
        // v1 and Docker count memory and swap together, v2 swap alone.
        let value = match (total, limit) {
            (..=0, _) => "max".to_string(),
            (total, Some(limit)) if total >= limit => (total - limit).to_string(),
            _ => bail!("a limit of memory and swap needs a smaller one of memory"),
        };
        // Twice the memory is what was never asked for but follows from `-m` alone.
        let absent = if limit.is_some_and(|limit| limit.checked_mul(2) == Some(total)) { Absent::Skip } else { Absent::Fail };
        settings.push(Setting { absent, ..Setting::new("memory.swap.max", value) });
    }
    Ok(settings)
}

fn cpu(cpu: &Cpu) -> Vec<Setting> {
    let mut settings = Vec::new();
    settings.extend(cpu.shares.filter(|shares| *shares > 0).map(|shares| Setting::new("cpu.weight", weight_of_shares(shares))));
    if cpu.quota.is_some() || cpu.period.is_some() {
        let period = cpu.period.filter(|period| *period > 0).unwrap_or(CPU_PERIOD);
        settings.push(Setting::new("cpu.max", format!("{} {period}", or_max(cpu.quota.unwrap_or(-1)))));
    }
    settings.extend(cpu.cpus.as_ref().map(|cpus| Setting::new("cpuset.cpus", cpus)));
    settings.extend(cpu.mems.as_ref().map(|mems| Setting::new("cpuset.mems", mems)));
    settings
}

/// Docker's conversion (opencontainers/cgroups): 2, 1024 and 262144 shares are the weights 1, 100 and 10000; between them the
/// exponent is quadratic.
pub fn weight_of_shares(shares: u64) -> u64 {
    match shares {
        ..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let l = (shares as f64).log2();
            10f64.powf((l * l + 125.0 * l) / 612.0 - 7.0 / 34.0).ceil() as u64
        }
    }
}

/// 10 to 1000 of v1 and of BFQ onto 1 to 10000 of v2, in a line.
fn io_weight(weight: u16) -> u64 {
    1 + u64::from(weight.clamp(10, 1000) - 10) * 9999 / 990
}

fn block_io(io: &BlockIo) -> Vec<Setting> {
    // BFQ has its own file, and where it is used that one counts.
    let weight = |device: &str, weight: u16| Setting {
        absent: Absent::Write { file: "io.weight".into(), value: format!("{device} {}", io_weight(weight)) },
        ..Setting::new("io.bfq.weight", format!("{device} {weight}"))
    };
    let mut settings: Vec<Setting> = io.weight.iter().map(|w| weight("default", *w)).collect();
    settings.extend(io.weight_device.iter().map(|d| weight(&format!("{}:{}", d.major, d.minor), d.weight)));
    let kinds = [
        ("rbps", &io.throttle_read_bps_device),
        ("wbps", &io.throttle_write_bps_device),
        ("riops", &io.throttle_read_iops_device),
        ("wiops", &io.throttle_write_iops_device),
    ];
    let throttle = |key: &str, d: &ThrottleDevice| {
        let rate = if d.rate > 0 { d.rate.to_string() } else { "max".into() };
        Setting::new("io.max", format!("{}:{} {key}={rate}", d.major, d.minor))
    };
    settings.extend(kinds.iter().flat_map(|(key, devices)| devices.iter().map(|d| throttle(key, d))));
    settings
}

/// A file of a controller; the cgroup's own files (`cgroup.procs`) are ours.
fn check_unified(file: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let (controller, rest) = file.split_once('.').unwrap_or((file, ""));
    if controller.is_empty() || rest.is_empty() || controller == "cgroup" || !file.chars().all(plain) {
        bail!("\"{file}\" is not a file of a cgroup v2 controller, such as memory.high");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::runtime::{Pids, WeightDevice};
    use proptest::prelude::*;

    fn written(resources: &Resources) -> Vec<(String, String)> {
        settings(resources).unwrap().into_iter().map(|s| (s.file, s.value)).collect()
    }

    fn pair(file: &str, value: &str) -> (String, String) {
        (file.into(), value.into())
    }

    #[test]
    fn nothing_asked_is_nothing_written() {
        assert_eq!(settings(&Resources::default()).unwrap(), []);
    }

    #[test]
    fn swap_is_counted_without_the_memory() {
        let of = |limit, swap| written(&Resources { memory: Memory { limit, swap, reservation: None }, ..Default::default() });
        assert_eq!(of(Some(100), Some(300)), [pair("memory.max", "100"), pair("memory.swap.max", "200")]);
        assert_eq!(of(Some(100), Some(100)), [pair("memory.max", "100"), pair("memory.swap.max", "0")]);
        assert_eq!(of(Some(100), Some(-1))[1], pair("memory.swap.max", "max"));
        assert_eq!(of(Some(-1), None), [pair("memory.max", "max")]);
        let bad = Memory { limit: Some(100), swap: Some(50), reservation: None };
        assert!(settings(&Resources { memory: bad, ..Default::default() }).is_err());
    }

    #[test]
    fn the_swap_that_follows_from_memory_alone_may_be_missing_in_the_kernel() {
        let of = |swap| {
            let memory = Memory { limit: Some(100), swap: Some(swap), reservation: None };
            settings(&Resources { memory, ..Default::default() }).unwrap()[1].absent.clone()
        };
        assert_eq!((of(200), of(150)), (Absent::Skip, Absent::Fail));
    }

    #[test]
    fn shares_become_weights_as_dockers() {
        for (shares, weight) in [(0, 1), (2, 1), (1024, 100), (512, 59), (2048, 174), (262_144, 10_000), (u64::MAX, 10_000)] {
            assert_eq!(weight_of_shares(shares), weight, "{shares}");
        }
    }

    #[test]
    fn a_quota_has_a_period_and_a_period_alone_no_quota() {
        let of = |quota, period| written(&Resources { cpu: Cpu { quota, period, ..Cpu::default() }, ..Default::default() });
        assert_eq!(of(Some(50_000), None), [pair("cpu.max", "50000 100000")]);
        assert_eq!(of(Some(-1), None), [pair("cpu.max", "max 100000")]);
        assert_eq!(of(None, Some(20_000)), [pair("cpu.max", "max 20000")]);
    }

    #[test]
    fn devices_are_limited_by_number_one_write_each() {
        let device = |rate| vec![ThrottleDevice { major: 8, minor: 16, rate }];
        let block_io = BlockIo {
            weight: Some(10),
            weight_device: vec![WeightDevice { major: 8, minor: 0, weight: 1000 }],
            throttle_read_iops_device: device(5),
            throttle_write_bps_device: device(1 << 20),
            ..BlockIo::default()
        };
        let settings = settings(&Resources { block_io, ..Default::default() }).unwrap();
        let written: Vec<_> = settings.iter().map(|s| (s.file.as_str(), s.value.as_str())).collect();
        let weights = [("io.bfq.weight", "default 10"), ("io.bfq.weight", "8:0 1000")];
        assert_eq!(written, [&weights[..], &[("io.max", "8:16 wbps=1048576"), ("io.max", "8:16 riops=5")]].concat());
        assert_eq!(settings[1].absent, Absent::Write { file: "io.weight".into(), value: "8:0 10000".into() });
        assert_eq!(controllers(&settings), ["io"]);
    }

    #[test]
    fn only_files_of_controllers_may_be_named() {
        let of = |file: &str| {
            settings(&Resources { unified: [(file.to_string(), "1".to_string())].into(), ..Default::default() }).is_ok()
        };
        assert!(of("memory.high") && of("memory.oom.group"));
        for bad in ["", "memory", "cgroup.procs", "../memory.max", "memory.", ".max", "a/b.c"] {
            assert!(!of(bad), "{bad}");
        }
    }

    #[test]
    fn an_update_writes_only_what_differs() {
        let of = |limit, pids| Resources {
            memory: Memory { limit: Some(limit), swap: None, reservation: None },
            pids: Some(Pids { limit: pids }),
            ..Default::default()
        };
        let changed = changes(&of(100, 5), &of(100, 6)).unwrap();
        assert_eq!(changed, [Setting::new("pids.max", 6)]);
    }

    proptest! {
        #[test]
        fn weights_stay_in_range_and_in_order(a in 0u64..300_000, b in 0u64..300_000) {
            let (low, high) = (weight_of_shares(a.min(b)), weight_of_shares(a.max(b)));
            prop_assert!(1 <= low && low <= high && high <= 10_000);
        }

        #[test]
        fn no_resources_panic(limit: Option<i64>, swap: Option<i64>, quota: Option<i64>, period: Option<u64>, shares: Option<u64>, weight: Option<u16>) {
            let resources = Resources {
                memory: Memory { limit, swap, reservation: limit },
                cpu: Cpu { quota, period, shares, ..Cpu::default() },
                block_io: BlockIo { weight, ..BlockIo::default() },
                ..Default::default()
            };
            let _ = settings(&resources);
        }
    }
}
