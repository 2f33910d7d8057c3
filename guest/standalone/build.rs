//! Builds the components whose TLS is in the guest. ring's C code needs clang: `tools/clang.sh`.

#[path = "../components.rs"]
mod components;

use components::Guests;
use std::env;
use std::error::Error;
use std::fs;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let guests = Guests::new("../..", "standalone")?;
    let out = env::var("OUT_DIR")?;
    guests.build(&[
        "-p",
        "incluster-command",
        "-p",
        "incluster-plugin",
        "--features",
        "incluster-command/tls,incluster-plugin/tls",
    ])?;
    for (file, name) in
        [("incluster-command.wasm", "incluster-standalone"), ("incluster_plugin.wasm", "incluster-plugin-over-sockets")]
    {
        fs::write(Path::new(&out).join(name).with_extension("wasm"), guests.component(file, name)?)?;
    }
    guests.watch(&[]);
    Ok(())
}
