//! `incluster-plugin-over-sockets.wasm`: the interface `incluster:kubernetes/client`, with its own TLS, which trusts ca.crt alone.

type Plugin = incluster_client::plugin::Plugin<incluster_transport_sockets::Sockets>;

incluster_client::bindings::export!(Plugin with_types_in incluster_client::glue);

#[cfg(target_family = "wasm")]
#[global_allocator]
static ALLOCATOR: incluster_client::allocator::Allocator = incluster_client::allocator::Allocator::new();
