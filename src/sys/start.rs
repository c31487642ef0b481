//! What runs between the kernel and `main`, in place of glibc's own part of that: the same steps but one, which asks the processor what it
//! is and how large its caches are. That takes some sixty CPUIDs, and each is 1 to 7 µs where a hypervisor has to answer it (2-8 % of a
//! container's start; nothing to speak of elsewhere). Without it memcpy(3) and its like are the ones that every x86-64 can execute.
//!
//! The steps are those of glibc 2.36 in a static program (its csu/libc-start.c), and this is part of the program only where that is
//! linked (build.rs). Until the thread pointer is set nothing here may use what belongs to a thread, nor call what has yet to be chosen.

use std::ffi::{c_char, c_int, c_long, c_void};

/// A function that is to be chosen at the start: `Elf64_Rela` of the kind R_X86_64_IRELATIVE (System V ABI for x86-64, 4.4.1).
#[repr(C)]
struct Choice {
    place: *mut usize,
    _kind: u64,
    choose: extern "C" fn() -> usize,
}

type Main = extern "C" fn(c_int, *mut *mut c_char, *mut *mut c_char) -> c_int;

// SAFETY: as glibc 2.36 and the linker define them.
unsafe extern "C" {
    static mut __environ: *mut *mut c_char;
    static mut __libc_stack_end: *mut c_void;
    static _dl_random: *const [usize; 2];
    static __rela_iplt_start: Choice;
    static __rela_iplt_end: Choice;
    static __preinit_array_start: Main;
    static __preinit_array_end: Main;
    static __init_array_start: Main;
    static __init_array_end: Main;
    fn _dl_aux_init(auxiliary: *mut c_void);
    fn __tunables_init(environment: *mut *mut c_char);
    fn __libc_setup_tls();
    fn __libc_early_init(initial: bool);
    fn __libc_init_first(argc: c_int, argv: *mut *mut c_char, environment: *mut *mut c_char);
}

/// What glibc's memory functions go by, which it would have from the processor: its own values for one that does not say.
mod sizes {
    use super::{c_int, c_long};
    const NON_TEMPORAL: c_long = 0xc_0000;

    macro_rules! sizes {
        ($($name:ident: $type:ty = $value:expr;)*) => { $(
            // SAFETY: the one symbol of this name, for what defines it in glibc is what this file replaces.
            #[unsafe(no_mangle)]
            #[allow(non_upper_case_globals)]
            static $name: $type = $value;
        )* };
    }
    sizes! {
        __x86_data_cache_size: c_long = 32 << 10;
        __x86_data_cache_size_half: c_long = 16 << 10;
        __x86_shared_cache_size: c_long = 1 << 20;
        __x86_shared_cache_size_half: c_long = 512 << 10;
        __x86_shared_non_temporal_threshold: c_long = NON_TEMPORAL;
        __x86_rep_movsb_threshold: c_long = 2048;
        __x86_rep_movsb_stop_threshold: c_long = NON_TEMPORAL;
        __x86_rep_stosb_threshold: c_long = 2048;
        __x86_string_control: c_int = 0;
    }
}

/// Called by `_start` on the program's first stack.
// SAFETY: the one symbol of this name: where it is defined, the linker takes none from libc.
#[unsafe(no_mangle)]
unsafe extern "C" fn __libc_start_main(
    main: Main,
    argc: c_int,
    argv: *mut *mut c_char,
    _init: *const c_void,
    _fini: *const c_void,
    _of_loader: *const c_void,
    stack_end: *mut c_void,
) -> ! {
    // SAFETY: the kernel has put argc pointers, a null, the environment, a null and the auxiliary vector one after another (execve(2)). The
    // functions are called in glibc's order, each once, before there is a second thread; the arrays are the linker's.
    unsafe {
        let environment = argv.add(argc as usize + 1);
        __environ = environment;
        __libc_stack_end = stack_end;
        let mut end = environment;
        while !(*end).is_null() {
            end = end.add(1);
        }
        _dl_aux_init(end.add(1).cast());
        __tunables_init(environment);
        let mut choice = &raw const __rela_iplt_start;
        while choice < &raw const __rela_iplt_end {
            *(*choice).place = ((*choice).choose)();
            choice = choice.add(1);
        }
        __libc_setup_tls();
        guard(*_dl_random);
        __libc_early_init(true);
        __libc_init_first(argc, argv, environment);
        let arrays = [
            (&raw const __preinit_array_start, &raw const __preinit_array_end),
            (&raw const __init_array_start, &raw const __init_array_end),
        ];
        for (mut function, end) in arrays {
            while function < end {
                (*function)(argc, argv, environment);
                function = function.add(1);
            }
        }
        libc::exit(main(argc, argv, environment))
    }
}

/// Gives the thread what its stack frames and its saved pointers are guarded by (tcbhead_t).
unsafe fn guard([canary, pointers]: [usize; 2]) {
    // SAFETY: the thread pointer is set, and both words are the thread's own. The canary's first byte ends a string.
    unsafe {
        std::arch::asm!("mov fs:[0x28], {}", "mov fs:[0x30], {}", in(reg) canary & !0xff, in(reg) pointers, options(nostack));
    }
}
