//! Counts the memory that is allocated, so that tests can bound it.
#![expect(
    unsafe_code,
    reason = "an allocator is asked for through an unsafe trait; this one only counts and passes on"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering};

#[global_allocator]
static COUNTING: Counting = Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, counted.
struct Counting;

fn grown(bytes: usize) {
    let live = LIVE.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PEAK.fetch_max(live, Ordering::Relaxed);
}

// SAFETY: every call goes to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: `pointer` came from the system's allocator through the calls above, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Takes memory for `operator new` of C++, counted.
fn take(bytes: usize) -> *mut c_void {
    // SAFETY: `malloc` may be called with any size.
    let pointer = unsafe { libc::malloc(bytes.max(1)) };
    if pointer.is_null() {
        // An exception cannot be thrown from here.
        std::process::abort();
    }
    // SAFETY: `malloc` has returned the pointer.
    grown(unsafe { libc::malloc_usable_size(pointer) });
    pointer
}

/// Gives back what [`take`] took.
fn give_back(pointer: *mut c_void) {
    // SAFETY: null is allowed; any other pointer came from `take`.
    LIVE.fetch_sub(unsafe { libc::malloc_usable_size(pointer) }, Ordering::Relaxed);
    // SAFETY: as above.
    unsafe { libc::free(pointer) }
}

/// The operators by the names that the compiler of C++ gives them: `new`, `new[]`, `delete` and `delete[]`, also with a size.
mod operators {
    use std::ffi::c_void;

    // SAFETY: the linker takes these instead of those of the library, all of them together.
    #[unsafe(no_mangle)]
    extern "C" fn _Znwm(bytes: usize) -> *mut c_void {
        super::take(bytes)
    }

    // SAFETY: as above.
    #[unsafe(no_mangle)]
    extern "C" fn _Znam(bytes: usize) -> *mut c_void {
        super::take(bytes)
    }

    // SAFETY: as above.
    #[unsafe(no_mangle)]
    extern "C" fn _ZdlPv(pointer: *mut c_void) {
        super::give_back(pointer);
    }

    // SAFETY: as above.
    #[unsafe(no_mangle)]
    extern "C" fn _ZdaPv(pointer: *mut c_void) {
        super::give_back(pointer);
    }

    // SAFETY: as above.
    #[unsafe(no_mangle)]
    extern "C" fn _ZdlPvm(pointer: *mut c_void, _bytes: usize) {
        super::give_back(pointer);
    }

    // SAFETY: as above.
    #[unsafe(no_mangle)]
    extern "C" fn _ZdaPvm(pointer: *mut c_void, _bytes: usize) {
        super::give_back(pointer);
    }
}

/// Begins to measure: returns the bytes that are allocated now.
pub(crate) fn begin() -> usize {
    let live = LIVE.load(Ordering::Relaxed);
    PEAK.store(live, Ordering::Relaxed);
    live
}

/// The most bytes allocated at once since `begin`, which returned `start`, beyond those.
pub(crate) fn peak_since(start: usize) -> usize {
    PEAK.load(Ordering::Relaxed).saturating_sub(start)
}

#[test]
fn a_large_allocation_is_counted() {
    // Other tests allocate meanwhile, which can only make the peak larger.
    let start = begin();
    let large = vec![1_u8; 512 << 20];
    assert!(LIVE.load(Ordering::Relaxed) >= large.len());
    assert!(peak_since(start.min(large.len())) >= large.len() / 2);
}
