//! What happens, as it happens: one line of JSON for each event.

use crate::answer::Answer;
use crate::desk::Desk;
use crate::events::now;
use crate::view::{Event, Level};
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::timeout;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Then an empty line says that the server is still there, and finds out whether the client is.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Lines that are sent at once.
const BATCH_MAX: usize = 64 << 10;

pub(super) fn routes() -> OpenApiRouter<Arc<Desk>> {
    OpenApiRouter::new().routes(routes!(events))
}

/// What happens from now on, one JSON object a line, until the client leaves. Nobody waits for a listener: who is too
/// slow gets a line with the event `events lost` and the fact `count`. An empty line comes first, and after 15 seconds of
/// silence: the server is there.
#[utoipa::path(get, path = "/v1/events", tag = "events",
    responses((status = 200, description = "Events, one a line", content_type = "application/x-ndjson", body = Event)))]
async fn events(State(desk): State<Arc<Desk>>) -> Answer<Response> {
    let place = desk.listener()?;
    // Before the header leaves: whoever has seen that misses nothing.
    let from = desk.controls().events().listen();
    let stopped = Box::pin(desk.stopped());
    // An empty line at once, for clients that show a header only with the first of the body.
    let first = Box::pin(async { (Some((from, desk)), "\n".to_owned()) });
    let lines = Lines { batch: first, stopped, _place: place };
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::new(lines)).into_response())
}

type Batch = (Option<(Receiver<Event>, Arc<Desk>)>, String);

/// Events as a body that ends when the server does.
struct Lines {
    batch: Pin<Box<dyn Future<Output = Batch> + Send>>,
    stopped: Pin<Box<dyn Future<Output = ()> + Send>>,
    _place: OwnedSemaphorePermit,
}

impl HttpBody for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.stopped.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        let (more, lines) = ready!(self.batch.as_mut().poll(cx));
        let Some((from, desk)) = more else { return Poll::Ready(None) };
        self.batch = Box::pin(batch(from, desk));
        Poll::Ready(Some(Ok(Frame::data(lines.into()))))
    }
}

/// What there is to tell, once there is something.
async fn batch(mut from: Receiver<Event>, desk: Arc<Desk>) -> Batch {
    // A storm of events is told at the pace of everything else; who falls behind by that loses some.
    desk.pace.settled().await;
    let mut lines = String::new();
    match timeout(KEEP_ALIVE, from.recv()).await {
        Err(_) => lines.push('\n'),
        Ok(Err(RecvError::Closed)) => return (None, lines),
        Ok(Err(RecvError::Lagged(count))) => lost(&mut from, count, &mut lines),
        Ok(Ok(event)) => line(&event, &mut lines),
    }
    while lines.len() < BATCH_MAX {
        match from.try_recv() {
            Ok(event) => line(&event, &mut lines),
            Err(TryRecvError::Lagged(count)) => lost(&mut from, count, &mut lines),
            Err(TryRecvError::Empty | TryRecvError::Closed) => break,
        }
    }
    (Some((from, desk)), lines)
}

/// Says how many events are missing, with the number of the last of them, and then the one behind them.
fn lost(from: &mut Receiver<Event>, mut count: u64, lines: &mut String) {
    let next = loop {
        match from.try_recv() {
            Ok(event) => break Some(event),
            Err(TryRecvError::Lagged(more)) => count += more,
            Err(TryRecvError::Empty | TryRecvError::Closed) => break None,
        }
    };
    let notice = Event {
        id: next.as_ref().map_or(0, |next| next.id.saturating_sub(1)),
        at: now(),
        level: Level::Warning,
        event: "events lost".into(),
        facts: BTreeMap::from([("count".into(), count.to_string())]),
    };
    line(&notice, lines);
    if let Some(next) = next {
        line(&next, lines);
    }
}

fn line(event: &Event, lines: &mut String) {
    let json = serde_json::to_string(event).expect("strings and numbers are always JSON");
    lines.push_str(&json);
    lines.push('\n');
}
