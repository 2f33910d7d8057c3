//! Builds the components with TLS in the guest. ring's C code needs clang: `tools/clang.sh`. Outside the repository, the components come
//! prebuilt.

use incluster_components::{Guests, packaged};
use std::env;
use std::error::Error;
use std::fs;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let out = env::var("OUT_DIR")?;
    let put = |name: &str, component| fs::write(Path::new(&out).join(name).with_extension("wasm"), component);
    let components = [
        ("incluster-standalone.wasm", "incluster-standalone"),
        ("incluster_plugin_over_sockets.wasm", "incluster-plugin-over-sockets"),
    ];
    if !Guests::are_there("../..") {
        return components.into_iter().try_for_each(|(_, name)| Ok(put(name, packaged(name)?)?));
    }
    let guests = Guests::new("../..", "standalone")?;
    let packages = ["-p", "incluster-command", "-p", "incluster-plugin-over-sockets"];
    guests.build(&[&packages[..], &["--features", "incluster-command/sockets"]].concat())?;
    for (file, name) in components {
        put(name, guests.component(file, name)?)?;
    }
    guests.watch(&[]);
    Ok(())
}
