//! Entry, exit and panic: the only lines that know what the program runs on.

#[cfg(target_os = "linux")]
use core::arch::{asm, global_asm};

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
global_asm!(".globl _start", "_start:", "xor ebp, ebp", "and rsp, -16", "call {entry}", "ud2", entry = sym entry);
#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
global_asm!(".globl _start", "_start:", "mov x29, 0", "mov x30, 0", "bl {entry}", "brk 1", entry = sym entry);

#[cfg(target_os = "linux")]
extern "C" fn entry() -> ! {
    crate::start()
}

/// Ends the program by the system call `exit_group`.
#[cfg(target_os = "linux")]
pub(crate) fn exit(status: i32) -> ! {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: system call 231 takes its argument in rdi and does not return.
    unsafe {
        asm!("syscall", in("rax") 231, in("rdi") status, options(noreturn));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: system call 94 takes its argument in x0 and does not return.
    unsafe {
        asm!("svc 0", in("x8") 94, in("x0") status, options(noreturn));
    }
}

/// The entry point on a machine with nothing on it.
#[cfg(target_os = "none")]
// SAFETY: no other symbol of this program has the name.
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    crate::start()
}

/// There is nobody to report to: stand still.
#[cfg(target_os = "none")]
pub(crate) fn exit(_: i32) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit(1)
}
