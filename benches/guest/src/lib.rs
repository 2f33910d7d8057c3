//! Decodes a list inside the sandbox a given number of times, so that the cost of decoding can be measured apart from the cost of
//! passing the list in.

wit_bindgen::generate!({
    path: "../../wit",
    with: { "incluster:kubernetes/types@0.1.0": incluster_client::types },
    inline: "
        package bench:decode;
        world decoder {
            use incluster:kubernetes/types@0.1.0.{pod};
            /// Keeps a body to decode.
            export hold: func(protobuf: bool, body: list<u8>);
            /// Decodes the body `times` times. Returns the number of its pods.
            export decode: func(times: u32) -> u32;
            /// Decodes the body, and hands over the pods.
            export hand-over: func() -> list<pod>;
        }
    ",
});

use incluster_client::decode::{Encoding, ListDecoder};
use std::cell::RefCell;

thread_local! {
    static HELD: RefCell<(Encoding, Vec<u8>)> = const { RefCell::new((Encoding::Json, Vec::new())) };
}

struct Decoder;

impl Guest for Decoder {
    fn hold(protobuf: bool, body: Vec<u8>) {
        HELD.set((if protobuf { Encoding::Protobuf } else { Encoding::Json }, body));
    }

    fn decode(times: u32) -> u32 {
        (0..times).map(|_| decoded().len() as u32).max().unwrap_or_default()
    }

    fn hand_over() -> Vec<Pod> {
        decoded()
    }
}

fn decoded() -> Vec<Pod> {
    HELD.with_borrow(|(encoding, body)| {
        let mut decoder = ListDecoder::<Pod>::new(*encoding);
        decoder.push(body).expect("a list");
        decoder.finish().expect("a list").items
    })
}

export!(Decoder);

#[cfg(target_family = "wasm")]
#[global_allocator]
static ALLOCATOR: incluster_client::allocator::Allocator = incluster_client::allocator::Allocator::new();
