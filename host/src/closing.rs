//! That a runtime ends.

use crate::error::Error;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Says so to all that runs in it. Clones are the same.
#[derive(Clone)]
pub(crate) struct Closing {
    begun: CancellationToken,
    over: CancellationToken,
    /// What runs has one each.
    work: Arc<Semaphore>,
}

impl Default for Closing {
    fn default() -> Self {
        let (begun, over) = (CancellationToken::new(), CancellationToken::new());
        Closing { begun, over, work: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS.min(u32::MAX as usize))) }
    }
}

impl Closing {
    /// Nothing more begins, and what waits for something to happen is over. Waits for the rest.
    pub(crate) async fn begin(&self) {
        self.begun.cancel();
        // They are never closed.
        let _ = self.work.acquire_many(u32::MAX).await;
    }

    /// What is still under way is over.
    pub(crate) fn end(&self) {
        self.begun.cancel();
        self.over.cancel();
    }

    /// Waits for its beginning.
    pub(crate) async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// Waits for its end.
    pub(crate) async fn ended(&self) {
        self.over.cancelled().await;
    }

    /// Runs what may go on until the end.
    pub(crate) async fn run<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.until(&self.over, call).await
    }

    /// Runs what waits for something to happen.
    pub(crate) async fn wait<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.until(&self.begun, call).await
    }

    async fn until<T>(&self, end: &CancellationToken, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        // What follows would panic without it.
        if Handle::try_current().is_err() {
            return Err(Error::NoTokio);
        }
        let _work = self.work.try_acquire().map_err(|_| Error::ShuttingDown)?;
        if self.begun.is_cancelled() {
            return Err(Error::ShuttingDown);
        }
        tokio::select! {
            biased;
            () = end.cancelled() => Err(Error::ShuttingDown),
            ended = call => ended,
        }
    }
}
