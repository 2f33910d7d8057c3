//! `gateway CONFIG`

use gateway::{Gateway, program, until_ended};
use std::process::ExitCode;

const HELP: &str = "\
Usage: gateway [--check] CONFIG

Serves the routes of the YAML file CONFIG, and reads the file again when it changes. After SIGTERM or SIGINT, it says that it is not
ready, serves on for `drainTime`, lets the requests under way end, and ends.

  --check         only say whether CONFIG is well-formed; `-` is standard input
  -h, --help      print this
  -V, --version   print the version
";

fn main() -> ExitCode {
    program("gateway", HELP, async |file, compiler, metrics| {
        let gateway = Gateway::start(file, compiler, metrics).await?;
        println!("serving at http://{}, status at http://{}", gateway.address, gateway.status_address);
        until_ended(gateway.engine()).await?;
        gateway.stop().await;
        Ok(())
    })
}
