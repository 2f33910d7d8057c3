//! The contract's own functions and records, as wit-bindgen generates them from `wit/`: for a world of your own that uses its types.
#![expect(missing_docs, reason = "generated: the docs are in wit/")]

wit_bindgen::generate!({
    path: "wit",
    world: "extension",
    // The linker joins sections with the same name, and another crate may bind the contract, too.
    type_section_suffix: "-incluster-extension",
    generate_all,
    additional_derives: [PartialEq],
    // Handles are not compared.
    additional_derives_ignore: ["watch"],
    // Tests of extensions make these.
    additional_type_attributes: {
        "incluster:kubernetes/types@0.1.0/pod": [#[derive(Default)]],
        "incluster:kubernetes/types@0.1.0/object-meta": [#[derive(Default)]],
        "incluster:kubernetes/types@0.1.0/owner-reference": [#[derive(Default)]],
        "incluster:kubernetes/types@0.1.0/pod-spec": [#[derive(Default)]],
        "incluster:kubernetes/types@0.1.0/container": [#[derive(Default)]],
        "incluster:kubernetes/types@0.1.0/container-port": [#[derive(Default)]],
        "incluster:kubernetes/types@0.1.0/pod-status": [#[derive(Default)]],
        "incluster:kubernetes/types@0.1.0/pod-condition": [#[derive(Default)]],
        "incluster:kubernetes/types@0.1.0/container-status": [#[derive(Default)]],
        "incluster:kubernetes/types@0.1.0/resource-requirements": [#[derive(Default)]],
    },
});

/// Makes the linker keep the section that says which functions are imported. Nothing refers to it, so it could be left out.
pub(crate) fn link() {
    #[cfg(target_arch = "wasm32")]
    __link_custom_section_describing_imports();
}
