//! Runs the command component, as `wasmtime run` would, in the sandbox.

use crate::cluster::pre_instantiate;
use crate::ctx::{Ctx, ended};
use crate::{Cluster, Error};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::p2::bindings::CommandPre;

impl Cluster {
    /// Runs `incluster.wasm` with these arguments, its own name not among them, and this process's standard output and
    /// error. Returns the exit status.
    pub async fn run_command(&self, args: &[String]) -> Result<i32, Error> {
        let args: Vec<_> = std::iter::once("incluster").chain(args.iter().map(String::as_str)).collect();
        let ctx =
            Ctx::builder(self).args(&args).stdout(wasmtime_wasi::cli::stdout()).stderr(wasmtime_wasi::cli::stderr()).build()?;
        let pre = pre_instantiate(&self.runtime, &self.runtime.command()?)?;
        let pre = CommandPre::new(pre).map_err(Error::Runtime)?;
        let run = async {
            let _permit = self.runtime.admit().await;
            let mut store = self.store(ctx);
            let run: wasmtime::Result<_> = async {
                let command = pre.instantiate_async(&mut store).await?;
                command.wasi_cli_run().call_run(&mut store).await
            }
            .await;
            match run {
                Ok(Ok(())) => Ok(0),
                Ok(Err(())) => Ok(1),
                Err(error) => match error.downcast_ref::<I32Exit>() {
                    Some(exit) => Ok(exit.0),
                    None => Err(ended(store.data_mut(), error)),
                },
            }
        };
        self.limits.run(run).await?
    }
}
