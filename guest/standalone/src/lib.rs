//! The components whose TLS is in the guest, for hosts that offer a network and cannot be told to trust the cluster's CA.

/// `incluster-standalone.wasm`: exports `wasi:cli/run`. What the wasmtime CLI runs.
pub static COMMAND: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/incluster-standalone.wasm"));

/// `incluster-plugin-over-sockets.wasm`: exports `incluster:kubernetes/client`. What `incluster compose --standalone` composes with.
pub static PLUGIN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/incluster-plugin-over-sockets.wasm"));
