//! An allocator for small objects that is faster, and needs less memory, than the standard library's.
//!
//! A list has about a hundred small strings per pod. Each comes from the free places of its size, rounded up to a multiple of eight bytes,
//! and goes back to them: a few instructions, and no header. Larger objects are left to the standard library. A place keeps its size, so a
//! guest keeps the most memory that it ever had of each size; sandboxes are short-lived, and their memory is limited.
#![expect(unsafe_code, reason = "GlobalAlloc is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ptr::null_mut;

/// The largest small size, in bytes.
const SMALL: usize = 512;
/// The unit of sizes, and the alignment of places, in bytes.
const UNIT: usize = 8;
/// The block of memory that places are cut from. A page of WebAssembly holds two, with what the standard library writes before each.
const CHUNK: Layout = match Layout::from_size_align(32 * 1024 - 2 * UNIT, UNIT) {
    Ok(layout) => layout,
    Err(_) => unreachable!(),
};

/// An allocator for one thread: `#[global_allocator] static ALLOCATOR: Allocator = Allocator::new();`
pub struct Allocator(UnsafeCell<Places>);

struct Places {
    /// The first free place of each size in units. Each free place begins with the address of the next.
    free: [*mut u8; SMALL / UNIT + 1],
    /// The part of the last chunk that is not cut yet.
    uncut: *mut u8,
    left: usize,
}

// SAFETY: there is one thread.
#[cfg(all(target_family = "wasm", not(target_feature = "atomics")))]
unsafe impl Sync for Allocator {}

impl Allocator {
    /// Makes an allocator that has no memory yet.
    pub const fn new() -> Allocator {
        Allocator(UnsafeCell::new(Places { free: [null_mut(); _], uncut: null_mut(), left: 0 }))
    }
}

impl Default for Allocator {
    fn default() -> Allocator {
        Allocator::new()
    }
}

/// The size in units, if it is small.
#[inline(always)]
fn units(layout: Layout) -> Option<usize> {
    let units = layout.size().div_ceil(UNIT);
    (units <= SMALL / UNIT && layout.align() <= UNIT).then_some(units)
}

impl Places {
    #[cold]
    #[inline(never)]
    fn cut(&mut self, units: usize) -> *mut u8 {
        let size = units * UNIT;
        if self.left < size {
            // The rest of the last chunk is lost: a fiftieth at most, and mostly far less.
            // SAFETY: its size is not zero.
            let chunk = unsafe { System.alloc(CHUNK) };
            if chunk.is_null() {
                return chunk;
            }
            (self.uncut, self.left) = (chunk, CHUNK.size());
        }
        let place = self.uncut;
        // SAFETY: at least `size` bytes are left.
        self.uncut = unsafe { place.add(size) };
        self.left -= size;
        place
    }
}

// SAFETY: a place is handed out until it is given back; it has at least the bytes asked for, is aligned to 8, and nothing here unwinds.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc`.
        let Some(units) = units(layout) else { return unsafe { System.alloc(layout) } };
        // SAFETY: nobody else has it: there is one thread, and nothing here calls code that allocates through this allocator.
        let places = unsafe { &mut *self.0.get() };
        let place = places.free[units];
        if place.is_null() {
            return places.cut(units);
        }
        // SAFETY: a free place begins with the address of the next, and is aligned for it.
        places.free[units] = unsafe { place.cast::<*mut u8>().read() };
        place
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`; a large block also came from `System`.
        let Some(units) = units(layout) else { return unsafe { System.dealloc(place, layout) } };
        // SAFETY: as above; an allocated place has at least 8 bytes, because nothing of size zero is allocated.
        unsafe {
            let free = &mut (*self.0.get()).free[units];
            place.cast::<*mut u8>().write(*free);
            *free = place;
        }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe {
            let new = Layout::from_size_align_unchecked(size, layout.align());
            match (units(layout), units(new)) {
                (None, None) => return System.realloc(place, layout, size),
                (Some(before), Some(after)) if before == after => return place,
                _ => {}
            }
            let moved = self.alloc(new);
            if !moved.is_null() {
                moved.copy_from_nonoverlapping(place, layout.size().min(size));
                self.dealloc(place, layout);
            }
            moved
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::slice::from_raw_parts_mut;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    /// A place that is in use, and the byte that fills it.
    struct Held {
        place: *mut u8,
        layout: Layout,
        byte: u8,
    }

    impl Held {
        fn bytes(&mut self) -> &mut [u8] {
            // SAFETY: nobody else has it, or the test fails.
            unsafe { from_raw_parts_mut(self.place, self.layout.size()) }
        }
    }

    proptest! {
        /// Places in use never change, whatever else is allocated, freed or resized.
        #[test]
        fn allocations_never_overlap(steps in prop::collection::vec((0..3_u8, 1..600_usize, 0..5_u32, any::<usize>()), 1..400)) {
            let allocator = Allocator::new();
            let mut all: Vec<Held> = Vec::new();
            for (number, (what, size, align, which)) in steps.into_iter().enumerate() {
                let byte = number as u8;
                match what {
                    0 if !all.is_empty() => {
                        let held = all.swap_remove(which % all.len());
                        // SAFETY: it was allocated with this layout.
                        unsafe { allocator.dealloc(held.place, held.layout) };
                    }
                    1 if !all.is_empty() => {
                        let which = which % all.len();
                        let held = &mut all[which];
                        // SAFETY: it was allocated with this layout.
                        held.place = unsafe { allocator.realloc(held.place, held.layout, size) };
                        let kept = held.layout.size().min(size);
                        held.layout = layout(size, held.layout.align());
                        let before = held.byte;
                        prop_assert!(held.bytes()[..kept].iter().all(|byte| *byte == before));
                        held.byte = byte;
                        held.bytes().fill(byte);
                    }
                    _ => {
                        let layout = layout(size, 1 << align);
                        // SAFETY: its size is not zero.
                        let place = unsafe { allocator.alloc(layout) };
                        let mut held = Held { place, layout, byte };
                        held.bytes().fill(byte);
                        all.push(held);
                    }
                }
                for held in &mut all {
                    let byte = held.byte;
                    prop_assert_eq!(held.place.addr() % held.layout.align(), 0);
                    prop_assert!(held.bytes().iter().all(|other| *other == byte));
                }
            }
            for held in all {
                // SAFETY: it was allocated with this layout.
                unsafe { allocator.dealloc(held.place, held.layout) };
            }
        }
    }

    #[test]
    fn a_place_that_is_free_is_taken_again() {
        let allocator = Allocator::new();
        // SAFETY: their sizes are not zero, and each is given back as it was allocated.
        unsafe {
            let first = allocator.alloc(layout(17, 1));
            allocator.dealloc(first, layout(17, 1));
            assert_eq!(allocator.alloc(layout(24, 8)), first);
            assert_ne!(allocator.alloc(layout(24, 8)), first);
        }
    }
}
