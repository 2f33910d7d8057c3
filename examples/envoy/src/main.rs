//! `incluster-envoy CONFIG`

use gateway::{program, told_to_end};
use incluster_envoy::EnvoyProcessor;
use std::process::ExitCode;

const HELP: &str = "\
Usage: incluster-envoy [--check] CONFIG

Picks pods for an Envoy, by the routes of the YAML file CONFIG, and reads it again when it changes; SIGTERM and SIGINT end it, after the
requests that are under way. Envoy asks by ext_proc, and for endpoints by EDS, at the address `listen`.

  --check      only say whether CONFIG is well-formed
  -h, --help   print this
";

fn main() -> ExitCode {
    program("incluster-envoy", HELP, async |file, compiler, metrics| {
        let mut processor = EnvoyProcessor::start(file, compiler, metrics).await?;
        println!("serving Envoy at {}, status at http://{}", processor.address, processor.status_address);
        tokio::select! {
            told = told_to_end() => told?,
            why = processor.until_failed() => return Err(why.into()),
        }
        processor.stop().await;
        Ok(())
    })
}
