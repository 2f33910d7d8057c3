//! Runs commands: the one that comes with this crate, and tenants' own ones.

use super::Tenant;
use super::output::Output;
use super::sandboxes::Sandboxes;
use crate::error::Error;
use crate::sandbox::ctx::{Ctx, CtxBuilder};
use crate::sandbox::linker::command;
use wasmtime::Store;
use wasmtime::component::Component;
use wasmtime_wasi::p2::bindings::Command;

impl Tenant {
    /// Runs `incluster.wasm` with these arguments, which do not include its own name, and this process's standard input, output and
    /// error. Returns the exit status.
    ///
    /// If nobody reads the output, the guest waits, which does not count as computing. If [`CallLimits::wall_time`](crate::CallLimits::wall_time)
    /// ends the call meanwhile, one of tokio's threads is still writing: end with tokio's `Runtime::shutdown_background` or
    /// `std::process::exit`, which do not wait for it.
    pub async fn run_command(&self, args: &[String]) -> Result<i32, Error> {
        self.run_component(&self.runtime().command()?, "incluster", args).await
    }

    /// Runs an extension that exports `wasi:cli/run`, like [`Tenant::run_command`]. `name` is the extension's first argument.
    #[cfg(feature = "extensions")]
    pub async fn run_extension(&self, extension: &crate::Extension, name: &str, args: &[String]) -> Result<i32, Error> {
        self.run_component(extension.component(), name, args).await
    }

    async fn run_component(&self, component: &Component, name: &str, args: &[String]) -> Result<i32, Error> {
        let args: Vec<_> = std::iter::once(name).chain(args.iter().map(String::as_str)).map(String::from).collect();
        let pre = command(self.runtime(), component)?;
        let (stdout, stderr) = (Output::standard(), Output::error());
        let call = async |command: &Command, store: &mut Store<Ctx>| {
            let ended = command.wasi_cli_run().call_run(store).await;
            stdout.flush().await;
            stderr.flush().await;
            ended
        };
        let (stdout_of, stderr_of) = (stdout.clone(), stderr.clone());
        let sandboxes = Sandboxes::with(
            self.state(),
            Some(name),
            self.limits().call.hostcall_bytes,
            move |ctx: CtxBuilder| {
                let ctx = ctx.args(&args).stdin(wasmtime_wasi::cli::stdin());
                ctx.stdout(stdout_of.clone()).stderr(stderr_of.clone()).build()
            },
            move |store| {
                let pre = pre.clone();
                Box::pin(async move { pre.instantiate_async(store).await })
            },
        );
        match sandboxes.call(call).await {
            Ok(Ok(())) => Ok(0),
            Ok(Err(())) => Ok(1),
            Err(Error::Exit(status)) => Ok(status),
            Err(error) => Err(error),
        }
    }
}
