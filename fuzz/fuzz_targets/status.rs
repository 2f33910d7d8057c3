//! See [`incluster_fuzz::status`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| incluster_fuzz::status(data));
