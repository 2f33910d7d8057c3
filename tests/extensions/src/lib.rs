//! Sample extensions, honest and hostile, as components.

pub mod hostile;

/// Exports `wasi:cli/run`. Its first argument says what it does: see `guest/src/bin/program.rs`.
pub const PROGRAM: &[u8] = include_bytes!(concat!(env!("EXTENSIONS"), "/program.wasm"));

/// Does with `incluster-extension` what its first argument says: see `guest/src/bin/library.rs`.
pub const LIBRARY: &[u8] = include_bytes!(concat!(env!("EXTENSIONS"), "/library.wasm"));

/// The first program of the README of `incluster-extension`.
pub const PODS: &[u8] = include_bytes!(concat!(env!("EXTENSIONS"), "/pods.wasm"));

/// `examples/controller`.
pub const CONTROLLER: &[u8] = include_bytes!(concat!(env!("EXTENSIONS"), "/controller.wasm"));

/// As [`PROGRAM`], but it imports `wasi:http/outgoing-handler`, too, and sends what it finds wherever it can.
pub const EXFILTRATE: &[u8] = include_bytes!(concat!(env!("EXTENSIONS"), "/exfiltrate.wasm"));

/// Imports `wasi:sockets`, and uses what it can.
pub const SOCKETS: &[u8] = include_bytes!(concat!(env!("EXTENSIONS"), "/sockets.wasm"));

/// Exports `pick`, which picks a ready pod by a key, `calls`, how many calls its instance has had, and `explode`.
pub const PICKER: &[u8] = include_bytes!(concat!(env!("EXTENSIONS"), "/extension_guests.wasm"));

/// For the gateway: requests of one session go to one pod.
pub const STICKY: &[u8] = include_bytes!(concat!(env!("EXTENSIONS"), "/sticky.wasm"));

/// For the gateway: misbehaves, as the request's path says.
pub const UNRULY: &[u8] = include_bytes!(concat!(env!("EXTENSIONS"), "/unruly.wasm"));

/// Exports `wasi:http/incoming-handler`: answers with the names of the pods in the namespace that the path is.
pub const HANDLER: &[u8] = include_bytes!(concat!(env!("EXTENSIONS"), "/handler.wasm"));

/// For the benchmark of decoding: decodes a list as often as it is told to.
pub const DECODE: &[u8] = include_bytes!(concat!(env!("EXTENSIONS"), "/decode_guest.wasm"));
