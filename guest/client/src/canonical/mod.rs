//! What calls come to, as the component model's canonical ABI has it in memory: one function for each type of `wit/types.wit`.
//!
//! What wit-bindgen generates writes a result field by field, all of it in the function that returns it: 28 KB for each of the three that return
//! pods, and 7 KB to free one. Here, they share what they have in common, so that the plugin is a quarter smaller. The order of fields and cases is that
//! of `wit/types.wit`; that each arrives where it belongs, the tests of the host show (`records::…`), which read them by wasmtime's own bindings.
#![expect(unsafe_code, reason = "values are written to memory that the host reads, and that is freed when it has done so")]

mod lift;
mod types;

pub use lift::{Lift, ListArguments, text};

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::{slice_from_raw_parts_mut, without_provenance_mut};

/// A type of the contract's, as it lies in memory.
///
/// # Safety
///
/// It is as the canonical ABI says.
pub unsafe trait Laid {
    /// How many bytes it takes, a multiple of `ALIGN`.
    const SIZE: usize;
    /// To what its place is aligned.
    const ALIGN: usize;
}

/// One that is handed over.
///
/// # Safety
///
/// `lower` writes no more than `SIZE` bytes.
pub unsafe trait Lower: Laid + Sized {
    /// Writes it.
    ///
    /// # Safety
    ///
    /// There are `SIZE` bytes at this place, which are aligned to `ALIGN`, and nobody else's.
    unsafe fn lower(self, at: *mut u8);

    /// Frees what belongs to the value at this place, but not the place.
    ///
    /// # Safety
    ///
    /// `lower` has written there, and nothing has since.
    unsafe fn free(_at: *mut u8) {}

    /// Writes many, one after the other, to memory of their own. Returns where, and how many there are.
    fn lower_list(list: Vec<Self>) -> (*mut u8, usize) {
        let length = list.len();
        let memory = allocate(Self::SIZE * length, Self::ALIGN);
        for (place, value) in list.into_iter().enumerate() {
            // SAFETY: there is room for `length` of them, and `SIZE` is a multiple of `ALIGN`.
            unsafe { value.lower(memory.add(Self::SIZE * place)) };
        }
        (memory, length)
    }

    /// Frees them, and their memory.
    ///
    /// # Safety
    ///
    /// They come from `lower_list`.
    unsafe fn free_list(memory: *mut u8, length: usize) {
        for place in 0..length {
            // SAFETY: `lower_list` has written so many.
            unsafe { Self::free(memory.add(Self::SIZE * place)) };
        }
        // SAFETY: it was allocated so.
        unsafe { deallocate(memory, Self::SIZE * length, Self::ALIGN) };
    }
}

/// Memory; of no bytes, none.
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
/// It comes from [`allocate`], by the same numbers.
unsafe fn deallocate(memory: *mut u8, size: usize, align: usize) {
    if let (Ok(layout), 1..) = (Layout::from_size_align(size, align), size) {
        // SAFETY: it was allocated by this layout.
        unsafe { dealloc(memory, layout) };
    }
}

/// Hands a result over: returns the place where it is.
pub fn hand_over<T: Lower>(result: T) -> *mut u8 {
    let memory = allocate(T::SIZE, T::ALIGN);
    // SAFETY: it is as large as it should be.
    unsafe { result.lower(memory) };
    memory
}

/// Frees a result that has been read.
///
/// # Safety
///
/// It comes from [`hand_over`].
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

/// The size of fields that follow each other: of each, its size and alignment.
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
        // SAFETY: so says the canonical ABI.
        unsafe impl Laid for $number {
            const SIZE: usize = size_of::<$number>();
            const ALIGN: usize = size_of::<$number>();
        }

        // SAFETY: a number is written as it is in memory, which is little-endian on the machine that this is for.
        unsafe impl Lower for $number {
            unsafe fn lower(self, at: *mut u8) {
                // SAFETY: by what `lower` asks for.
                unsafe { at.cast::<$number>().write(self) };
            }
        }
    )*};
}

numbers! { u16 u32 i32 u64 i64 }

// SAFETY: so says the canonical ABI.
unsafe impl Laid for bool {
    const SIZE: usize = 1;
    const ALIGN: usize = 1;
}

// SAFETY: a byte is written.
unsafe impl Lower for bool {
    unsafe fn lower(self, at: *mut u8) {
        // SAFETY: by what `lower` asks for.
        unsafe { at.write(self.into()) };
    }
}

// SAFETY: so says the canonical ABI.
unsafe impl Laid for u8 {
    const SIZE: usize = 1;
    const ALIGN: usize = 1;
}

// SAFETY: a byte is written.
unsafe impl Lower for u8 {
    unsafe fn lower(self, at: *mut u8) {
        // SAFETY: by what `lower` asks for.
        unsafe { at.write(self) };
    }

