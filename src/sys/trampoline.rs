//! The last step of Init and Joiner: a 300-byte program that executes the payload.
//!
//! Why not execve at once: while the kernel resolves the payload's path, its `#!` interpreter and its ELF loader, `/proc/self/exe`
//! is the program that called execve. Were that `rl`, an image whose interpreter is `/proc/self/exe` would run the host's
//! `rl` inside the container, and container root, who *owns* that file here, could overwrite it afterwards (CVE-2019-5736). So
//! the caller of the last execve is this sealed memory file; nothing in the container ever has a path to `rl`.
//!
//! Contract: argv is `[title, path, arg0, arg1, …]`; descriptor 3 is the conversation with Monitor. It becomes CLOEXEC: success shows
//! there as EOF, failure as errno, four bytes in native order.

use std::io;
use std::os::fd::OwnedFd;

/// The descriptor on which the trampoline reports a failed execve.
pub const REPORT_FD: i32 = 3;

#[cfg(target_arch = "x86_64")]
std::arch::global_asm!(
    ".pushsection .rodata.rl_trampoline,\"a\"",
    "rl_trampoline_start:",
    "mov rbx, rsp",
    // fcntl(3, F_SETFD, FD_CLOEXEC)
    "mov eax, 72",
    "mov edi, 3",
    "mov esi, 2",
    "mov edx, 1",
    "syscall",
    // No such descriptor: an image runs us as its interpreter (/proc/self/exe), and would for ever.
    "test eax, eax",
    "js 2f",
    // execve(argv[1], &argv[2], envp)
    "mov rdi, [rbx + 16]",
    "lea rsi, [rbx + 24]",
    "mov rax, [rbx]",
    "lea rdx, [rbx + rax * 8 + 16]",
    "mov eax, 59",
    "syscall",
    // write(3, &errno, 4)
    "neg eax",
    "push rax",
    "mov eax, 1",
    "mov edi, 3",
    "mov rsi, rsp",
    "mov edx, 4",
    "syscall",
    // exit_group(127)
    "2:",
    "mov eax, 231",
    "mov edi, 127",
    "syscall",
    "rl_trampoline_end:",
    ".popsection",
);

#[cfg(target_arch = "aarch64")]
std::arch::global_asm!(
    ".pushsection .rodata.rl_trampoline,\"a\"",
    ".balign 4",
    "rl_trampoline_start:",
    "mov x19, sp",
    // fcntl(3, F_SETFD, FD_CLOEXEC)
    "mov x8, #25",
    "mov x0, #3",
    "mov x1, #2",
    "mov x2, #1",
    "svc #0",
    // No such descriptor: an image runs us as its interpreter (/proc/self/exe), and would for ever.
    "tbnz x0, #63, 2f",
    // execve(argv[1], &argv[2], envp)
    "ldr x0, [x19, #16]",
    "add x1, x19, #24",
    "ldr x2, [x19]",
    "add x2, x19, x2, lsl #3",
    "add x2, x2, #16",
    "mov x8, #221",
    "svc #0",
    // write(3, &errno, 4)
    "neg x0, x0",
    "str x0, [sp, #-16]!",
    "mov x0, #3",
    "mov x1, sp",
    "mov x2, #4",
    "mov x8, #64",
    "svc #0",
    // exit_group(127)
    "mov x0, #127",
    "mov x8, #94",
    "svc #0",
    "rl_trampoline_end:",
    ".popsection",
);

unsafe extern "C" {
    static rl_trampoline_start: u8;
    static rl_trampoline_end: u8;
}

#[cfg(target_arch = "x86_64")]
const ELF_MACHINE: u16 = 62;
#[cfg(target_arch = "aarch64")]
const ELF_MACHINE: u16 = 183;

const BASE: u64 = 0x40_0000;
const HEADERS: u64 = 64 + 56;

/// The trampoline as a sealed, executable memory file (elf(5): one header, one segment, the code).
pub fn program() -> io::Result<OwnedFd> {
    // SAFETY: both symbols bound one section of constant bytes, defined above.
    let code = unsafe {
        let start = &raw const rl_trampoline_start;
        std::slice::from_raw_parts(start, (&raw const rl_trampoline_end).offset_from(start) as usize)
    };
    super::fs::sealed_memfd(c"rl-exec", &elf(code))
}

fn elf(code: &[u8]) -> Vec<u8> {
    let size = HEADERS + code.len() as u64;
    let mut file = Vec::with_capacity(size as usize);
    file.extend(*b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    file.extend(2u16.to_le_bytes()); // ET_EXEC
    file.extend(ELF_MACHINE.to_le_bytes());
    file.extend(1u32.to_le_bytes()); // EV_CURRENT
    for word in [BASE + HEADERS, 64, 0] {
        file.extend(word.to_le_bytes()); // entry, program headers, no section headers
    }
    file.extend(0u32.to_le_bytes());
    for half in [64u16, 56, 1, 64, 0, 0] {
        file.extend(half.to_le_bytes()); // sizes and counts
    }
    file.extend(1u32.to_le_bytes()); // PT_LOAD
    file.extend(5u32.to_le_bytes()); // PF_R | PF_X
    for word in [0, BASE, BASE, size, size, 0x1000] {
        file.extend(word.to_le_bytes());
    }
    file.extend(code);
    file
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    #[test]
    fn the_trampoline_is_a_program_that_executes_its_first_argument() {
        let program = super::program().unwrap();
        // As it is: a copy could still be open for writing, in a child that another test's thread has just forked.
        let path = format!("/proc/{}/fd/{}", std::process::id(), std::os::fd::AsRawFd::as_raw_fd(&program));
        let run = |words: &str| Command::new("sh").arg("-c").arg(format!("exec {path} {words}")).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&run("/bin/echo echo one two 3>&1").stdout), "one two\n");
        assert_eq!(run("/no/such/file x 3>&1").status.code(), Some(127));
        // Without the conversation it is not ours to execute anything.
        assert_eq!(run("/bin/echo echo one 3>&-").status.code(), Some(127));
    }
}
