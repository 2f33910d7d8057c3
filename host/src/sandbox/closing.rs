//! That a runtime ends.

use crate::error::Error;
use tokio_util::sync::CancellationToken;

/// Says so to all that runs in it. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Closing {
    begun: CancellationToken,
    over: CancellationToken,
}

impl Closing {
    /// Nothing more begins, and what waits for something to happen is over.
    pub(crate) fn begin(&self) {
        self.begun.cancel();
    }

    /// What is still under way is over.
    pub(crate) fn end(&self) {
        self.over.cancel();
    }

    /// Waits for its beginning.
    pub(crate) async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// Runs what may go on until the end.
    pub(crate) async fn run<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        if self.begun.is_cancelled() {
            return Err(Error::ShuttingDown);
        }
        self.until(&self.over, call).await
    }

    /// Runs what waits for something to happen.
    pub(crate) async fn wait<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.until(&self.begun, call).await
    }

    async fn until<T>(&self, end: &CancellationToken, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        tokio::select! {
            biased;
            () = end.cancelled() => Err(Error::ShuttingDown),
            ended = call => ended,
        }
    }
}
