//! Lets User Mode Linux run on processors with more register state than it has room for.
//!
//! User Mode Linux 6.1 keeps 2696 bytes of a guest process's floating point state, which is what AVX-512
//! and memory keys need. Where the processor has AMX the state is 11008 bytes, and the host refuses to
//! set a part of it (`EFAULT`): the guest's first process dies at its first instruction. This library is
//! preloaded in front of libc's `ptrace`; where a call sets a part of the state, it reads the whole,
//! lays the part over it, and sets the whole. Guest processes that use no AMX never see a difference.
//!
//! `cargo xtask record` compiles it with the `rustc` at hand; it is no member of the workspace.

use std::ffi::{c_char, c_int, c_long, c_void};

const PTRACE_GETREGSET: c_int = 0x4204;
const PTRACE_SETREGSET: c_int = 0x4205;
const NT_X86_XSTATE: usize = 0x202;
/// Of `dlsym`: the next library in the search order, here libc.
const RTLD_NEXT: *mut c_void = -1_isize as *mut c_void;
/// More than any processor's state.
const ROOM: usize = 64 * 1024;

/// The whole state. It does not fit User Mode Linux's stacks. That kernel has one thread, and it is not
/// interrupted by something that runs another guest process, so one buffer does.
static mut WHOLE: [u8; ROOM] = [0; ROOM];

/// `struct iovec`.
#[repr(C)]
struct Part {
    base: *mut u8,
    len: usize,
}

type Ptrace = unsafe extern "C" fn(c_int, c_int, *mut c_void, *mut c_void) -> c_long;

unsafe extern "C" {
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

/// Stands before libc's function of the same name. That one takes its arguments variadically, which on
/// x86-64 is the same to the caller.
///
/// # Safety
/// As for `ptrace(2)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ptrace(
    request: c_int,
    pid: c_int,
    addr: *mut c_void,
    data: *mut c_void,
) -> c_long {
    // SAFETY: the name is terminated, and every libc that links this has the function.
    let next: Ptrace = unsafe { std::mem::transmute(dlsym(RTLD_NEXT, c"ptrace".as_ptr())) };
    if request == PTRACE_SETREGSET && addr as usize == NT_X86_XSTATE {
        // SAFETY: for this request, `data` points to an iovec.
        let part = unsafe { &*data.cast::<Part>() };
        let whole = (&raw mut WHOLE).cast::<u8>();
        let mut all = Part { base: whole, len: ROOM };
        let into = (&raw mut all).cast::<c_void>();
        // SAFETY: `all` names a buffer that outlives the calls, and the kernel writes no more than its
        // length; the caller's part has the length that it says, which is less than the buffer's.
        unsafe {
            if part.len < ROOM && next(PTRACE_GETREGSET, pid, addr, into) == 0 && part.len < all.len
            {
                std::ptr::copy_nonoverlapping(part.base, whole, part.len);
                return next(request, pid, addr, into);
            }
        }
    }
    // SAFETY: handed on as it came.
    unsafe { next(request, pid, addr, data) }
}
