//! See [`incluster_fuzz::certificate`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| incluster_fuzz::certificate(data));
