//! What a payload may do: capabilities, and the paths of /proc and /sys it does not see or write.

pub mod caps;

/// Hidden from the payload (THREATS.md, "Defaults"); what does not exist is passed over. `*` stands for a number.
pub const MASKED_PATHS: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
    "/sys/devices/system/cpu/cpu*/thermal_throttle",
];

/// Read-only for the payload.
pub const READONLY_PATHS: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
