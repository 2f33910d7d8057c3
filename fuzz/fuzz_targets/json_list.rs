//! See [`incluster_fuzz::json_list`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| incluster_fuzz::json_list(data));
