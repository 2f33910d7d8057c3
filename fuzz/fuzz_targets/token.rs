//! See [`incluster_fuzz::token`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| incluster_fuzz::token(data));
