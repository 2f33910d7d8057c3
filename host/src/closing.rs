//! How a runtime shuts down.

use crate::error::Error;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// The shutdown state of a runtime, for everything that runs in it. Clones share this state.
#[derive(Clone)]
pub(crate) struct Closing {
    begun: CancellationToken,
    over: CancellationToken,
    /// Each call under way holds one permit.
    work: Arc<Semaphore>,
}

impl Default for Closing {
    fn default() -> Self {
        let (begun, over) = (CancellationToken::new(), CancellationToken::new());
        Closing { begun, over, work: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS.min(u32::MAX as usize))) }
    }
}

impl Closing {
    /// Begins the shutdown: refuses new calls, ends those that only wait for something to happen, and waits for the rest.
    pub(crate) async fn begin(&self) {
        self.begun.cancel();
        // The semaphore is never closed.
        let _ = self.work.acquire_many(u32::MAX).await;
    }

    /// Ends the calls that are still under way.
    pub(crate) fn end(&self) {
        self.begun.cancel();
        self.over.cancel();
    }

    /// Waits until the shutdown begins.
    pub(crate) async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// Waits for [`Closing::end`].
    pub(crate) async fn ended(&self) {
        self.over.cancelled().await;
    }

    /// Runs a call that may go on until [`Closing::end`].
    pub(crate) async fn run<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.until(&self.over, call).await
    }

    /// Runs a call that only waits for something to happen: it ends when the shutdown begins.
    pub(crate) async fn wait<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.until(&self.begun, call).await
    }

    async fn until<T>(&self, end: &CancellationToken, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        // The call would panic without a tokio runtime.
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
