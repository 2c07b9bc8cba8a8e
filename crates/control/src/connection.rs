//! One connection: requests in turn, and an end to whoever gets stuck.

use crate::answer::Failure;
use crate::api;
use crate::controls::Caller;
use crate::desk::Desk;
use crate::patient::Patient;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tower::ServiceExt;

/// For the whole header of a request, and between two requests.
const HEADER_TIME: Duration = Duration::from_secs(30);
/// A name is 4 KiB at most, three times that in a path.
const HEADER_MAX: usize = 32 << 10;
/// For whoever is turned away to ask, and then to read why.
const LEAVE_TIME: Duration = Duration::from_secs(2);

/// What is answered on a socket.
#[derive(Clone)]
pub(crate) enum Service {
    /// Everything.
    Control(Router),
    /// `/metrics`.
    Metrics,
}

/// Serves a connection until the client leaves, gets stuck, or the server ends.
pub(crate) async fn serve<S>(stream: S, service: Service, caller: Option<Caller>, desk: Arc<Desk>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request: Request<Incoming>| {
        let (service, desk) = (service.clone(), Arc::clone(&desk));
        async move { Ok::<_, Infallible>(caught(answer(request, service, caller, desk)).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(HEADER_MAX)
        .serve_connection(TokioIo::new(Patient::new(stream)), service);
    let (mut connection, mut stopped) = (pin!(connection), pin!(desk.stopped()));
    let mut leaving = false;
    // How it ended is the client's concern: there is nobody else to tell.
    let _ = poll_fn(|cx| {
        if !leaving && stopped.as_mut().poll(cx).is_ready() {
            leaving = true;
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(cx)
    })
    .await;
}

async fn answer(
    request: Request<Incoming>,
    service: Service,
    caller: Option<Caller>,
    desk: Arc<Desk>,
) -> Response {
    let pace = match service {
        Service::Control(_) => &desk.pace,
        Service::Metrics => &desk.pace_of_metrics,
    };
    if let Err(too_many) = pace.turn().await {
        return Failure::too_many_requests(&too_many).into_response();
    }
    let mut request = request.map(Body::new);
    match service {
        Service::Control(router) => {
            if let Some(caller) = caller {
                request.extensions_mut().insert(caller);
            }
            let Ok(response) = router.oneshot(request).await;
            response
        }
        Service::Metrics => api::metrics_only(&request, &desk),
    }
}

/// A panic costs its request, not the thread.
async fn caught(answer: impl Future<Output = Response>) -> Response {
    let mut answer = pin!(answer);
    let whole = poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(response)) => Poll::Ready(response),
        Err(_) => Poll::Ready(Failure::bug().into_response()),
    });
    whole.await
}

/// Says why there is no place, and closes.
pub(crate) async fn turn_away<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, limit: &str) {
    let failure = Failure::new(StatusCode::SERVICE_UNAVAILABLE, format!("there are {limit} already"));
    let (text, mut unread) = (failure.in_full(), [0; 4096]);
    // An answer that comes before its request is none to some clients (Go's net/http).
    let _ = timeout(LEAVE_TIME, stream.read(&mut unread)).await;
    let _ = timeout(LEAVE_TIME, async {
        stream.write_all(text.as_bytes()).await?;
        stream.shutdown().await?;
        // Nor is one to whoever cannot send the rest of his request.
        while stream.read(&mut unread).await? > 0 {}
        std::io::Result::Ok(())
    })
    .await;
}

#[cfg(test)]
mod tests;
