//! The few routines on bytes that compilers take for granted and that libc usually brings. Bare targets
//! have them in their own library.
//!
//! Volatile accesses keep the compiler from recognising a loop as the very routine it is in.

/// Copies `n` bytes that do not overlap.
// SAFETY: the only routine of this name in the program, as C defines it.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
    for i in 0..n {
        // SAFETY: the caller promises `n` bytes at both.
        unsafe { to.add(i).write_volatile(from.add(i).read_volatile()) };
    }
    to
}

/// Copies `n` bytes that may overlap.
// SAFETY: the only routine of this name in the program, as C defines it.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
    if to.cast_const() <= from {
        // SAFETY: forwards, no byte is overwritten before it is read; lengths as the caller promises.
        return unsafe { memcpy(to, from, n) };
    }
    for i in (0..n).rev() {
        // SAFETY: the caller promises `n` bytes at both; backwards, as `to` lies behind `from`.
        unsafe { to.add(i).write_volatile(from.add(i).read_volatile()) };
    }
    to
}

/// Sets `n` bytes.
// SAFETY: the only routine of this name in the program, as C defines it.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, value: i32, n: usize) -> *mut u8 {
    for i in 0..n {
        // SAFETY: the caller promises `n` bytes.
        unsafe { to.add(i).write_volatile(value as u8) };
    }
    to
}

/// Compares `n` bytes.
// SAFETY: the only routine of this name in the program, as C defines it.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
    for i in 0..n {
        // SAFETY: the caller promises `n` bytes at both.
        let (a, b) = unsafe { (a.add(i).read_volatile(), b.add(i).read_volatile()) };
        if a != b {
            return i32::from(a) - i32::from(b);
        }
    }
    0
}

/// Compares `n` bytes for equality.
// SAFETY: the only routine of this name in the program, as C defines it.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
    // SAFETY: the same promise.
    unsafe { memcmp(a, b, n) }
}
