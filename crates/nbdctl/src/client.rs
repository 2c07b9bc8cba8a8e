//! The control socket as a caller sees it: a question goes, an answer comes, nothing takes longer than was said.
//!
//! It looks blocking; inside, a runtime of its own on the caller's thread keeps the time.

mod failure;
mod path;

use crate::args;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use std::future::Future;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};

pub use failure::Failure;
pub use path::Path;

/// How much longer the client waits than it allowed the server: an answer that names what hangs is worth it.
const LONGER: Duration = Duration::from_secs(2);

/// A server to ask.
pub struct Client {
    socket: PathBuf,
    timeout: Duration,
    runtime: Runtime,
}

/// A question, or a change that is asked for.
#[derive(Clone, Debug)]
pub struct Ask {
    method: Method,
    path: Path,
    body: Option<(&'static str, Vec<u8>)>,
}

/// What came back, and was not an error.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The body as it came.
    pub body: Bytes,
    socket: PathBuf,
    changes: bool,
}

impl Ask {
    /// A question.
    pub fn get(path: Path) -> Self {
        Self { method: Method::GET, path, body: None }
    }

    /// Something to do.
    pub fn post(path: Path) -> Self {
        Self { method: Method::POST, path, body: None }
    }

    /// Something to set.
    pub fn put(path: Path) -> Self {
        Self { method: Method::PUT, path, body: None }
    }

    /// Something to take away.
    pub fn delete(path: Path) -> Self {
        Self { method: Method::DELETE, path, body: None }
    }

    /// With a body.
    pub fn with(self, media_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { body: Some((media_type, body.into())), ..self }
    }

    /// Whether the server may be another one for having been asked.
    fn changes(&self) -> bool {
        self.method != Method::GET && !self.path.is_check()
    }

    fn request(&self) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let (media_type, body) = self.body.clone().unwrap_or_default();
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(self.path.to_string())
            .header(HOST, "localhost")
            .header(ACCEPT, "*/*");
        if self.body.is_some() {
            request = request.header(CONTENT_TYPE, media_type);
        }
        request.body(Full::new(body.into()))
    }
}

impl Answer {
    /// The body as a value.
    pub fn value<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let why = format!("its answer cannot be read: {error}");
            Failure::no_answer(&self.socket, &why, self.changes)
        })
    }
}

impl Client {
    /// Nobody is asked yet.
    pub fn new(server: &args::Server) -> Result<Self, Failure> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::Here(format!("no runtime to ask with: {error}")))?;
        Ok(Self { socket: server.socket.clone(), timeout: server.timeout, runtime })
    }

    /// How long the server is allowed to take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Asks, and waits for the whole answer.
    pub fn ask(&self, ask: &Ask) -> Result<Answer, Failure> {
        let patience = self.timeout + if ask.path.waits() { LONGER } else { Duration::ZERO };
        let whole = async {
            let response = self.send(ask).await?;
            let (status, media_type) = (response.status(), media_type(&response));
            let body = response.into_body().collect().await;
            let body = body.map_err(|error| self.cut_off(&error, ask.changes()))?.to_bytes();
            self.judge(ask, status, &media_type, body)
        };
        self.runtime.block_on(self.within(patience, ask.changes(), whole))
    }

    /// Asks for something that goes on. Once this returns, nothing is missed.
    pub fn listen(&self, ask: &Ask) -> Result<Listening<'_>, Failure> {
        let opened = async {
            let response = self.send(ask).await?;
            let (status, media_type) = (response.status(), media_type(&response));
            if status.is_success() {
                return Ok(Listening { client: self, body: response.into_body() });
            }
            let body = response.into_body().collect().await;
            let body = body.map_err(|error| self.cut_off(&error, false))?.to_bytes();
            self.judge(ask, status, &media_type, body)?;
            Err(Failure::no_answer(&self.socket, "it does not go on", false))
        };
        self.runtime.block_on(self.within(self.timeout, false, opened))
    }

    async fn within<T>(
        &self,
        patience: Duration,
        changes: bool,
        what: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let late = || Failure::no_answer(&self.socket, &format!("no answer within {patience:?}"), changes);
        tokio::time::timeout(patience, what).await.unwrap_or_else(|_| Err(late()))
    }

    /// Sends the question and takes the beginning of the answer.
    async fn send(&self, ask: &Ask) -> Result<Response<Incoming>, Failure> {
        let stream = UnixStream::connect(&self.socket).await;
        let stream = stream.map_err(|error| Failure::no_server(&self.socket, &error))?;
        let request =
            ask.request().map_err(|error| Failure::Here(format!("cannot be asked for: {error}")))?;
        let cut_off = |error: hyper::Error| self.cut_off(&error, ask.changes());
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(cut_off)?;
        // What goes wrong with it goes wrong with the request.
        tokio::spawn(connection);
        sender.send_request(request).await.map_err(cut_off)
    }

    fn cut_off(&self, error: &hyper::Error, changes: bool) -> Failure {
        let why = if error.is_parse() || error.is_parse_status() {
            "what answers there does not speak HTTP"
        } else {
            "the connection ended before the answer was whole"
        };
        Failure::no_answer(&self.socket, why, changes)
    }

    fn judge(&self, ask: &Ask, status: StatusCode, media_type: &str, body: Bytes) -> Result<Answer, Failure> {
        let changes = ask.changes();
        // A reload that was refused is an answer too, and names everything.
        let reload = status == StatusCode::UNPROCESSABLE_ENTITY && media_type == "application/json";
        if status.is_success() || reload {
            return Ok(Answer { body, socket: self.socket.clone(), changes });
        }
        Err(Failure::refused(&self.socket, status.as_u16(), body.to_vec(), changes))
    }
}

/// An answer that goes on.
pub struct Listening<'a> {
    client: &'a Client,
    body: Incoming,
}

/// What came next.
#[derive(Debug)]
pub enum Heard {
    /// Some bytes.
    Piece(Bytes),
    /// The time is over.
    TimeIsOver,
    /// The server ended it.
    Gone(Failure),
}

impl Listening<'_> {
    /// Waits for what comes next; without a time for as long as it takes.
    pub fn next(&mut self, until: Option<Instant>) -> Heard {
        let gone = || Heard::Gone(Failure::no_answer(&self.client.socket, "the server has gone", false));
        self.client.runtime.block_on(async {
            let frame = self.body.frame();
            let frame = match until {
                None => frame.await,
                Some(until) => match tokio::time::timeout_at(until.into(), frame).await {
                    Ok(frame) => frame,
                    Err(_) => return Heard::TimeIsOver,
                },
            };
            match frame {
                Some(Ok(frame)) => Heard::Piece(frame.into_data().unwrap_or_default()),
                Some(Err(_)) | None => gone(),
            }
        })
    }
}

fn media_type(response: &Response<Incoming>) -> String {
    let value = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.and_then(|value| value.split(';').next()).unwrap_or_default().trim().to_ascii_lowercase()
}
