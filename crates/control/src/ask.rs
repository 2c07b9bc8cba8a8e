//! What a request brings with it: a name, a time limit, a body; and what is said when it makes no sense.

use crate::answer::{Answer, Failure};
use crate::view::ExportSettings;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequestParts, OptionalFromRequestParts, Path, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, de};
use std::fmt;
use std::time::Duration;
use tokio::time::timeout;
use utoipa::IntoParams;

/// The longest body: ten thousand exports in one text.
const BODY_MAX: usize = 1 << 20;
/// For a whole body to arrive. It comes from this machine.
const BODY_TIME: Duration = Duration::from_secs(10);

/// How long may be waited for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limit {
    /// The answer comes within so many milliseconds, and then names what hangs.
    #[param(value_type = Option<u64>, minimum = 1, maximum = 600_000, default = 30_000)]
    #[serde(default)]
    pub(crate) timeout_ms: Timeout,
}

/// What happens with a file that was written or deleted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Applying {
    /// Reload at once; with `false` the file waits for a later reload.
    #[param(value_type = Option<bool>, default = true)]
    #[serde(default = "yes")]
    pub(crate) apply: bool,
    /// The answer comes within so many milliseconds, and then names what hangs.
    #[param(value_type = Option<u64>, minimum = 1, maximum = 600_000, default = 30_000)]
    #[serde(default)]
    pub(crate) timeout_ms: Timeout,
}

fn yes() -> bool {
    true
}

/// 1 to 600,000 milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeout(pub(crate) Duration);

impl Default for Timeout {
    fn default() -> Self {
        Self(Duration::from_secs(30))
    }
}

impl<'de> Deserialize<'de> for Timeout {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let ms = u64::deserialize(from)?;
        if !(1..=600_000).contains(&ms) {
            return Err(de::Error::custom(format!("{ms} is not between 1 and 600000")));
        }
        Ok(Self(Duration::from_millis(ms)))
    }
}

/// Behind the `?`. What is not known there is refused: a misspelt `apply=false` would apply.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        let query = axum::extract::Query::from_request_parts(parts, state).await;
        query.map(|axum::extract::Query(query)| Self(query)).map_err(|rejection: QueryRejection| {
            Failure::bad_request(format!("{}: {}", "the query makes no sense", reason(&rejection)))
        })
    }
}

fn reason(rejection: &QueryRejection) -> String {
    use std::error::Error;
    let mut innermost: &dyn Error = rejection;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// The name in a path, percent-decoded. Where the path has none it is the empty name.
pub(crate) struct Name(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        let name = <Path<String> as OptionalFromRequestParts<S>>::from_request_parts(parts, state).await;
        let name =
            name.map_err(|_: PathRejection| Failure::bad_request("the name in the path is not UTF-8"))?;
        Ok(Self(name.map(|Path(name)| name).unwrap_or_default()))
    }
}

/// The number in a path.
pub(crate) struct Number(pub(crate) u64);

impl<S: Send + Sync> FromRequestParts<S> for Number {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        let number = <Path<u64> as FromRequestParts<S>>::from_request_parts(parts, state).await;
        number
            .map(|Path(number)| Self(number))
            .map_err(|_| Failure::bad_request("a session is known by its number"))
    }
}

/// The keys of an export, each once: which of two values was meant cannot be known.
#[derive(Debug)]
pub(crate) struct Settings(pub(crate) ExportSettings);

impl<'de> Deserialize<'de> for Settings {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> de::Visitor<'de> for Each {
            type Value = Settings;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<M: de::MapAccess<'de>>(self, mut map: M) -> Result<Settings, M::Error> {
                let mut settings = ExportSettings::new();
                while let Some((key, value)) = map.next_entry::<String, String>()? {
                    if settings.contains_key(&key) {
                        return Err(de::Error::custom(format!("'{key}' is there twice")));
                    }
                    settings.insert(key, value);
                }
                Ok(Settings(settings))
            }
        }
        from.deserialize_map(Each)
    }
}

/// A body of JSON.
pub(crate) async fn json<T: DeserializeOwned>(request: Request) -> Answer<T> {
    let said = of_type(request.headers(), "application/json");
    let bytes = whole(request.into_body()).await?;
    if !said {
        return Err(wrong_type("application/json"));
    }
    serde_json::from_slice(&bytes)
        .map_err(|error| Failure::bad_request(format!("the body makes no sense: {error}")))
}

/// A body of text; none where it is empty.
pub(crate) async fn text(request: Request) -> Answer<Option<String>> {
    let said = of_type(request.headers(), "text/plain");
    let bytes = whole(request.into_body()).await?;
    if bytes.is_empty() {
        // Nothing has no type.
        return Ok(None);
    }
    if !said {
        return Err(wrong_type("text/plain"));
    }
    let text = String::from_utf8(bytes.into());
    text.map(Some).map_err(|_| Failure::bad_request("the body is not UTF-8"))
}

fn wrong_type(wanted: &str) -> Failure {
    Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("the body must have `Content-Type: {wanted}`"))
}

/// Whether a body is said to be of a type, in UTF-8.
fn of_type(headers: &HeaderMap, wanted: &str) -> bool {
    let Some(said) = headers.get(CONTENT_TYPE).and_then(|said| said.to_str().ok()) else { return false };
    let mut parts = said.split(';').map(|part| part.trim().to_ascii_lowercase());
    let utf8 = |part: String| {
        part.strip_prefix("charset=")
            .is_none_or(|charset| ["utf-8", "us-ascii"].contains(&charset.trim_matches('"')))
    };
    parts.next().is_some_and(|kind| kind == wanted) && parts.all(utf8)
}

async fn whole(body: Body) -> Answer<Bytes> {
    let too_large =
        || Failure::new(StatusCode::PAYLOAD_TOO_LARGE, format!("a body has {BODY_MAX} bytes at most"));
    if body.size_hint().lower() > BODY_MAX as u64 {
        return Err(too_large());
    }
    match timeout(BODY_TIME, Limited::new(body, BODY_MAX).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Failure::bad_request("the body does not end as it should")),
        Err(_) => Err(Failure::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive within 10 seconds")),
    }
}
