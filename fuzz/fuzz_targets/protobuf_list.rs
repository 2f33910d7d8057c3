//! See [`incluster_fuzz::protobuf_list`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| incluster_fuzz::protobuf_list(data));
