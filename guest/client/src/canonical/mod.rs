//! The results of calls, in the memory layout of the component model's canonical ABI: one function for each type of `wit/types.wit`.
//!
//! The code that wit-bindgen generates writes a result field by field, all in the function that returns it: 28 KB for each of the three
//! functions that return pods, and 7 KB to free one. Here, these functions share code, which makes the plugin a quarter smaller. Fields and
//! cases have the order of `wit/types.wit`. The tests of the host (`records::…`) show that each arrives where it belongs: they read them by
//! wasmtime's own bindings.
#![expect(unsafe_code, reason = "values are written to memory that the host reads, and that is freed when it has done so")]

mod lift;
mod types;

pub use lift::{Lift, ListArguments, text};

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::{slice_from_raw_parts_mut, without_provenance_mut};

/// A type of the contract, with its layout in memory.
///
/// # Safety
///
/// The layout must be that of the canonical ABI.
pub unsafe trait Laid {
    /// The size in bytes, a multiple of `ALIGN`.
    const SIZE: usize;
    /// The alignment in bytes.
    const ALIGN: usize;
}

/// A type whose values are handed over to the host.
///
/// # Safety
///
/// `lower` must write no more than `SIZE` bytes.
pub unsafe trait Lower: Laid + Sized {
    /// Writes the value.
    ///
    /// # Safety
    ///
    /// There must be `SIZE` bytes at this place that are aligned to `ALIGN`, and belong to nobody else.
    unsafe fn lower(self, at: *mut u8);

    /// Frees what belongs to the value at this place, but not the place.
    ///
    /// # Safety
    ///
    /// `lower` must have written there, and nothing may have since.
    unsafe fn free(_at: *mut u8) {}

    /// Writes several values, one after the other, to memory of their own. Returns its address, and their number.
    fn lower_list(list: Vec<Self>) -> (*mut u8, usize) {
        let length = list.len();
        let memory = allocate(Self::SIZE * length, Self::ALIGN);
        for (place, value) in list.into_iter().enumerate() {
            // SAFETY: there is room for `length` of them, and `SIZE` is a multiple of `ALIGN`.
            unsafe { value.lower(memory.add(Self::SIZE * place)) };
        }
        (memory, length)
    }

    /// Frees the values of a list, and their memory.
    ///
    /// # Safety
    ///
    /// The list must come from `lower_list`.
    unsafe fn free_list(memory: *mut u8, length: usize) {
        for place in 0..length {
            // SAFETY: `lower_list` has written `length` values.
            unsafe { Self::free(memory.add(Self::SIZE * place)) };
        }
        // SAFETY: it was allocated with this size and alignment.
        unsafe { deallocate(memory, Self::SIZE * length, Self::ALIGN) };
    }
}

/// Allocates memory; none for a size of zero.
fn allocate(size: usize, align: usize) -> *mut u8 {
    match Layout::from_size_align(size, align) {
        Ok(layout) if size > 0 => {
            // SAFETY: its size is not zero.
            let memory = unsafe { alloc(layout) };
            if memory.is_null() { handle_alloc_error(layout) } else { memory }
        }
        _ => without_provenance_mut(align),
    }
}

/// # Safety
///
/// The memory must come from [`allocate`], with the same size and alignment.
unsafe fn deallocate(memory: *mut u8, size: usize, align: usize) {
    if let (Ok(layout), 1..) = (Layout::from_size_align(size, align), size) {
        // SAFETY: it was allocated with this layout.
        unsafe { dealloc(memory, layout) };
    }
}

/// Hands a result over: returns the address of its memory.
pub fn hand_over<T: Lower>(result: T) -> *mut u8 {
    let memory = allocate(T::SIZE, T::ALIGN);
    // SAFETY: the memory has the size and alignment of a `T`.
    unsafe { result.lower(memory) };
    memory
}

/// Frees a result that the host has read.
///
/// # Safety
///
/// The memory must come from [`hand_over`].
pub unsafe fn free<T: Lower>(memory: *mut u8) {
    // SAFETY: `hand_over` has allocated and written it.
    unsafe {
        T::free(memory);
        deallocate(memory, T::SIZE, T::ALIGN);
    }
}

const fn align_to(place: usize, align: usize) -> usize {
    place.next_multiple_of(align)
}

const fn largest(of: &[usize]) -> usize {
    let (mut largest, mut at) = (of[0], 1);
    while at < of.len() {
        if of[at] > largest {
            largest = of[at];
        }
        at += 1;
    }
    largest
}

