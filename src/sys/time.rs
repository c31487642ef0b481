//! Civil time of the host's zone (mktime(3)).

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
