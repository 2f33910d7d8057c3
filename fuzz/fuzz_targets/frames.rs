//! See [`incluster_fuzz::frames`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| incluster_fuzz::frames(data));
