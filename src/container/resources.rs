//! The flags of `run`, `create` and `update` that limit what a container may use, into the runtime-spec's resources: Docker's rules.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;

use super::parse;
use crate::oci::runtime::{BlockIo, Cpu, Memory, Pids, Resources, ThrottleDevice, WeightDevice};

/// Docker's smallest memory limit: below it not even a shell starts.
const LEAST_MEMORY: i64 = 6 << 20;

/// `PATH:RATE` or `PATH:WEIGHT`.
pub type DeviceRate = (PathBuf, u64);

#[derive(Debug, Clone, Default, Args)]
pub struct Limits {
    /// Memory limit
    #[arg(short, long, value_name = "SIZE", value_parser = signed_size, allow_hyphen_values = true, help_heading = "Limits")]
    pub memory: Option<i64>,
    /// Memory that is kept for the container when memory is short
    #[arg(long, value_name = "SIZE", value_parser = signed_size, help_heading = "Limits")]
    pub memory_reservation: Option<i64>,
    /// Limit of memory and swap together; -1: any amount of swap (default: twice the memory)
    #[arg(long, value_name = "SIZE", value_parser = signed_size, allow_hyphen_values = true, help_heading = "Limits")]
    pub memory_swap: Option<i64>,
    /// Number of CPUs, such as 1.5
    #[arg(long, value_name = "NUMBER", value_parser = cpus, help_heading = "Limits")]
    pub cpus: Option<i64>,
    /// CPU time relative to others (1024 is everybody's)
    #[arg(short, long, value_name = "NUMBER", help_heading = "Limits")]
    pub cpu_shares: Option<u64>,
    /// Microseconds of CPU time in each period; -1: no limit
    #[arg(long, value_name = "MICROSECONDS", allow_hyphen_values = true, help_heading = "Limits")]
    pub cpu_quota: Option<i64>,
    /// Length of a period of CPU time (default: 100000)
    #[arg(long, value_name = "MICROSECONDS", help_heading = "Limits")]
    pub cpu_period: Option<u64>,
    /// CPUs to run on, such as 0-3,6
    #[arg(long, value_name = "LIST", value_parser = list, help_heading = "Limits")]
    pub cpuset_cpus: Option<String>,
    /// Memory nodes to use
    #[arg(long, value_name = "LIST", value_parser = list, help_heading = "Limits")]
    pub cpuset_mems: Option<String>,
    /// Number of processes and threads; -1: no limit (default: 2048)
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true, help_heading = "Limits")]
    pub pids_limit: Option<i64>,
    /// Share of the block devices' time relative to others, 10 to 1000; 0: no share of its own
    #[arg(long, value_name = "NUMBER", value_parser = weight, help_heading = "Limits")]
    pub blkio_weight: Option<u16>,
    /// The same for one device
    #[arg(long, value_name = "DEVICE:NUMBER", value_parser = device_weight, help_heading = "Limits")]
    pub blkio_weight_device: Vec<DeviceRate>,
    /// Bytes a second that may be read from a device
    #[arg(long, value_name = "DEVICE:RATE", value_parser = device_bps, help_heading = "Limits")]
    pub device_read_bps: Vec<DeviceRate>,
    /// Bytes a second that may be written to a device
    #[arg(long, value_name = "DEVICE:RATE", value_parser = device_bps, help_heading = "Limits")]
    pub device_write_bps: Vec<DeviceRate>,
    /// Read operations a second on a device
    #[arg(long, value_name = "DEVICE:RATE", value_parser = device_iops, help_heading = "Limits")]
    pub device_read_iops: Vec<DeviceRate>,
    /// Write operations a second on a device
    #[arg(long, value_name = "DEVICE:RATE", value_parser = device_iops, help_heading = "Limits")]
    pub device_write_iops: Vec<DeviceRate>,
    #[command(flatten)]
    pub refused: Refused,
}

/// What only cgroup v1 had. Known, so that the answer is a reason.
#[derive(Debug, Clone, Default, Args)]
pub struct Refused {
    #[arg(long, hide = true, value_parser = v1_only)]
    kernel_memory: Option<String>,
    #[arg(long, hide = true, value_parser = v1_only, allow_hyphen_values = true)]
    memory_swappiness: Option<String>,
    #[arg(long, hide = true, value_parser = v1_only, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    oom_kill_disable: Option<String>,
    #[arg(long, hide = true, value_parser = v1_only)]
    cpu_rt_period: Option<String>,
    #[arg(long, hide = true, value_parser = v1_only)]
    cpu_rt_runtime: Option<String>,
}

