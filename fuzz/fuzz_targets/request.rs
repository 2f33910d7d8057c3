//! See [`incluster_fuzz::request`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| incluster_fuzz::request(data));