/// The size of fields that follow each other, from the size and alignment of each.
const fn size_of_fields(fields: &[(usize, usize)]) -> usize {
    let (mut size, mut at) = (0, 0);
    while at < fields.len() {
        size = align_to(size, fields[at].1) + fields[at].0;
        at += 1;
    }
    size
}

macro_rules! numbers {
    ($($number:ty)*) => {$(
        // SAFETY: this is the canonical ABI's layout.
        unsafe impl Laid for $number {
            const SIZE: usize = size_of::<$number>();
            const ALIGN: usize = size_of::<$number>();
        }

        // SAFETY: a number is written as it is in memory, which is little-endian on the machine that this is for.
        unsafe impl Lower for $number {
            unsafe fn lower(self, at: *mut u8) {
                // SAFETY: the caller keeps the contract of `lower`.
                unsafe { at.cast::<$number>().write(self) };
            }
        }
    )*};
}

numbers! { u16 u32 i32 u64 i64 }

// SAFETY: this is the canonical ABI's layout.
unsafe impl Laid for bool {
    const SIZE: usize = 1;
    const ALIGN: usize = 1;
}

// SAFETY: a byte is written.
unsafe impl Lower for bool {
    unsafe fn lower(self, at: *mut u8) {
        // SAFETY: the caller keeps the contract of `lower`.
        unsafe { at.write(self.into()) };
    }
}

// SAFETY: this is the canonical ABI's layout.
unsafe impl Laid for u8 {
    const SIZE: usize = 1;
    const ALIGN: usize = 1;
}

// SAFETY: a byte is written.
unsafe impl Lower for u8 {
    unsafe fn lower(self, at: *mut u8) {
        // SAFETY: the caller keeps the contract of `lower`.
        unsafe { at.write(self) };
    }

    fn lower_list(list: Vec<u8>) -> (*mut u8, usize) {
        let length = list.len();
        (Box::into_raw(list.into_boxed_slice()).cast(), length)
    }

    unsafe fn free_list(memory: *mut u8, length: usize) {
        // SAFETY: it comes from such a box.
        drop(unsafe { Box::from_raw(slice_from_raw_parts_mut(memory, length)) });
    }
}

// SAFETY: this is the canonical ABI's layout.
unsafe impl<T: Laid> Laid for Vec<T> {
    const SIZE: usize = 2 * size_of::<usize>();
    const ALIGN: usize = size_of::<usize>();
}

// SAFETY: an address and a length are written.
unsafe impl<T: Lower> Lower for Vec<T> {
    unsafe fn lower(self, at: *mut u8) {
        let (memory, length) = T::lower_list(self);
        // SAFETY: the caller keeps the contract of `lower`.
        unsafe {
            at.cast::<*mut u8>().write(memory);
            at.add(size_of::<usize>()).cast::<usize>().write(length);
        }
    }

    unsafe fn free(at: *mut u8) {
        // SAFETY: `lower` has written the address and the length.
        unsafe { T::free_list(at.cast::<*mut u8>().read(), at.add(size_of::<usize>()).cast::<usize>().read()) };
    }
}

// SAFETY: this is the canonical ABI's layout.
unsafe impl Laid for String {
    const SIZE: usize = <Vec<u8> as Laid>::SIZE;
    const ALIGN: usize = <Vec<u8>>::ALIGN;
}

// SAFETY: it is a list of bytes.
unsafe impl Lower for String {
    unsafe fn lower(self, at: *mut u8) {
        // SAFETY: the caller keeps the contract of `lower`.
        unsafe { self.into_bytes().lower(at) };
    }

    unsafe fn free(at: *mut u8) {
        // SAFETY: the caller keeps the contract of `free`.
        unsafe { <Vec<u8>>::free(at) };
    }
}

// SAFETY: this is the canonical ABI's layout.
unsafe impl<T: Laid> Laid for Option<T> {
    const SIZE: usize = T::ALIGN + T::SIZE;
    const ALIGN: usize = T::ALIGN;
}

// SAFETY: the payload begins at a multiple of its alignment, and ends before `SIZE`.
unsafe impl<T: Lower> Lower for Option<T> {
    unsafe fn lower(self, at: *mut u8) {
        // SAFETY: the caller keeps the contract of `lower`.
        unsafe {
            at.write(self.is_some().into());
            if let Some(value) = self {
                value.lower(at.add(T::ALIGN));
            }
        }
    }