fn v1_only(_: &str) -> Result<String> {
    bail!("only cgroup v1 had this, and rl uses v2")
}

/// A size, or -1.
fn signed_size(text: &str) -> Result<i64> {
    if text == "-1" {
        return Ok(-1);
    }
    i64::try_from(parse::size(text)?).ok().with_context(|| format!("\"{text}\" is too large"))
}

/// A number of CPUs, in billionths as Docker has it.
fn cpus(text: &str) -> Result<i64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 9 || (whole.is_empty() && part.is_empty()) {
        bail!("not a number of CPUs");
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().context("not a number of CPUs")? };
    let part: i64 = format!("{part:0<9}").parse().context("not a number of CPUs")?;
    let nano = whole.checked_mul(1_000_000_000).and_then(|n| n.checked_add(part)).context("too many CPUs")?;
    // Less than the kernel's shortest quota, 1 ms of 100.
    if nano != 0 && nano < 10_000_000 {
        bail!("at least 0.01");
    }
    Ok(nano)
}

/// `0-3,6` (cpuset(7), "List format").
fn list(text: &str) -> Result<String> {
    let number = |n: &str| n.parse::<u32>().ok();
    let range = |range: &str| match range.split_once('-') {
        Some((first, last)) => number(first).zip(number(last)).is_some_and(|(first, last)| first <= last),
        None => number(range).is_some(),
    };
    if !text.is_empty() && !text.split(',').all(range) {
        bail!("want numbers and ranges, such as 0-3,6");
    }
    Ok(text.into())
}

fn weight(text: &str) -> Result<u16> {
    let weight = text.parse().ok().filter(|weight| matches!(weight, 0 | 10..=1000));
    weight.context("want 10 to 1000, or 0")
}

fn device_and(text: &str, value: impl Fn(&str) -> Result<u64>) -> Result<DeviceRate> {
    let (device, rate) = text.rsplit_once(':').context("want DEVICE:NUMBER")?;
    if !device.starts_with("/dev/") {
        bail!("a device is a path below /dev");
    }
    Ok((device.into(), value(rate)?))
}

fn device_weight(text: &str) -> Result<DeviceRate> {
    device_and(text, |text| weight(text).map(u64::from))
}

fn device_bps(text: &str) -> Result<DeviceRate> {
    device_and(text, parse::size)
}

fn device_iops(text: &str) -> Result<DeviceRate> {
    device_and(text, |text| text.parse().ok().context("not a number"))
}

/// `--cgroup-conf FILE=VALUE`.
pub fn cgroup_conf(text: &str) -> Result<(String, String)> {
    let (file, value) = text.split_once('=').context("want FILE=VALUE, such as memory.high=1073741824")?;
    Ok((file.into(), value.into()))
}

/// `--oom-score-adj`.
pub fn oom_score_adj(text: &str) -> Result<i32> {
    text.parse().ok().filter(|score| (-1000..=1000).contains(score)).context("want -1000 to 1000")
}

/// The numbers of a block device.
pub fn block_device(path: &Path) -> Result<(u64, u64)> {
    let found = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    if !found.file_type().is_block_device() {
        bail!("{} is not a block device", path.display());
    }
    Ok((nix::sys::stat::major(found.rdev()), nix::sys::stat::minor(found.rdev())))
}

/// The numbers of a device, by its path.
pub type Devices<'a> = &'a dyn Fn(&Path) -> Result<(u64, u64)>;

impl Limits {
    /// Whether no flag of these is there.
    pub fn is_empty(&self) -> bool {
        let Limits { memory, memory_reservation, memory_swap, cpus, cpu_shares, cpu_quota, cpu_period, .. } = self;
        let sizes = memory.is_none() && memory_reservation.is_none() && memory_swap.is_none();
        let cpu = cpus.is_none() && cpu_shares.is_none() && cpu_quota.is_none() && cpu_period.is_none();
        let sets = self.cpuset_cpus.is_none() && self.cpuset_mems.is_none();
        let devices = [
            &self.blkio_weight_device,
            &self.device_read_bps,
            &self.device_write_bps,
            &self.device_read_iops,
            &self.device_write_iops,
        ];
        sizes && cpu && sets && self.pids_limit.is_none() && self.blkio_weight.is_none() && devices.iter().all(|d| d.is_empty())
    }

