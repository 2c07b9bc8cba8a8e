//! What all requests share: the server that is asked, and the limits on asking.

use crate::answer::{Answer, Failure};
use crate::controls::Controls;
use crate::pace::Pace;
use crate::rendition::Renditions;
use axum::http::StatusCode;
use std::future::Future;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// What all requests share.
pub(crate) struct Desk {
    controls: Arc<dyn Controls>,
    pub(crate) pace: Pace,
    /// Of those who ask for metrics without the control socket: they must not take the operator's turn.
    pub(crate) pace_of_metrics: Pace,
    pub(crate) renditions: Renditions,
    waiting: Arc<Semaphore>,
    listening: Arc<Semaphore>,
    stopped: watch::Receiver<bool>,
}

impl Desk {
    /// Calls that wait at a time: a reload, a plan, a check, each with a thread. More of them would only wait for each other.
    pub(crate) const WAITING_MAX: usize = 16;
    /// Event streams at a time: a quarter of the connections, so that they leave room for questions.
    pub(crate) const LISTENING_MAX: usize = 32;

    pub(crate) fn new(controls: Arc<dyn Controls>, stopped: watch::Receiver<bool>) -> Self {
        Self {
            controls,
            pace: Pace::new(),
            pace_of_metrics: Pace::new(),
            renditions: Renditions::default(),
            waiting: Arc::new(Semaphore::new(Self::WAITING_MAX)),
            listening: Arc::new(Semaphore::new(Self::LISTENING_MAX)),
            stopped,
        }
    }

    /// The server, for what it answers at once.
    pub(crate) fn controls(&self) -> &dyn Controls {
        &*self.controls
    }

    /// Asks on a thread that may wait. The place is held until the call is over, whether or not somebody still wants to
    /// know.
    pub(crate) async fn wait<T: Send + 'static>(
        &self,
        call: impl FnOnce(&dyn Controls) -> T + Send + 'static,
    ) -> Answer<T> {
        let place = place(&self.waiting, format!("{} calls that wait", Self::WAITING_MAX))?;
        let controls = Arc::clone(&self.controls);
        let answer = tokio::task::spawn_blocking(move || {
            let _place = place;
            call(&*controls)
        });
        answer.await.map_err(|_panic| Failure::bug())
    }

    /// A place for one more event stream.
    pub(crate) fn listener(&self) -> Answer<OwnedSemaphorePermit> {
        place(&self.listening, format!("{} event streams", Self::LISTENING_MAX))
    }

    /// Ready once the server ends.
    pub(crate) fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stopped = self.stopped.clone();
        async move {
            // Nobody left who could say so: the same.
            let _ = stopped.wait_for(|stopped| *stopped).await;
        }
    }
}

fn place(places: &Arc<Semaphore>, limit: String) -> Answer<OwnedSemaphorePermit> {
    Arc::clone(places).try_acquire_owned().map_err(|_| {
        Failure::new(StatusCode::SERVICE_UNAVAILABLE, format!("there are {limit} already")).again_after(1)
    })
}
