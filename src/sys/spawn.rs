//! Children that work in this process's own memory until they execute or end (clone3(2), CLONE_VM), and so cost a third of a fork: no
//! page table is copied, and no page afterwards. vfork(2) without the wait.
//!
//! Such a child may do nothing but system calls, and those not through libc, whose errno is its maker's: all that it needs is ready
//! before it starts, and is leaked, for nobody knows when it has been read.

use std::ffi::{CString, c_char};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::process::{Child, CloneArgs, Processors};

/// Enough for the functions below, which call nothing.
const STACK: usize = 16 << 10;

/// What a program is started with.
struct Program {
    argv: Vec<*const c_char>,
    stderr: RawFd,
    processors: Option<Processors>,
    failed: u8,
}

/// Starts a program with an empty environment, on `processors` where they are given; it shares stdin and stdout with us. Returns before
/// it is loaded: an exit code of `failed` may mean that it could not be.
pub fn program(argv: Vec<CString>, stderr: BorrowedFd, processors: Option<Processors>, failed: u8) -> io::Result<Child> {
    let argv = argv.leak().iter().map(|word| word.as_ptr()).chain([std::ptr::null()]).collect();
    let program: &Program = Box::leak(Box::new(Program { argv, stderr: stderr.as_raw_fd(), processors, failed }));
    let child = child(0, become_program, program)?;
    // It may wait for us to sleep, or run already.
    program.processors.iter().for_each(|processors| processors.keep(child.pid));
    Ok(child)
}

extern "C" fn become_program(program: &'static Program) -> ! {
    let environment = [std::ptr::null::<c_char>()];
    let default = [0u64; 4];
    // SAFETY: system calls with valid pointers to memory of ours, which stays as it is; descriptors are those of a copied table.
    unsafe {
        if let Some(processors) = &program.processors {
            call(libc::SYS_sched_setaffinity, [0, size_of::<libc::cpu_set_t>(), processors.raw() as usize, 0]);
        }
        call(libc::SYS_dup3, [program.stderr as usize, 2, 0, 0]);
        // Ignored in every process of this program (entry.rs); what else is ignored, our own caller has ignored.
        call(libc::SYS_rt_sigaction, [libc::SIGPIPE as usize, default.as_ptr() as usize, 0, 8]);
        call(libc::SYS_execve, [program.argv[0] as usize, program.argv.as_ptr() as usize, environment.as_ptr() as usize, 0]);
        exit(program.failed)
    }
}

/// Starts a child that only exists, in the new namespaces of `flags`, until the other end of `until` is closed. It is called `comm`.
pub fn existence(flags: u64, until: BorrowedFd, comm: &str) -> io::Result<Child> {
    child(flags, exist, Box::leak(Box::new((until.as_raw_fd(), CString::new(comm)?))))
}

extern "C" fn exist((until, comm): &'static (RawFd, CString)) -> ! {
    let until = *until as usize;
    let mut byte = 0u8;
    // SAFETY: as above; `byte` is valid for the one byte that is read.
    unsafe {
        call(libc::SYS_close_range, [3, until - 1, 0, 0]);
        call(libc::SYS_close_range, [until + 1, u32::MAX as usize, 0, 0]);
        call(libc::SYS_prctl, [libc::PR_SET_NAME as usize, comm.as_ptr() as usize, 0, 0]);
        call(libc::SYS_read, [until, (&raw mut byte) as usize, 1, 0]);
        exit(0)
    }
}

/// Starts `life` on a stack of its own.
fn child<T>(flags: u64, life: extern "C" fn(&'static T) -> !, with: &'static T) -> io::Result<Child> {
    let stack = Vec::<u128>::with_capacity(STACK / size_of::<u128>()).leak().as_mut_ptr();
    let mut pidfd: RawFd = -1;
    let mut args = CloneArgs {
        flags: flags | (libc::CLONE_VM | libc::CLONE_PIDFD) as u64,
        pidfd: &raw mut pidfd as u64,
        exit_signal: libc::SIGCHLD as u64,
        stack: stack as u64,
        stack_size: STACK as u64,
        ..CloneArgs::default()
    };
    // SAFETY: args is valid and of the size given. The child has a stack of its own, leaked like `with`, and never returns; it does not
    // touch what this side goes on with.
    let result = unsafe { clone(&raw mut args, life as usize, (&raw const *with) as usize) };
    if result < 0 {
        return Err(io::Error::from_raw_os_error(-result as i32));
    }
    // SAFETY: the kernel stored a new descriptor that nobody else owns.
    Ok(Child { pid: result as i32, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } })
}

