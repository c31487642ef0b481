//! A thread for one piece of work that needs nothing of its maker's but its credentials (pthread_create(3)).

use std::ffi::c_void;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use super::process::Processors;

/// Work that is going on, with a descriptor that stays open meanwhile. To be waited for before this process forks.
pub struct Beside<'a>(libc::pthread_t, PhantomData<BorrowedFd<'a>>);

/// What the thread is given.
struct Task {
    work: Work,
    with: Option<RawFd>,
}

type Work = fn(Option<BorrowedFd>) -> io::Result<OwnedFd>;

/// Begins `work` on another processor, where there is one: a new thread would wait on its maker's until that one sleeps. It should
/// allocate little, for that gives it a heap of its own.
pub fn begin<'a>(work: Work, with: Option<BorrowedFd<'a>>) -> io::Result<Beside<'a>> {
    let task = Box::into_raw(Box::new(Task { work, with: with.map(|fd| fd.as_raw_fd()) }));
    // SAFETY: both are plain data for which zero is valid; the attributes are initialised before they are used, and destroyed after.
    unsafe {
        let mut attributes: libc::pthread_attr_t = std::mem::zeroed();
        check(libc::pthread_attr_init(&raw mut attributes))?;
        libc::pthread_attr_setstacksize(&raw mut attributes, STACK);
        // What is done there does not go deep.
        libc::pthread_attr_setguardsize(&raw mut attributes, 0);
        if let Some(elsewhere) = Processors::elsewhere() {
            libc::pthread_attr_setaffinity_np(&raw mut attributes, size_of::<libc::cpu_set_t>(), elsewhere.raw());
        }
        let mut thread: libc::pthread_t = std::mem::zeroed();
        // The task is the thread's from here on, and never freed: that would give it a heap of its own.
        let made = libc::pthread_create(&raw mut thread, &raw const attributes, run, task.cast());
        libc::pthread_attr_destroy(&raw mut attributes);
        check(made).map(|()| Beside(thread, PhantomData))
    }
}

const STACK: usize = 64 << 10;

/// The result fits a pointer: a descriptor, or an errno below zero.
extern "C" fn run(task: *mut c_void) -> *mut c_void {
    // SAFETY: `begin` passes a task of its own making and does not touch it again; what it was given stays open as long as the handle.
    let (work, with) = unsafe {
        let task: *mut Task = task.cast();
        ((*task).work, (*task).with.map(|fd| BorrowedFd::borrow_raw(fd)))
    };
    let result = match work(with) {
        Ok(fd) => fd.into_raw_fd() as isize,
        Err(error) => -(error.raw_os_error().unwrap_or(libc::EIO) as isize),
    };
    result as *mut c_void
}

impl Beside<'_> {
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
