//! Values that come from the host.

use super::{Laid, align_to, deallocate, largest, size_of_fields};
use crate::types::{ListOptions, ResourceVersionMatch};

/// A type whose values the host writes to the guest's memory.
///
/// # Safety
///
/// `lift` must read what the host has written.
pub unsafe trait Lift: Laid + Sized {
    /// Reads the value, and takes ownership of what belongs to it.
    ///
    /// # Safety
    ///
    /// The host must have written a value at this place, which nobody has read before.
    unsafe fn lift(at: *const u8) -> Self;

    /// Like [`lift`](Lift::lift), and frees the place.
    ///
    /// # Safety
    ///
    /// The host must have asked for this place to write a value there.
    unsafe fn take(at: *mut u8) -> Self {
        // SAFETY: the caller keeps the contract of `take`.
        unsafe {
            let value = Self::lift(at);
            deallocate(at, Self::SIZE, Self::ALIGN);
            value
        }
    }
}

/// Takes a text that the host has written. The host promises that it is UTF-8.
///
/// # Safety
///
/// The host must have asked for this memory to write `length` bytes there.
pub unsafe fn text(memory: *mut u8, length: usize) -> String {
    // SAFETY: the caller keeps the contract of `text`.
    unsafe { String::from_utf8_unchecked(Vec::from_raw_parts(memory, length, length)) }
}

// SAFETY: it is a number.
unsafe impl Lift for u32 {
    unsafe fn lift(at: *const u8) -> u32 {
        // SAFETY: the caller keeps the contract of `lift`.
        unsafe { at.cast::<u32>().read() }
    }
}

// SAFETY: it is an address and a length.
unsafe impl Lift for String {
    unsafe fn lift(at: *const u8) -> String {
        // SAFETY: the caller keeps the contract of `lift`.
        unsafe { text(at.cast::<*mut u8>().read(), at.add(size_of::<usize>()).cast::<usize>().read()) }
    }
}

// SAFETY: this is the canonical ABI's layout.
unsafe impl Laid for ResourceVersionMatch {
    const SIZE: usize = 1;
    const ALIGN: usize = 1;
}

// SAFETY: it is the number of a case.
unsafe impl Lift for ResourceVersionMatch {
    unsafe fn lift(at: *const u8) -> ResourceVersionMatch {
        // SAFETY: the caller keeps the contract of `lift`.
        match unsafe { at.read() } {
            0 => ResourceVersionMatch::Exact,
            _ => ResourceVersionMatch::NotOlderThan,
        }
    }
}

// SAFETY: the payload begins at a multiple of its alignment.
unsafe impl<T: Lift> Lift for Option<T> {
    unsafe fn lift(at: *const u8) -> Option<T> {
        // SAFETY: the caller keeps the contract of `lift`.
        unsafe { (at.read() == 1).then(|| T::lift(at.add(T::ALIGN))) }
    }
}

/// The arguments of `list-namespaced-pods`, which are so many that they are passed in memory: a handle, a namespace, and options.
pub struct ListArguments {
    /// The handle of a configuration.
    pub config: u32,
    /// `namespace`.
    pub namespace: String,
    /// `options`.
    pub options: ListOptions,
}

macro_rules! lifted {
    ($($record:ident { $($field:ident: $kind:ty,)* })*) => {$(
        // SAFETY: this is the canonical ABI's layout.
        unsafe impl Laid for $record {
            const SIZE: usize = align_to(size_of_fields(&[$((<$kind as Laid>::SIZE, <$kind as Laid>::ALIGN)),*]), Self::ALIGN);
            const ALIGN: usize = largest(&[$(<$kind as Laid>::ALIGN),*]);
        }

        // SAFETY: each field begins at a multiple of its alignment, after the one before it.
        unsafe impl Lift for $record {
            unsafe fn lift(at: *const u8) -> $record {
                let mut place = 0;
                $(
                    place = align_to(place, <$kind as Laid>::ALIGN);
                    // SAFETY: the caller keeps the contract of `lift`.
                    let $field = unsafe { <$kind as Lift>::lift(at.add(place)) };
                    place += <$kind as Laid>::SIZE;
                )*
                let _ = place;
                $record { $($field),* }
            }
        }
    )*};
}

lifted! {
    ListArguments {
        config: u32,
        namespace: String,
        options: ListOptions,
    }
    ListOptions {
        label_selector: Option<String>,
        field_selector: Option<String>,
        limit: Option<u32>,
        continue_token: Option<String>,
        resource_version: Option<String>,
        resource_version_match: Option<ResourceVersionMatch>,
        timeout_seconds: Option<u32>,
    }
}
