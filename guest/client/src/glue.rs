//! What [`export!`](crate::bindings::export) is given in place of the bindings: these, but for the functions that return much.
//!
//! ```ignore
//! incluster_client::bindings::export!(Plugin with_types_in incluster_client::glue);
//! ```
#![expect(unsafe_code, reason = "these functions are called by the host, by the canonical ABI")]
#![expect(missing_docs, reason = "they are called by what is generated, by the names that it has for them")]

pub mod exports {
    pub mod incluster {
        pub mod kubernetes {
            pub use crate::bindings::exports::incluster::kubernetes::types;

            pub mod client {
                use crate::canonical::{Lift, ListArguments, free, hand_over, text};
                // Those below have the names of some of these, and take their places.
                pub use crate::bindings::exports::incluster::kubernetes::client::*;
                use std::ptr::with_exposed_provenance;

                /// A handle, as a borrow of what is behind it.
                macro_rules! behind {
                    ($borrow:ident, $handle:expr) => {
                        $borrow::lift(with_exposed_provenance($handle as usize))
                    };
                }

                macro_rules! post_returns {
                    ($($name:ident of $guest:ident: $kind:ty,)*) => {$(
                        /// # Safety
                        ///
                        /// It is called by the host, with what the function before has returned.
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
                /// It is called by the host, with arguments of the function's types.
                pub unsafe fn _export_list_namespaced_pods_cabi<T: Guest>(arguments: *mut u8) -> *mut u8 {
                    // SAFETY: by what this function asks for.
                    unsafe {
                        let ListArguments { config, namespace, options } = ListArguments::take(arguments);
                        hand_over(T::list_namespaced_pods(behind!(ConfigBorrow, config), namespace, options))
                    }
                }

                /// # Safety
                ///
                /// It is called by the host, with arguments of the function's types.
                pub unsafe fn _export_get_json_cabi<T: Guest>(config: i32, path: *mut u8, length: usize) -> *mut u8 {
                    // SAFETY: by what this function asks for.
                    unsafe {
                        let path = text(path, length);
                        hand_over(T::get_json(behind!(ConfigBorrow, config), path))
                    }
                }

                /// # Safety
                ///
                /// It is called by the host, with arguments of the function's types.
                pub unsafe fn _export_method_pod_pages_next_cabi<T: GuestPodPages>(pages: *mut u8) -> *mut u8 {
                    // SAFETY: by what this function asks for.
                    unsafe { hand_over(T::next(behind!(PodPagesBorrow, pages).get())) }
                }

                /// # Safety
                ///
                /// It is called by the host, with arguments of the function's types.
                pub unsafe fn _export_method_json_pages_next_cabi<T: GuestJsonPages>(pages: *mut u8) -> *mut u8 {
                    // SAFETY: by what this function asks for.
                    unsafe { hand_over(T::next(behind!(JsonPagesBorrow, pages).get())) }
                }

                /// # Safety
                ///
                /// It is called by the host, with arguments of the function's types.
                pub unsafe fn _export_method_pod_watch_next_cabi<T: GuestPodWatch>(
                    watch: *mut u8,
                    has: i32,
                    timeout: i32,
                ) -> *mut u8 {
                    let timeout = (has == 1).then_some(timeout.cast_unsigned());
                    // SAFETY: by what this function asks for.
                    unsafe { hand_over(T::next(behind!(PodWatchBorrow, watch).get(), timeout)) }
                }

                /// # Safety
                ///
                /// It is called by the host, with arguments of the function's types.
                pub unsafe fn _export_method_json_watch_next_cabi<T: GuestJsonWatch>(
                    watch: *mut u8,
                    has: i32,
                    timeout: i32,
                ) -> *mut u8 {
                    let timeout = (has == 1).then_some(timeout.cast_unsigned());
                    // SAFETY: by what this function asks for.
                    unsafe { hand_over(T::next(behind!(JsonWatchBorrow, watch).get(), timeout)) }
                }
            }
        }
    }
}
