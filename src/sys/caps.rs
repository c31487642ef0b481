//! Capabilities of this thread (capabilities(7), capset(2), PR_CAPBSET_DROP(2const)).

use std::io;

use super::cvt;

/// `_LINUX_CAPABILITY_VERSION_3` (capget(2)).
const VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Default, Clone, Copy)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Drops every capability that is not in `keep` (bit n = capability n) from the bounding set.
pub fn limit_bounding(keep: u64) -> io::Result<()> {
    for capability in 0..64u32 {
        if keep & (1 << capability) != 0 {
            continue;
        }
        // SAFETY: no pointers.
        match cvt(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability), 0, 0, 0) }.into()) {
            // Past the kernel's last capability.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break,
            other => other.map(drop)?,
        }
    }
    Ok(())
}

/// Effective and permitted := `set`; inheritable, and with it ambient, empty.
pub fn set(set: u64) -> io::Result<()> {
    let header = Header { version: VERSION_3, pid: 0 };
    let word = |shift: u32| Data { effective: (set >> shift) as u32, permitted: (set >> shift) as u32, inheritable: 0 };
    let data = [word(0), word(32)];
    // SAFETY: version 3 takes two data elements.
    cvt(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) })?;
    Ok(())
}

/// Effective := permitted: what a change of ids has put out of force is in force again.
pub fn raise() -> io::Result<()> {
    let (header, mut data) = get()?;
    for word in &mut data {
        word.effective = word.permitted;
    }
    // SAFETY: version 3 takes two data elements.
    cvt(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) })?;
    Ok(())
}

/// The effective set of this thread.
pub fn effective() -> io::Result<u64> {
    let (_, data) = get()?;
    Ok(u64::from(data[0].effective) | u64::from(data[1].effective) << 32)
}

fn get() -> io::Result<(Header, [Data; 2])> {
    let mut header = Header { version: VERSION_3, pid: 0 };
    let mut data = [Data::default(); 2];
    // SAFETY: version 3 fills two data elements.
    cvt(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) })?;
    Ok((header, data))
}