    fn lower_list(list: Vec<u8>) -> (*mut u8, usize) {
        let length = list.len();
        (Box::into_raw(list.into_boxed_slice()).cast(), length)
    }

    unsafe fn free_list(memory: *mut u8, length: usize) {
        // SAFETY: it was such a box.
        drop(unsafe { Box::from_raw(slice_from_raw_parts_mut(memory, length)) });
    }
}

// SAFETY: so says the canonical ABI.
unsafe impl<T: Laid> Laid for Vec<T> {
    const SIZE: usize = 2 * size_of::<usize>();
    const ALIGN: usize = size_of::<usize>();
}

// SAFETY: a place and a length are written.
unsafe impl<T: Lower> Lower for Vec<T> {
    unsafe fn lower(self, at: *mut u8) {
        let (memory, length) = T::lower_list(self);
        // SAFETY: by what `lower` asks for.
        unsafe {
            at.cast::<*mut u8>().write(memory);
            at.add(size_of::<usize>()).cast::<usize>().write(length);
        }
    }

    unsafe fn free(at: *mut u8) {
        // SAFETY: `lower` has written them.
        unsafe { T::free_list(at.cast::<*mut u8>().read(), at.add(size_of::<usize>()).cast::<usize>().read()) };
    }
}

// SAFETY: so says the canonical ABI.
unsafe impl Laid for String {
    const SIZE: usize = <Vec<u8> as Laid>::SIZE;
    const ALIGN: usize = <Vec<u8>>::ALIGN;
}

// SAFETY: it is a list of bytes.
unsafe impl Lower for String {
    unsafe fn lower(self, at: *mut u8) {
        // SAFETY: by what `lower` asks for.
        unsafe { self.into_bytes().lower(at) };
    }

    unsafe fn free(at: *mut u8) {
        // SAFETY: by what `free` asks for.
        unsafe { <Vec<u8>>::free(at) };
    }
}

// SAFETY: so says the canonical ABI.
unsafe impl<T: Laid> Laid for Option<T> {
    const SIZE: usize = T::ALIGN + T::SIZE;
    const ALIGN: usize = T::ALIGN;
}

// SAFETY: the payload begins at a multiple of its alignment, and ends before `SIZE`.
unsafe impl<T: Lower> Lower for Option<T> {
    unsafe fn lower(self, at: *mut u8) {
        // SAFETY: by what `lower` asks for.
        unsafe {
            at.write(self.is_some().into());
            if let Some(value) = self {
                value.lower(at.add(T::ALIGN));
            }
        }
    }

    unsafe fn free(at: *mut u8) {
        // SAFETY: `lower` has written the payload where the first byte says so.
        unsafe {
            if at.read() == 1 {
                T::free(at.add(T::ALIGN));
            }
        }
    }
}

// SAFETY: so says the canonical ABI.
unsafe impl<T: Laid, E: Laid> Laid for Result<T, E> {
    const SIZE: usize = align_to(Self::ALIGN + largest(&[T::SIZE, E::SIZE]), Self::ALIGN);
    const ALIGN: usize = largest(&[T::ALIGN, E::ALIGN]);
}

// SAFETY: both payloads begin at a multiple of their alignment, and end before `SIZE`.
unsafe impl<T: Lower, E: Lower> Lower for Result<T, E> {
    unsafe fn lower(self, at: *mut u8) {
        // SAFETY: by what `lower` asks for.
        unsafe {
            at.write(self.is_err().into());
            match self {
                Ok(value) => value.lower(at.add(Self::ALIGN)),
                Err(error) => error.lower(at.add(Self::ALIGN)),
            }
        }
    }

    unsafe fn free(at: *mut u8) {
        // SAFETY: `lower` has written the one that the first byte says.
        unsafe {
            match at.read() {
                0 => T::free(at.add(Self::ALIGN)),
                _ => E::free(at.add(Self::ALIGN)),
            }
        }
    }
}

// SAFETY: so says the canonical ABI.
unsafe impl Laid for (String, String) {
    const SIZE: usize = 2 * String::SIZE;
    const ALIGN: usize = String::ALIGN;
}

// SAFETY: the second begins where the first has ended.
unsafe impl Lower for (String, String) {
    unsafe fn lower(self, at: *mut u8) {
        // SAFETY: by what `lower` asks for.
        unsafe {
            self.0.lower(at);
            self.1.lower(at.add(String::SIZE));
        }
    }

    unsafe fn free(at: *mut u8) {
        // SAFETY: by what `free` asks for.
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

    /// As the canonical ABI lays them out where a place has 4 bytes; here, it has 8.
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

    /// What is handed over is freed, all of it and once: so miri says, and the memory of a guest that watches for long.
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
