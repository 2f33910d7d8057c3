//! `incluster-envoy CONFIG`

use gateway::{program, until_ended};
use incluster_envoy::EnvoyProcessor;
use std::process::ExitCode;

const HELP: &str = "\
Usage: incluster-envoy [--check] CONFIG

Picks pods for an Envoy, by the routes of the YAML file CONFIG, and reads the file again when it changes. Envoy asks by ext_proc, and for
endpoints by EDS, at the address `listen`. After SIGTERM or SIGINT, it says that it is not ready, serves on for `drainTime`, lets the
requests under way end, and ends.

  --check         only say whether CONFIG is well-formed; `-` is standard input
  -h, --help      print this
  -V, --version   print the version
";

fn main() -> ExitCode {
    program("incluster-envoy", HELP, async |file, compiler, metrics| {
        let mut processor = EnvoyProcessor::start(file, compiler, metrics).await?;
        println!("serving Envoy at {}, status at http://{}", processor.address, processor.status_address);
        let engine = processor.engine().clone();
        tokio::select! {
            told = until_ended(&engine) => told?,
            why = processor.until_failed() => return Err(why.into()),
        }
        processor.stop().await;
        Ok(())
    })
}