#[cfg(target_arch = "x86_64")]
unsafe fn clone(args: *mut CloneArgs, life: usize, with: usize) -> isize {
    let result;
    // SAFETY: the caller's; the child finds its argument and function in registers, and an aligned stack.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "mov rdi, r12",
            "call r13",
            "2:",
            inlateout("rax") libc::SYS_clone3 as isize => result,
            in("rdi") args,
            in("rsi") size_of::<CloneArgs>(),
            in("r12") with,
            in("r13") life,
            out("rcx") _,
            out("r11") _,
        );
    }
    result
}

#[cfg(target_arch = "aarch64")]
unsafe fn clone(args: *mut CloneArgs, life: usize, with: usize) -> isize {
    let result;
    // SAFETY: as above.
    unsafe {
        std::arch::asm!(
            "svc #0",
            "cbnz x0, 2f",
            "mov x0, x20",
            "blr x21",
            "2:",
            inlateout("x0") args as isize => result,
            in("x1") size_of::<CloneArgs>(),
            in("x8") libc::SYS_clone3,
            in("x20") with,
            in("x21") life,
        );
    }
    result
}

/// A system call that leaves errno alone.
#[cfg(target_arch = "x86_64")]
unsafe fn call(number: libc::c_long, [a, b, c, d]: [usize; 4]) -> isize {
    let result;
    // SAFETY: the caller's.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a,
            in("rsi") b,
            in("rdx") c,
            in("r10") d,
            out("rcx") _,
            out("r11") _,
        );
    }
    result
}

#[cfg(target_arch = "aarch64")]
unsafe fn call(number: libc::c_long, [a, b, c, d]: [usize; 4]) -> isize {
    let result;
    // SAFETY: the caller's.
    unsafe {
        std::arch::asm!(
            "svc #0",
            inlateout("x0") a as isize => result,
            in("x1") b,
            in("x2") c,
            in("x3") d,
            in("x8") number,
        );
    }
    result
}

unsafe fn exit(code: u8) -> ! {
    loop {
        // SAFETY: no pointers.
        unsafe { call(libc::SYS_exit_group, [code.into(), 0, 0, 0]) };
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsFd;

    use super::super::process::Exit;
    use super::*;

    #[test]
    fn a_program_has_its_arguments_no_environment_and_the_stderr_that_it_is_given() {
        let (mut read, write) = io::pipe().unwrap();
        let words =
            ["/bin/sh", "-c", "echo \"$1:$HOME\" >&2; exit 3", "sh", "word"].map(|word| CString::new(word).unwrap()).to_vec();
        let child = program(words, write.as_fd(), Processors::elsewhere(), 127).unwrap();
        drop(write);
        let mut said = String::new();
        read.read_to_string(&mut said).unwrap();
        assert_eq!((said.as_str(), child.wait().unwrap()), ("word:\n", Exit::Code(3)));
    }

    #[test]
    fn a_program_that_is_not_there_ends_with_the_code_for_that() {
        let (_read, write) = io::pipe().unwrap();
        let child = program(vec![c"/no/such/program".into()], write.as_fd(), None, 127).unwrap();
        assert_eq!(child.wait().unwrap(), Exit::Code(127));
    }

    #[test]
    fn an_existence_ends_with_the_descriptor_that_it_watches() {
        let (stay, gone) = super::super::sock::pair().unwrap();
        let child = existence(0, gone.as_fd(), "rl:test").unwrap();
        assert!(!child.has_ended());
        drop(stay);
        assert_eq!(child.wait().unwrap(), Exit::Code(0));
    }
}
