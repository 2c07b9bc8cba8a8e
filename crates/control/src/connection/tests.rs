//! What becomes of clients that get stuck, on a clock that goes on by itself while everybody waits.

use super::*;
use crate::controls::Controls;
use std::io::ErrorKind;
use tokio::io::DuplexStream;
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::time::Instant;

#[path = "../../tests/common/fake.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod fake;

const A_DAY: Duration = Duration::from_secs(86_400);
const CALLER: Caller = Caller { pid: 1, uid: 2, gid: 3 };

/// One client against one connection. Its ends hold this many bytes.
struct Scene {
    client: DuplexStream,
    served: tokio::task::JoinHandle<()>,
    fake: Arc<fake::Fake>,
    began: Instant,
    _stop: watch::Sender<bool>,
}

impl Scene {
    fn new(holds: usize) -> Self {
        let fake = Arc::new(fake::Fake::default());
        let (stop, stopped) = watch::channel(false);
        let desk = Arc::new(Desk::new(Arc::clone(&fake) as Arc<dyn Controls>, stopped));
        let (client, server) = tokio::io::duplex(holds);
        let service = Service::Control(api::router(Arc::clone(&desk)));
        let served = tokio::spawn(serve(server, service, Some(CALLER), desk));
        Self { client, served, fake, began: Instant::now(), _stop: stop }
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.client.write_all(bytes).await.expect("it is open");
    }

    /// What comes until the connection is closed, and after how many seconds that was.
    async fn rest(&mut self) -> (String, u64) {
        let mut text = String::new();
        if let Err(error) = self.client.read_to_string(&mut text).await {
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        }
        (text, self.began.elapsed().as_secs())
    }
}

fn run(story: impl Future<Output = ()>) {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let ended = runtime.expect("a runtime").block_on(async { timeout(A_DAY, story).await });
    ended.expect("it ends within a day");
}

#[test]
fn a_header_has_thirty_seconds_however_slowly_it_comes() {
    run(async {
        for bytes in [&b""[..], b"GET /v1/status HTTP/1.1\r\nhost:"] {
            let mut scene = Scene::new(1 << 16);
            scene.send(bytes).await;
            assert_eq!(scene.rest().await.1, 30);
        }
        let mut scene = Scene::new(1 << 16);
        for byte in b"GET /v1/status HTTP/1.1\r\n" {
            if scene.client.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        assert!(scene.served.is_finished(), "a byte now and then changes nothing");
    });
}

#[test]
fn an_idle_connection_is_closed_after_thirty_seconds() {
    run(async {
        let mut scene = Scene::new(1 << 16);
        scene.send(b"GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let (text, after) = scene.rest().await;
        assert!(text.starts_with("HTTP/1.1 200 ") && text.matches("HTTP/1.1").count() == 1, "{text}");
        assert_eq!(after, 30);
    });
}

#[test]
fn a_body_has_ten_seconds_and_is_told() {
    run(async {
        let mut scene = Scene::new(1 << 16);
        scene.send(b"POST /v1/check HTTP/1.1\r\nhost: x\r\ncontent-type: text/plain\r\n").await;
        scene.send(b"content-length: 9\r\n\r\nhalf").await;
        let (text, after) = scene.rest().await;
        assert!(text.starts_with("HTTP/1.1 408 ") && text.contains("within 10 seconds"), "{text}");
        assert!(after < 45, "and the connection does not stay: {after}");
        assert_eq!(scene.fake.calls(), [""; 0]);
    });
}

#[test]
fn an_answer_that_nobody_reads_is_given_up_after_thirty_seconds() {
    run(async {
        let mut scene = Scene::new(64);
        scene.send(b"GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n").await;
        (&mut scene.served).await.expect("no panic");
        assert_eq!(scene.began.elapsed().as_secs(), 30);
    });
}

#[test]
fn an_answer_that_is_read_slowly_is_not_given_up() {
    run(async {
        let mut scene = Scene::new(64);
        scene.send(b"GET /v1/status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        let (mut text, mut piece) = (Vec::new(), [0; 64]);
        loop {
            let count = scene.client.read(&mut piece).await.expect("it is open");
            text.extend(&piece[..count]);
            if count == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_secs(20)).await;
        }
        assert!(String::from_utf8_lossy(&text).ends_with('}'));
        assert!(scene.began.elapsed().as_secs() > 100);
    });
}

#[test]
fn a_silent_stream_of_events_says_every_fifteen_seconds_that_it_is_there() {
    run(async {
        let mut scene = Scene::new(1 << 16);
        scene.send(b"GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let mut text = Vec::new();
        let ended = timeout(Duration::from_secs(3605), scene.client.read_to_end(&mut text)).await;
        assert!(ended.is_err(), "it is open after an hour");
        // A piece of one byte, which is an empty line: at the begin, and each 15 seconds.
        let text = String::from_utf8_lossy(&text);
        let (_, body) = text.split_once("\r\n\r\n").expect("a header");
        assert_eq!(body, "1\r\n\n\r\n".repeat(241));
    });
}

#[test]
fn a_stream_of_events_whose_client_stopped_reading_is_given_up() {
    run(async {
        let mut scene = Scene::new(256);
        scene.send(b"GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n").await;
        (&mut scene.served).await.expect("no panic");
        let after = scene.began.elapsed().as_secs();
        assert!((30..1000).contains(&after), "{after}");
    });
}

#[test]
fn whoever_is_turned_away_may_finish_his_request_and_is_told_why() {
    run(async {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        tokio::spawn(async move { turn_away(server, "99 balloons").await });
        let early = timeout(Duration::from_secs(1), client.read_u8()).await;
        assert!(early.is_err(), "no answer before the request");
        client.write_all(b"POST /v1/reload HTTP/1.1\r\n").await.expect("it is open");
        let mut text = String::new();
        client.read_to_string(&mut text).await.expect("an answer");
        client.write_all(b"host: x\r\n\r\n").await.expect("it is open");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.1 503 ") && head.ends_with("connection: close"), "{head}");
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head}");
        assert!(body.contains("there are 99 balloons already"), "{body}");
        // Who says nothing at all is not waited for.
        let began = Instant::now();
        let (_client, server) = tokio::io::duplex(1 << 16);
        turn_away(server, "99 balloons").await;
        assert_eq!(began.elapsed().as_secs(), 4);
    });
}
