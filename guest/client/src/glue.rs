//! The bindings for [`export!`](crate::bindings::export), but with other versions of the functions with large results.
//!
//! ```ignore
//! incluster_client::bindings::export!(Plugin with_types_in incluster_client::glue);
//! ```
#![expect(unsafe_code, reason = "the host calls these functions by the canonical ABI")]
#![expect(missing_docs, reason = "generated code calls them by these names")]

pub mod exports {
    pub mod incluster {
        pub mod kubernetes {
            pub use crate::bindings::exports::incluster::kubernetes::types;

            pub mod client {
                use crate::canonical::{Lift, ListArguments, free, hand_over, text};
                // The functions below take the places of those here that have the same names.
                pub use crate::bindings::exports::incluster::kubernetes::client::*;
                use std::ptr::with_exposed_provenance;

                /// The value behind a borrowed handle.
                macro_rules! behind {
                    ($borrow:ident, $handle:expr) => {
                        $borrow::lift(with_exposed_provenance($handle as usize))
                    };
                }

                macro_rules! post_returns {
                    ($($name:ident of $guest:ident: $kind:ty,)*) => {$(
                        /// # Safety
                        ///
                        /// Only the host may call it, with what the function before has returned.
                        pub unsafe fn $name<T: $guest>(result: *mut u8) {
                            // SAFETY: `hand_over` has made it.
                            unsafe { free::<$kind>(result) };
                        }
                    )*};
                }

                post_returns! {
                    __post_return_list_namespaced_pods of Guest: Result<PodList, Failure>,
                    __post_return_method_pod_pages_next of GuestPodPages: Result<Option<PodPage>, Failure>,
                    __post_return_method_pod_watch_next of GuestPodWatch: Result<Option<PodEvent>, Failure>,
                    __post_return_method_json_pages_next of GuestJsonPages: Result<Option<JsonPage>, Failure>,
                    __post_return_method_json_watch_next of GuestJsonWatch: Result<Option<JsonEvent>, Failure>,
                    __post_return_get_json of Guest: Result<Vec<u8>, Failure>,
                }

                /// # Safety
                ///
                /// Only the host may call it, with arguments of the function's types.
                pub unsafe fn _export_list_namespaced_pods_cabi<T: Guest>(arguments: *mut u8) -> *mut u8 {
                    // SAFETY: the caller keeps this function's contract.
                    unsafe {
                        let ListArguments { config, namespace, options } = ListArguments::take(arguments);
                        hand_over(T::list_namespaced_pods(behind!(ConfigBorrow, config), namespace, options))
                    }
                }

                /// # Safety
                ///
                /// Only the host may call it, with arguments of the function's types.
                pub unsafe fn _export_get_json_cabi<T: Guest>(config: i32, path: *mut u8, length: usize) -> *mut u8 {
                    // SAFETY: the caller keeps this function's contract.
                    unsafe {
                        let path = text(path, length);
                        hand_over(T::get_json(behind!(ConfigBorrow, config), path))
                    }
                }

                /// # Safety
                ///
                /// Only the host may call it, with arguments of the function's types.
                pub unsafe fn _export_method_pod_pages_next_cabi<T: GuestPodPages>(pages: *mut u8) -> *mut u8 {
                    // SAFETY: the caller keeps this function's contract.
                    unsafe { hand_over(T::next(behind!(PodPagesBorrow, pages).get())) }
                }

                /// # Safety
                ///
                /// Only the host may call it, with arguments of the function's types.
                pub unsafe fn _export_method_json_pages_next_cabi<T: GuestJsonPages>(pages: *mut u8) -> *mut u8 {
                    // SAFETY: the caller keeps this function's contract.
                    unsafe { hand_over(T::next(behind!(JsonPagesBorrow, pages).get())) }
                }

                /// # Safety
                ///
                /// Only the host may call it, with arguments of the function's types.
                pub unsafe fn _export_method_pod_watch_next_cabi<T: GuestPodWatch>(
                    watch: *mut u8,
                    has: i32,
                    timeout: i32,
                ) -> *mut u8 {
                    let timeout = (has == 1).then_some(timeout.cast_unsigned());
                    // SAFETY: the caller keeps this function's contract.
                    unsafe { hand_over(T::next(behind!(PodWatchBorrow, watch).get(), timeout)) }
                }

                /// # Safety
                ///
                /// Only the host may call it, with arguments of the function's types.
                pub unsafe fn _export_method_json_watch_next_cabi<T: GuestJsonWatch>(
                    watch: *mut u8,
                    has: i32,
                    timeout: i32,
                ) -> *mut u8 {
                    let timeout = (has == 1).then_some(timeout.cast_unsigned());
                    // SAFETY: the caller keeps this function's contract.
                    unsafe { hand_over(T::next(behind!(JsonWatchBorrow, watch).get(), timeout)) }
                }
            }
        }
    }
}