    /// What these flags make of `before`: each one replaces what was said of the same.
    pub fn over(&self, before: &Resources, devices: Devices) -> Result<Resources> {
        let resources = Resources {
            memory: self.memory_over(&before.memory)?,
            cpu: self.cpu_over(&before.cpu)?,
            pids: self.pids_limit.map(|limit| Pids { limit }).or(before.pids.clone()),
            block_io: self.block_io_over(&before.block_io, devices)?,
            unified: before.unified.clone(),
        };
        Ok(resources)
    }

    fn memory_over(&self, before: &Memory) -> Result<Memory> {
        let given = |flag: Option<i64>, before: Option<i64>| flag.filter(|value| *value != 0).or(before);
        let limit = given(self.memory, before.limit);
        let reservation = given(self.memory_reservation, before.reservation);
        // What followed from the memory follows it further.
        let followed = before.limit.and_then(|limit| limit.checked_mul(2)).filter(|twice| before.swap == Some(*twice)).is_some();
        let swap = given(self.memory_swap, before.swap.filter(|_| !followed));
        match limit {
            Some(limit) if limit > 0 => {
                if limit < LEAST_MEMORY {
                    bail!("the smallest limit of memory is 6m");
                }
                if reservation.is_some_and(|reservation| reservation > limit) {
                    bail!("the memory reservation is larger than the memory limit");
                }
                if swap.is_some_and(|swap| swap > 0 && swap < limit) {
                    bail!("--memory-swap is memory and swap together, so it cannot be less than --memory");
                }
                let swap = swap.or_else(|| limit.checked_mul(2));
                Ok(Memory { limit: Some(limit), reservation, swap })
            }
            _ if swap.is_some_and(|swap| swap > 0) => bail!("--memory-swap needs --memory"),
            limit => Ok(Memory { limit, reservation, swap }),
        }
    }

    fn cpu_over(&self, before: &Cpu) -> Result<Cpu> {
        if self.cpus.is_some_and(|cpus| cpus != 0) && (self.cpu_quota.is_some() || self.cpu_period.is_some()) {
            bail!("--cpus says both a quota and a period: leave out --cpu-quota and --cpu-period");
        }
        if self.cpu_period.is_some_and(|period| period != 0 && !(1000..=1_000_000).contains(&period)) {
            bail!("--cpu-period is 1000 to 1000000 microseconds");
        }
        if self.cpu_quota.is_some_and(|quota| (1..1000).contains(&quota)) {
            bail!("--cpu-quota is at least 1000 microseconds");
        }
        let (quota, period) = match self.cpus.filter(|cpus| *cpus != 0) {
            Some(nano) => (Some(nano / 10_000), Some(100_000)),
            None => (self.cpu_quota.or(before.quota), self.cpu_period.or(before.period)),
        };
        let text = |flag: &Option<String>, before: &Option<String>| {
            flag.clone().or_else(|| before.clone()).filter(|list| !list.is_empty())
        };
        Ok(Cpu {
            shares: self.cpu_shares.filter(|shares| *shares > 0).or(before.shares),
            quota: quota.filter(|quota| *quota != 0),
            period: period.filter(|period| *period != 0),
            cpus: text(&self.cpuset_cpus, &before.cpus),
            mems: text(&self.cpuset_mems, &before.mems),
        })
    }

