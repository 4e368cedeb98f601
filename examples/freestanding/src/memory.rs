//! An allocator over a static array.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::system;

/// Bytes for everything that the small limits allow.
const BYTES: usize = 32 << 20;

/// Hands out the array from its beginning and takes nothing back.
struct Bump {
    bytes: UnsafeCell<[u8; BYTES]>,
    used: AtomicUsize,
    refusing: AtomicBool,
}

#[global_allocator]
static MEMORY: Bump = Bump {
    bytes: UnsafeCell::new([0; BYTES]),
    used: AtomicUsize::new(0),
    refusing: AtomicBool::new(false),
};

/// From here on an allocation ends the program with status 2.
pub(crate) fn refuse_from_now_on() {
    MEMORY.refusing.store(true, Ordering::Relaxed);
}

// SAFETY: the program has one thread, and each range of the array is handed out once.
unsafe impl Sync for Bump {}

// SAFETY: `alloc` returns ranges of the array that do not overlap and are aligned as asked, or null.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if self.refusing.load(Ordering::Relaxed) {
            system::exit(2);
        }
        let base = self.bytes.get() as usize;
        let free = base + self.used.load(Ordering::Relaxed);
        let start = free.next_multiple_of(layout.align());
        let Some(end) = start.checked_add(layout.size()).filter(|end| *end <= base + BYTES) else {
            return core::ptr::null_mut();
        };
        self.used.store(end - base, Ordering::Relaxed);
        // SAFETY: `start` lies within the array, checked above.
        unsafe { self.bytes.get().cast::<u8>().add(start - base) }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}
