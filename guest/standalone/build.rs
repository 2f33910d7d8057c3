//! Builds the components whose TLS is in the guest. ring's C code needs clang: `tools/clang.sh`.

use incluster_components::Guests;
use std::env;
use std::error::Error;
use std::fs;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let guests = Guests::new("../..", "standalone")?;
    let out = env::var("OUT_DIR")?;
    let packages = ["-p", "incluster-command", "-p", "incluster-plugin-over-sockets"];
    guests.build(&[&packages[..], &["--features", "incluster-command/sockets"]].concat())?;
    for (file, name) in [
        ("incluster-standalone.wasm", "incluster-standalone"),
        ("incluster_plugin_over_sockets.wasm", "incluster-plugin-over-sockets"),
    ] {
        fs::write(Path::new(&out).join(name).with_extension("wasm"), guests.component(file, name)?)?;
    }
    guests.watch(&[]);
    Ok(())
}
