//! See [`incluster_fuzz::guard`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| incluster_fuzz::guard(data));
