//! The program's entry, in place of the one that std brings. That one reads /proc/self/maps to find its stack and makes a second one, to say
//! which thread has overflowed its first: a fortieth of a container's start. The rest of what it does is done here.

use std::os::fd::IntoRawFd;

/// Makes `$main`, a function that returns this process's exit code, the program's `main`.
macro_rules! entry {
    ($main:path) => {
        /// Called by libc.
        // SAFETY: the one symbol of this name.
        #[cfg(not(test))]
        #[allow(unsafe_code)]
        #[unsafe(no_mangle)]
        extern "C" fn main(_argc: i32, _argv: *const *const std::ffi::c_char) -> i32 {
            $crate::sys::entry::prepare();
            // What waits in stdout's buffer is written there.
            std::process::exit($main())
        }
        // The tests have an entry of their own.
        #[cfg(test)]
        const _: (fn() -> i32, fn()) = ($main, $crate::sys::entry::prepare);
    };
}
pub(crate) use entry;

/// Called by glibc's start, for the `$ORIGIN` of libraries, of which a static program has none. glibc's own asks the kernel for the path of
/// the program, which takes a hundredth of a container's start. -1: not known.
// SAFETY: the one symbol of this name: where it is defined, the linker takes none from libc.
#[cfg(all(not(test), target_env = "gnu"))]
#[unsafe(no_mangle)]
extern "C" fn _dl_get_origin() -> *const std::ffi::c_char {
    std::ptr::without_provenance(usize::MAX)
}

/// As a program of Rust's expects it: descriptors 0 to 2 are open, and a broken pipe is an error instead of a signal.
pub fn prepare() {
    let mut streams = [0, 1, 2].map(|fd| libc::pollfd { fd, events: 0, revents: 0 });
    // SAFETY: the pointer and the number describe `streams`.
    unsafe { libc::poll(streams.as_mut_ptr(), 3, 0) };
    for closed in streams.iter().filter(|stream| stream.revents & libc::POLLNVAL != 0) {
        // The lowest free number is this one: what is opened later must not get it, or messages would be written there.
        let null = std::fs::File::options().read(true).write(true).open("/dev/null").map(IntoRawFd::into_raw_fd);
        if null.ok() != Some(closed.fd) {
            std::process::abort();
        }
    }
    super::process::ignore_signal(libc::SIGPIPE);
}
