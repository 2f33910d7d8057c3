//! `gateway CONFIG`

use gateway::{Gateway, program, told_to_end};
use std::process::ExitCode;

const HELP: &str = "\
Usage: gateway [--check] CONFIG

Serves the routes of the YAML file CONFIG, and reads it again when it changes; SIGTERM and SIGINT end it, after the requests
that are under way.

  --check      only say whether CONFIG is well-formed
  -h, --help   print this
";

fn main() -> ExitCode {
    program("gateway", HELP, async |file, compiler, metrics| {
        let gateway = Gateway::start(file, compiler, metrics).await?;
        println!("serving at http://{}, status at http://{}", gateway.address, gateway.status_address);
        told_to_end().await?;
        gateway.stop().await;
        Ok(())
    })
}
