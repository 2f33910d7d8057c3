//! `incluster-plugin.wasm`: the interface `incluster:kubernetes/client`, for hosts that make the connections and trust ca.crt.

type Plugin = incluster_client::plugin::Plugin<incluster_transport_http::Http>;

incluster_client::bindings::export!(Plugin with_types_in incluster_client::glue);

#[cfg(target_family = "wasm")]
#[global_allocator]
static ALLOCATOR: incluster_client::allocator::Allocator = incluster_client::allocator::Allocator::new();