    unsafe fn free(at: *mut u8) {
        // SAFETY: `lower` has written the payload if the first byte says so.
        unsafe {
            if at.read() == 1 {
                T::free(at.add(T::ALIGN));
            }
        }
    }
}

// SAFETY: this is the canonical ABI's layout.
unsafe impl<T: Laid, E: Laid> Laid for Result<T, E> {
    const SIZE: usize = align_to(Self::ALIGN + largest(&[T::SIZE, E::SIZE]), Self::ALIGN);
    const ALIGN: usize = largest(&[T::ALIGN, E::ALIGN]);
}

// SAFETY: both payloads begin at a multiple of their alignment, and end before `SIZE`.
unsafe impl<T: Lower, E: Lower> Lower for Result<T, E> {
    unsafe fn lower(self, at: *mut u8) {
        // SAFETY: the caller keeps the contract of `lower`.
        unsafe {
            at.write(self.is_err().into());
            match self {
                Ok(value) => value.lower(at.add(Self::ALIGN)),
                Err(error) => error.lower(at.add(Self::ALIGN)),
            }
        }
    }

    unsafe fn free(at: *mut u8) {
        // SAFETY: `lower` has written the payload that the first byte names.
        unsafe {
            match at.read() {
                0 => T::free(at.add(Self::ALIGN)),
                _ => E::free(at.add(Self::ALIGN)),
            }
        }
    }
}

// SAFETY: this is the canonical ABI's layout.
unsafe impl Laid for (String, String) {
    const SIZE: usize = 2 * String::SIZE;
    const ALIGN: usize = String::ALIGN;
}

// SAFETY: the second begins where the first ends.
unsafe impl Lower for (String, String) {
    unsafe fn lower(self, at: *mut u8) {
        // SAFETY: the caller keeps the contract of `lower`.
        unsafe {
            self.0.lower(at);
            self.1.lower(at.add(String::SIZE));
        }
    }

    unsafe fn free(at: *mut u8) {
        // SAFETY: the caller keeps the contract of `free`.
        unsafe {
            String::free(at);
            String::free(at.add(String::SIZE));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::fixtures;
    use crate::decode::{Encoding, ListDecoder};
    use crate::types::*;

    /// The canonical ABI's layout has addresses of 4 bytes; here, they have 8.
    #[test]
    fn sizes_are_multiples_of_alignments() {
        assert_eq!((<Option<u16>>::SIZE, <Option<i64>>::SIZE, <Option<bool>>::SIZE), (4, 16, 2));
        assert_eq!((<Option<String>>::SIZE, <Vec<Pod>>::SIZE), (3 * size_of::<usize>(), 2 * size_of::<usize>()));
        assert_eq!((ChangeKind::SIZE, ChangeKind::ALIGN), (1, 1));
        assert_eq!(<Result<bool, u32>>::SIZE, 8);
        for (size, align) in [(Pod::SIZE, Pod::ALIGN), (Failure::SIZE, Failure::ALIGN), (PodEvent::SIZE, PodEvent::ALIGN)] {
            assert_eq!(size % align, 0);
        }
    }

    /// Everything that is handed over is freed, and only once: miri shows it, and so does the memory of a guest that watches for long.
    #[test]
    fn what_is_handed_over_is_freed() {
        let mut decoder = ListDecoder::<Pod>::new(Encoding::Json);
        decoder.push(fixtures::full_pod_json().as_bytes()).unwrap();
        let list = PodList::from(decoder.finish().unwrap());
        let event = PodEvent::Changed(PodChange { kind: ChangeKind::Modified, pod: list.items[0].clone() });
        let unreadable = ConfigError::FileUnreadable(UnreadableFile { path: "a".into(), reason: "b".into() });
        let failure = Failure { error: Error::Config(unreadable), attempts: 1, elapsed: 2 };
        // SAFETY: each has just been handed over.
        unsafe {
            free::<Result<PodList, Failure>>(hand_over(Ok::<_, Failure>(list)));
            free::<Result<Option<PodEvent>, Failure>>(hand_over(Ok::<_, Failure>(Some(event))));
            free::<Result<Option<PodEvent>, Failure>>(hand_over(Ok::<_, Failure>(Some(PodEvent::Ended))));
            free::<Result<Option<PodEvent>, Failure>>(hand_over(Err::<Option<PodEvent>, _>(failure)));
            free::<Result<Vec<u8>, Failure>>(hand_over(Ok::<_, Failure>(b"json".to_vec())));
            free::<Result<Vec<u8>, Failure>>(hand_over(Ok::<_, Failure>(Vec::<u8>::new())));
        }
    }
}
