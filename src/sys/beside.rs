//! A thread for one piece of work that needs nothing of its maker's but its credentials (pthread_create(3)).

use std::ffi::c_void;
use std::io;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd, RawFd};

/// Work that is going on. To be waited for before this process forks.
pub struct Beside(libc::pthread_t);

/// Begins `work` on another processor, where there is one: a new thread would wait on its maker's until that one sleeps. It must not
/// allocate, for that would give it a heap of its own.
pub fn begin(work: fn() -> io::Result<OwnedFd>) -> io::Result<Beside> {
    // SAFETY: both are plain data for which zero is valid; the attributes are initialised before they are used, and destroyed after.
    unsafe {
        let mut attributes: libc::pthread_attr_t = std::mem::zeroed();
        check(libc::pthread_attr_init(&raw mut attributes))?;
        libc::pthread_attr_setstacksize(&raw mut attributes, STACK);
        let mut elsewhere: libc::cpu_set_t = std::mem::zeroed();
        let here = libc::sched_getcpu();
        if here >= 0 && libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut elsewhere) == 0 {
            libc::CPU_CLR(here as usize, &mut elsewhere);
            if libc::CPU_COUNT(&elsewhere) > 0 {
                libc::pthread_attr_setaffinity_np(&raw mut attributes, size_of::<libc::cpu_set_t>(), &raw const elsewhere);
            }
        }
        let mut thread: libc::pthread_t = std::mem::zeroed();
        // The pointer is the function itself, which lives for ever.
        let made = libc::pthread_create(&raw mut thread, &raw const attributes, run, work as *mut c_void);
        libc::pthread_attr_destroy(&raw mut attributes);
        check(made).map(|()| Beside(thread))
    }
}

const STACK: usize = 64 << 10;

/// The result fits a pointer: a descriptor, or an errno below zero.
extern "C" fn run(work: *mut c_void) -> *mut c_void {
    // SAFETY: `begin` passes a function of this very type.
    let work: fn() -> io::Result<OwnedFd> = unsafe { std::mem::transmute(work) };
    let result = match work() {
        Ok(fd) => fd.into_raw_fd() as isize,
        Err(error) => -(error.raw_os_error().unwrap_or(libc::EIO) as isize),
    };
    result as *mut c_void
}

impl Beside {
    /// Waits for the result.
    pub fn finish(self) -> io::Result<OwnedFd> {
        let mut result: *mut c_void = std::ptr::null_mut();
        // SAFETY: the thread was made joinable and is joined once, for this consumes the handle; result is valid for writing.
        check(unsafe { libc::pthread_join(self.0, &raw mut result) })?;
        match result as isize {
            // SAFETY: the work has given up its only owner of this descriptor.
            fd @ 0.. => Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) }),
            errno => Err(io::Error::from_raw_os_error(-errno as i32)),
        }
    }
}

fn check(errno: i32) -> io::Result<()> {
    if errno == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(errno)) }
}
