//! Civil time of the host's zone (mktime(3), localtime_r(3)).

/// Seconds since 1970 of a local date and time; None where there is no such number. Months and days count from 1.
pub fn local(date: (i32, i32, i32), time: (i32, i32, i32)) -> Option<i64> {
    // SAFETY: tm is plain data for which zero is valid.
    let mut tm: libc::tm = unsafe { std::mem::zeroed() };
    (tm.tm_year, tm.tm_mon, tm.tm_mday) = (date.0.checked_sub(1900)?, date.1 - 1, date.2);
    (tm.tm_hour, tm.tm_min, tm.tm_sec, tm.tm_isdst) = (time.0, time.1, time.2, -1);
    // SAFETY: tm is valid for reading and writing; mktime reads the zone's file and keeps nothing of ours.
    let seconds = unsafe { libc::mktime(&raw mut tm) };
    (seconds != -1).then_some(seconds)
}

/// A moment as a calendar and a clock on the wall show it. Months and days count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Civil {
    pub date: (i32, i32, i32),
    pub hour: i32,
    pub minute: i32,
}

/// Local date and time of seconds since 1970 (localtime_r(3)); None where there is no such date.
pub fn civil(seconds: i64) -> Option<Civil> {
    // SAFETY: tm is plain data for which zero is valid.
    let mut tm: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid for the call, which keeps neither.
    let filled = unsafe { libc::localtime_r(&raw const seconds, &raw mut tm) };
    let date = (tm.tm_year.checked_add(1900)?, tm.tm_mon + 1, tm.tm_mday);
    (!filled.is_null()).then_some(Civil { date, hour: tm.tm_hour, minute: tm.tm_min })
}
