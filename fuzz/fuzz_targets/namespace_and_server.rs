//! See [`incluster_fuzz::namespace_and_server`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| incluster_fuzz::namespace_and_server(data));
