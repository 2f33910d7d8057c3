//! Sample extensions as components: well-behaved and hostile ones.

pub mod hostile;

/// A program that exports `wasi:cli/run`; its first argument selects what it does: see `guest/src/bin/program.rs`.
pub const PROGRAM: &[u8] = include_bytes!(concat!(env!("EXTENSIONS"), "/program.wasm"));

/// A program that uses `incluster-extension` as its first argument says: see `guest/src/bin/library.rs`.
pub const LIBRARY: &[u8] = include_bytes!(concat!(env!("EXTENSIONS"), "/library.wasm"));

/// The first program in the README of `incluster-extension`.
pub const PODS: &[u8] = include_bytes!(concat!(env!("EXTENSIONS"), "/pods.wasm"));

/// `examples/controller`.
pub const CONTROLLER: &[u8] = include_bytes!(concat!(env!("EXTENSIONS"), "/controller.wasm"));

/// A program that reads the token if it can, and tries to send it to other servers by `wasi:http/outgoing-handler`.
pub const EXFILTRATE: &[u8] = include_bytes!(concat!(env!("EXTENSIONS"), "/exfiltrate.wasm"));

/// A program that imports `wasi:sockets` and tries each kind of socket.
pub const SOCKETS: &[u8] = include_bytes!(concat!(env!("EXTENSIONS"), "/sockets.wasm"));

/// An extension that exports `pick` (picks a ready pod by a key), `calls` (how many calls its instance has had) and `explode` (traps).
pub const PICKER: &[u8] = include_bytes!(concat!(env!("EXTENSIONS"), "/extension_guests.wasm"));

/// A gateway extension that sends all requests of a session to one pod.
pub const STICKY: &[u8] = include_bytes!(concat!(env!("EXTENSIONS"), "/sticky.wasm"));

/// A gateway extension that misbehaves in the way that the request's path names.
pub const UNRULY: &[u8] = include_bytes!(concat!(env!("EXTENSIONS"), "/unruly.wasm"));

/// An extension that exports `wasi:http/incoming-handler`: the path names a namespace, and the answer lists the names of its pods.
pub const HANDLER: &[u8] = include_bytes!(concat!(env!("EXTENSIONS"), "/handler.wasm"));

/// The guest of the decoding benchmark: decodes a list a given number of times.
pub const DECODE: &[u8] = include_bytes!(concat!(env!("EXTENSIONS"), "/decode_guest.wasm"));
