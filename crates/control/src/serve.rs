//! The control socket: HTTP/1.1 on a Unix socket, on a thread of its own.
//!
//! Nothing on the way of data waits for it. It runs below everybody else's priority, and what a client may hold is bounded:
//! connections, the time of a header, the size of a body, requests that wait, requests a second. On the addresses for
//! metrics there is nothing but `GET /metrics`.

use crate::Controls;
use crate::api::{self, Api};
use crate::controls::Caller;
use axum::extract::Request;
use axum::response::IntoResponse;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::future::Future;
use std::io;
use std::net::TcpListener as StdTcpListener;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::pin::pin;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::runtime::Builder;
use tokio::sync::{Semaphore, watch};
use tower::ServiceExt as _;

/// Connections at a time. An operator, a daemon, a collector and a dozen listeners are far from it. The next one is told
/// 503 and closed.
const CONNECTIONS_MAX: usize = 128;
/// A request's header must be there after this; an idle connection is closed after it too.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// After a failed accept (no descriptor is left), before the next one.
const BREATHER: Duration = Duration::from_millis(50);
/// Below those who move data: a thread of this niceness gets a tenth of what another one gets that wants the same
/// processor.
const NICENESS: i32 = 10;

/// Where it listens.
#[derive(Debug, Default)]
pub struct Sockets {
    /// For everything.
    pub control: Option<StdUnixListener>,
    /// For metrics alone.
    pub metrics: Vec<StdTcpListener>,
}

/// The running thread.
#[derive(Debug)]
pub struct Running {
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl Running {
    /// Ends the thread and every connection, whatever is on it.
    pub fn stop(self) {
        let _ = self.stop.send(true);
        let _ = self.thread.join();
    }
}

/// Starts the thread.
///
/// # Errors
/// When the system gives no thread or no event queue, or a socket cannot be used.
pub fn serve(controls: Arc<dyn Controls>, sockets: Sockets) -> io::Result<Running> {
    let (stop, stopped) = watch::channel(false);
    let runtime =
        Builder::new_current_thread().enable_all().max_blocking_threads(api::WAITING_MAX + 1).build()?;
    for listener in &sockets.metrics {
        listener.set_nonblocking(true)?;
    }
    if let Some(listener) = &sockets.control {
        listener.set_nonblocking(true)?;
    }
    let run = move || {
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS);
        if let Err(error) = runtime.block_on(listen(Api::new(controls), sockets, stopped)) {
            // The sockets were good a moment ago; whoever asks will find nobody, and the data goes on.
            eprintln!("the control socket cannot be served: {error}");
        }
        // Somebody may still wait for a reload: not for him.
        runtime.shutdown_background();
    };
    let thread = thread::Builder::new().name("control".into()).spawn(run)?;
    Ok(Running { stop, thread })
}

async fn listen(api: Arc<Api>, sockets: Sockets, stopped: watch::Receiver<bool>) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let doors = Doors { places, stopped: stopped.clone() };
    for listener in sockets.metrics {
        let listener = TcpListener::from_std(listener)?;
        let (doors, router) = (doors.clone(), api::metrics_router(api.clone()));
        tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => doors.enter(stream, router.clone()),
                    Err(_) => tokio::time::sleep(BREATHER).await,
                }
            }
        });
    }
    if let Some(listener) = sockets.control {
        let listener = UnixListener::from_std(listener)?;
        let (doors, router) = (doors.clone(), api::router(api));
        tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => match caller(&stream) {
                        Ok(caller) => doors.enter(stream, router.clone().layer(Extension(caller))),
                        Err(_) => drop(stream),
                    },
                    Err(_) => tokio::time::sleep(BREATHER).await,
                }
            }
        });
    }
    until(stopped).await;
    Ok(())
}

fn caller(stream: &UnixStream) -> io::Result<Caller> {
    let peer = stream.peer_cred()?;
    Ok(Caller { pid: peer.pid().unwrap_or(0), uid: peer.uid(), gid: peer.gid() })
}

/// Resolves when the server stops.
async fn until(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// How connections come in.
#[derive(Clone)]
struct Doors {
    places: Arc<Semaphore>,
    stopped: watch::Receiver<bool>,
}

impl Doors {
    fn enter<S>(&self, stream: S, router: Router)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let place = self.places.clone().try_acquire_owned();
        let stopped = self.stopped.clone();
        tokio::spawn(async move {
            let serve: std::pin::Pin<Box<dyn Future<Output = ()> + Send>> = match &place {
                Ok(_) => Box::pin(connection(stream, router, true)),
                Err(_) => Box::pin(connection(stream, full(), false)),
            };
            tokio::select! {
                () = serve => {}
                () = until(stopped) => {}
            }
            drop(place);
        });
    }
}

/// For whoever comes when all places are taken.
fn full() -> Router {
    let answer = || async {
        let detail = format!("all {CONNECTIONS_MAX} connections to the control socket are taken");
        crate::answer::Failure::busy(detail).into_response()
    };
    Router::new().fallback(answer)
}

async fn connection<S>(stream: S, router: Router, keep_alive: bool)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = TowerToHyperService::new(
        router.map_request(|request: Request<_>| request.map(axum::body::Body::new)),
    );
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .keep_alive(keep_alive)
        .serve_connection(TokioIo::new(stream), service);
    // How a client leaves is its own affair.
    let _ = pin!(connection).await;
}
