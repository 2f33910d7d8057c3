//! The components with TLS in the guest, for hosts that offer a network and cannot be told to trust the cluster's CA.

/// `incluster-standalone.wasm`, which exports `wasi:cli/run`. The wasmtime CLI runs it.
pub static COMMAND: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/incluster-standalone.wasm"));

/// `incluster-plugin-over-sockets.wasm`, which exports `incluster:kubernetes/client`. `incluster compose --standalone` composes with it.
pub static PLUGIN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/incluster-plugin-over-sockets.wasm"));
