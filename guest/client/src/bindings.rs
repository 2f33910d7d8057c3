//! What wit-bindgen makes of `wit/`.
#![expect(missing_docs, reason = "generated: the docs are in wit/")]

wit_bindgen::generate!({
    path: "../../wit",
    world: "plugin",
    pub_export_macro: true,
    default_bindings_module: "incluster_client::bindings",
    additional_derives: [PartialEq],
});
