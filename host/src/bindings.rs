//! The bindings that wasmtime generates from `wit/`.
#![expect(missing_docs, reason = "generated: the docs are in wit/")]

wasmtime::component::bindgen!({
    path: "wit",
    world: "plugin",
    exports: { default: async },
    additional_derives: [PartialEq],
});
