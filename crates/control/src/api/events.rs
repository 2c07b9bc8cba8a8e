//! What happens, as it happens: one JSON object a line.

use super::Shared;
use crate::answer::Failure;
use crate::view::{Event, Level};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use http_body_util::StreamBody;
use hyper::body::Frame;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

/// After so long without an event an empty line says that the connection is good.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What happens from now on, for ever: one `Event` a line. An empty line after 15 seconds without one. A listener that is
/// too slow gets `events lost` with their `count`.
#[utoipa::path(get, path = "/v1/events", responses(
    (status = 200, description = "One event a line", body = Event, content_type = "application/x-ndjson"),
))]
pub async fn events(State(api): Shared) -> Result<impl IntoResponse, Failure> {
    let listener = api.now(|controls| controls.events().listen())?;
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::new(StreamBody::new(lines(listener)))))
}

type Next = Pin<Box<dyn Future<Output = (Bytes, Option<Receiver<Event>>)> + Send>>;

/// The lines of one listener.
struct Lines {
    next: Option<Next>,
}

fn lines(listener: Receiver<Event>) -> Lines {
    // At once, so that a client knows that it listens before it does what it wants to hear of.
    Lines { next: Some(Box::pin(async { (Bytes::from_static(b"\n"), Some(listener)) })) }
}

async fn next(mut listener: Receiver<Event>) -> (Bytes, Option<Receiver<Event>>) {
    let line = match tokio::time::timeout(KEEP_ALIVE, listener.recv()).await {
        Err(_) => Some(Bytes::from_static(b"\n")),
        Ok(Ok(event)) => Some(line(&event)),
        Ok(Err(RecvError::Lagged(count))) => Some(line(&lost(count))),
        Ok(Err(RecvError::Closed)) => None,
    };
    match line {
        Some(line) => (line, Some(listener)),
        None => (Bytes::new(), None),
    }
}

fn line(event: &Event) -> Bytes {
    let mut line = serde_json::to_vec(event).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

fn lost(count: u64) -> Event {
    Event {
        id: 0,
        at: crate::now(),
        level: Level::Warning,
        event: "events lost".into(),
        facts: BTreeMap::from([("count".to_owned(), count.to_string())]),
    }
}

impl futures_core::Stream for Lines {
    type Item = Result<Frame<Bytes>, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(future) = &mut self.next else { return Poll::Ready(None) };
        let Poll::Ready((line, listener)) = future.as_mut().poll(context) else { return Poll::Pending };
        self.next = listener.map(|listener| Box::pin(next(listener)) as Next);
        Poll::Ready((!line.is_empty()).then(|| Ok(Frame::data(line))))
    }
}
