//! See [`incluster_fuzz::pem`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| incluster_fuzz::pem(data));
