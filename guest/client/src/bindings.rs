//! The bindings that wit-bindgen generates from `wit/`.
#![expect(missing_docs, reason = "generated: the docs are in wit/")]

wit_bindgen::generate!({
    path: "../../wit",
    world: "plugin",
    pub_export_macro: true,
    default_bindings_module: "incluster_client::bindings",
    additional_derives: [PartialEq],
    // Handles are not compared.
    additional_derives_ignore: ["watch"],
    // Decoding fills these in, field by field.
    additional_type_attributes: {
        "incluster:kubernetes/types@0.1.0/pod": [#[derive(Default)]],
        "incluster:kubernetes/types@0.1.0/pod-list": [#[derive(Default)]],
        "incluster:kubernetes/types@0.1.0/object-meta": [#[derive(Default)]],
        "incluster:kubernetes/types@0.1.0/owner-reference": [#[derive(Default)]],
        "incluster:kubernetes/types@0.1.0/pod-spec": [#[derive(Default)]],
        "incluster:kubernetes/types@0.1.0/container": [#[derive(Default)]],
        "incluster:kubernetes/types@0.1.0/container-port": [#[derive(Default)]],
        "incluster:kubernetes/types@0.1.0/pod-status": [#[derive(Default)]],
        "incluster:kubernetes/types@0.1.0/pod-condition": [#[derive(Default)]],
        "incluster:kubernetes/types@0.1.0/container-status": [#[derive(Default)]],
        "incluster:kubernetes/types@0.1.0/container-state-waiting": [#[derive(Default)]],
        "incluster:kubernetes/types@0.1.0/container-state-running": [#[derive(Default)]],
        "incluster:kubernetes/types@0.1.0/container-state-terminated": [#[derive(Default)]],
        "incluster:kubernetes/types@0.1.0/resource-requirements": [#[derive(Default)]],
        "incluster:kubernetes/types@0.1.0/status-details": [#[derive(Default)]],
        "incluster:kubernetes/types@0.1.0/status-cause": [#[derive(Default)]],
    },
});