    fn block_io_over(&self, before: &BlockIo, devices: Devices) -> Result<BlockIo> {
        let throttle = |flags: &[DeviceRate], before: &[ThrottleDevice]| -> Result<Vec<ThrottleDevice>> {
            let mut all = before.to_vec();
            for (path, rate) in flags {
                let (major, minor) = devices(path)?;
                all.retain(|d| (d.major, d.minor) != (major, minor));
                all.push(ThrottleDevice { major, minor, rate: *rate });
            }
            Ok(all)
        };
        let mut weight_device = before.weight_device.clone();
        for (path, weight) in &self.blkio_weight_device {
            let (major, minor) = devices(path)?;
            weight_device.retain(|d| (d.major, d.minor) != (major, minor));
            weight_device.push(WeightDevice { major, minor, weight: *weight as u16 });
        }
        Ok(BlockIo {
            weight: self.blkio_weight.filter(|weight| *weight > 0).or(before.weight),
            weight_device,
            throttle_read_bps_device: throttle(&self.device_read_bps, &before.throttle_read_bps_device)?,
            throttle_write_bps_device: throttle(&self.device_write_bps, &before.throttle_write_bps_device)?,
            throttle_read_iops_device: throttle(&self.device_read_iops, &before.throttle_read_iops_device)?,
            throttle_write_iops_device: throttle(&self.device_write_iops, &before.throttle_write_iops_device)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use proptest::prelude::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        limits: Limits,
    }

    fn limits(args: &[&str]) -> Limits {
        Cli::try_parse_from(std::iter::once(&"rl").chain(args)).unwrap().limits
    }

    fn over(before: &Resources, args: &[&str]) -> Result<Resources> {
        limits(args).over(before, &|_| Ok((8, 16)))
    }

    fn of(args: &[&str]) -> Resources {
        over(&Resources::default(), args).unwrap()
    }

    fn refused(args: &[&str]) -> String {
        over(&Resources::default(), args).unwrap_err().to_string()
    }

    #[test]
    fn no_flag_asks_for_nothing() {
        assert!(of(&[]).is_empty() && limits(&[]).is_empty());
        assert!(!limits(&["-m", "64m"]).is_empty() && !limits(&["--device-read-bps", "/dev/sda:1m"]).is_empty());
    }

    #[test]
    fn swap_follows_memory_unless_it_is_said() {
        assert_eq!(of(&["-m", "64m"]).memory, Memory { limit: Some(64 << 20), swap: Some(128 << 20), reservation: None });
        assert_eq!(of(&["-m", "64m", "--memory-swap", "64m"]).memory.swap, Some(64 << 20));
        assert_eq!(of(&["-m", "64m", "--memory-swap", "-1"]).memory.swap, Some(-1));
        assert_eq!(over(&of(&["-m", "64m"]), &["-m", "32m"]).unwrap().memory.swap, Some(64 << 20));
        assert_eq!(of(&["-m", "-1"]).memory.limit, Some(-1));
        assert!(refused(&["--memory-swap", "64m"]).contains("--memory"));
        assert!(refused(&["-m", "64m", "--memory-swap", "32m"]).contains("less"));
        assert!(refused(&["-m", "4m"]).contains("6m"));
        assert!(refused(&["-m", "8m", "--memory-reservation", "9m"]).contains("reservation"));
    }

    #[test]
    fn cpus_are_a_quota() {
        let cpu = of(&["--cpus", "1.5"]).cpu;
        assert_eq!((cpu.quota, cpu.period), (Some(150_000), Some(100_000)));
        assert_eq!(of(&["--cpus", ".5"]).cpu.quota, Some(50_000));
        assert!(of(&["--cpus", "0"]).is_empty());
        assert!(refused(&["--cpus", "1", "--cpu-quota", "5000"]).contains("--cpus"));
        for bad in ["-1", "x", "1.2.3", "0.001", ".", "1e3", "99999999999999999999"] {
            assert!(Cli::try_parse_from(["rl", &format!("--cpus={bad}")]).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_update_changes_what_it_names_and_leaves_the_rest() {
        let before = of(&["-m", "64m", "--cpus", "1", "--pids-limit", "10", "--device-read-bps", "/dev/sdb:1m"]);
        let after = over(&before, &["--pids-limit", "20", "--device-read-bps", "/dev/sdb:2m"]).unwrap();
        assert_eq!(after.memory, before.memory);
        assert_eq!(after.cpu, before.cpu);
        assert_eq!(after.pids, Some(Pids { limit: 20 }));
        assert_eq!(after.block_io.throttle_read_bps_device, [ThrottleDevice { major: 8, minor: 16, rate: 2 << 20 }]);
    }

    #[test]
    fn what_only_v1_had_is_refused_by_name() {
        for flag in
            ["--kernel-memory=1m", "--memory-swappiness=5", "--oom-kill-disable", "--cpu-rt-runtime=5", "--cpu-rt-period=5"]
        {
            let Err(error) = Cli::try_parse_from(["rl", flag]) else { panic!("{flag}") };
            let text = error.to_string();
            assert!(text.contains("cgroup v1") && text.contains(flag.split('=').next().unwrap()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_value_panics(text in ".{0,24}") {
            let _ = (signed_size(&text), cpus(&text), list(&text), weight(&text), cgroup_conf(&text), oom_score_adj(&text));
            let _ = (device_bps(&text), device_iops(&text), device_weight(&text));
        }

        #[test]
        fn cpus_read_as_they_are_written(nano in 10_000_000i64..1_000_000_000_000) {
            let text = format!("{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000);
            prop_assert_eq!(cpus(&text).unwrap(), nano);
        }
    }
}
