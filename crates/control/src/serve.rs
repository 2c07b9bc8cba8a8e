//! The thread of the control socket: it accepts, within limits, and ends when it is told to.

use crate::api;
use crate::connection::{self, Service};
use crate::controls::{Caller, Controls};
use crate::desk::Desk;
use rustix::process::{getpriority_process, setpriority_process};
use rustix::thread::gettid;
use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

/// Connections on the control socket. Each costs some 20 KiB; `nbdctl` and a few programs need a dozen.
const CONTROL_MAX: usize = 128;
/// Connections on each address for metrics, counted apart: whoever reaches it over a network cannot keep the operator out.
const METRICS_MAX: usize = 32;
/// How much nicer the thread is than the rest of the process: it gets a tenth of what a data session gets that wants the
/// same processor.
const NICER: i32 = 10;
/// What is being answered may be finished when the thread ends.
const GRACE: Duration = Duration::from_secs(1);
/// Until accepting is tried again: there are no descriptors left.
const AGAIN: Duration = Duration::from_millis(100);

/// Where it is listened. All of them are bound already.
#[derive(Debug, Default)]
pub struct Sockets {
    /// The control socket: everything.
    pub control: Option<UnixListener>,
    /// Addresses that are asked for `/metrics` and nothing else.
    pub metrics: Vec<TcpListener>,
}

/// The control thread. Dropped, it ends as by [`Running::stop`].
#[derive(Debug)]
pub struct Running {
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Ends event streams, finishes what is being answered if that takes under a second, and ends the thread. Calls
    /// of the server that have begun go on, and nobody hears their answer.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // A panic was told by the hook.
            let _ = thread.join();
        }
    }
}

/// Answers on these sockets from a thread of its own, which has a lower priority than the caller's.
///
/// # Errors
/// A socket cannot be polled, or the thread cannot be made.
pub fn serve(controls: Arc<dyn Controls>, sockets: Sockets) -> io::Result<Running> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(Desk::WAITING_MAX)
        .thread_name("control-wait")
        .build()?;
    let (stop, stopped) = watch::channel(false);
    let desk = Arc::new(Desk::new(controls, stopped));
    let entrances = Entrances::open(&runtime, sockets)?;
    let thread = std::thread::Builder::new().name("control".into()).spawn(move || {
        give_way();
        runtime.block_on(run(desk, entrances));
        // Not by dropping it: that waits for calls that wait.
        runtime.shutdown_background();
    })?;
    Ok(Running { stop, thread: Some(thread) })
}

/// On Linux a thread's id is a process to these calls, so it is this thread alone, and those that it starts. Where it is
/// not allowed, that is no reason to be silent.
fn give_way() {
    let this = Some(gettid());
    let _ = getpriority_process(this).and_then(|nice| setpriority_process(this, nice + NICER));
}

struct Entrances {
    control: Option<tokio::net::UnixListener>,
    metrics: Vec<tokio::net::TcpListener>,
}

impl Entrances {
    fn open(runtime: &Runtime, sockets: Sockets) -> io::Result<Self> {
        let _inside = runtime.enter();
        let control = sockets.control.map(|listener| {
            listener.set_nonblocking(true)?;
            tokio::net::UnixListener::from_std(listener)
        });
        let metrics = sockets.metrics.into_iter().map(|listener| {
            listener.set_nonblocking(true)?;
            tokio::net::TcpListener::from_std(listener)
        });
        Ok(Self { control: control.transpose()?, metrics: metrics.collect::<io::Result<_>>()? })
    }
}

async fn run(desk: Arc<Desk>, entrances: Entrances) {
    let router = api::router(Arc::clone(&desk));
    let (control, metrics) = (Arc::new(Semaphore::new(CONTROL_MAX)), Arc::new(Semaphore::new(METRICS_MAX)));
    let mut accepting = Vec::new();
    if let Some(listener) = entrances.control {
        let service = Service::Control(router.clone());
        accepting.push(tokio::spawn(accept(listener, service, Arc::clone(&control), Arc::clone(&desk))));
    }
    for listener in entrances.metrics {
        accepting.push(tokio::spawn(accept(
            listener,
            Service::Metrics,
            Arc::clone(&metrics),
            Arc::clone(&desk),
        )));
    }
    desk.stopped().await;
    accepting.iter().for_each(tokio::task::JoinHandle::abort);
    let _ = timeout(GRACE, async {
        let _ = control.acquire_many(CONTROL_MAX as u32).await;
        let _ = metrics.acquire_many(METRICS_MAX as u32).await;
    })
    .await;
}

/// Something that accepts streams, and knows who is at the other end where that can be known.
trait Accept {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    const LIMIT: &'static str;

    fn next(&self) -> impl Future<Output = io::Result<(Self::Stream, Option<Caller>)>> + Send;
}

impl Accept for tokio::net::UnixListener {
    type Stream = tokio::net::UnixStream;
    const LIMIT: &'static str = "128 connections to the control socket";

    async fn next(&self) -> io::Result<(Self::Stream, Option<Caller>)> {
        let (stream, _) = self.accept().await?;
        let credentials = stream.peer_cred()?;
        let caller =
            Caller { pid: credentials.pid().unwrap_or(0), uid: credentials.uid(), gid: credentials.gid() };
        Ok((stream, Some(caller)))
    }
}

impl Accept for tokio::net::TcpListener {
    type Stream = tokio::net::TcpStream;
    const LIMIT: &'static str = "32 connections for metrics";

    async fn next(&self) -> io::Result<(Self::Stream, Option<Caller>)> {
        let (stream, _) = self.accept().await?;
        Ok((stream, None))
    }
}

async fn accept<L: Accept>(listener: L, service: Service, places: Arc<Semaphore>, desk: Arc<Desk>) {
    // Those who are turned away are few at a time too.
    let leaving = Arc::new(Semaphore::new(CONTROL_MAX));
    loop {
        // Connections that nobody sends a request on cost as well. Until then they wait in the kernel.
        desk.pace.settled().await;
        let Ok((stream, caller)) = listener.next().await else {
            sleep(AGAIN).await;
            continue;
        };
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            let served = connection::serve(stream, service.clone(), caller, Arc::clone(&desk));
            tokio::spawn(async move {
                served.await;
                drop(place);
            });
        } else if let Ok(place) = Arc::clone(&leaving).try_acquire_owned() {
            tokio::spawn(async move {
                connection::turn_away(stream, L::LIMIT).await;
                drop(place);
            });
        }
    }
}
