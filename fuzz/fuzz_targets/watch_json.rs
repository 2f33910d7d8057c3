//! See [`incluster_fuzz::watch_json`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| incluster_fuzz::watch_json(data));
