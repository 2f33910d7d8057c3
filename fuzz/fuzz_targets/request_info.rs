//! See [`incluster_fuzz::request_info`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| incluster_fuzz::request_info(data));
