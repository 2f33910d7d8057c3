//! Decodes lists inside the sandbox, as often as it is told to, so that what decoding costs there is told from what it costs
//! to get a list in.

wit_bindgen::generate!({
    inline: "
        package bench:decode;
        world decoder {
            /// Keeps a body to decode.
            export hold: func(protobuf: bool, body: list<u8>);
            /// Decodes it so many times. How many pods it has.
            export decode: func(times: u32) -> u32;
        }
    ",
});

use incluster_client::decode::{Encoding, PodListDecoder};
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
        HELD.with_borrow(|(encoding, body)| {
            let pods = |_| {
                let mut decoder = PodListDecoder::new(*encoding);
                decoder.push(body).expect("a list");
                decoder.finish().expect("a list").items.len() as u32
            };
            (0..times).map(pods).max().unwrap_or_default()
        })
    }
}

export!(Decoder);
