//! The tables of keys in the manual, from the table of keys that the parser uses.

use config::{Key, Kind, Place, Status};
use std::fmt::Write as _;

/// The manual that has them.
pub const PAGE: &str = "docs/man/nbd-server.5.md";

/// The page with its tables made anew. A table stands between `<!-- keys: PLACE -->` and `<!-- end -->`.
pub fn with_tables(page: &str) -> String {
    let mut text = page.to_owned();
    for (name, place) in [("generic", Place::Generic), ("export", Place::Export)] {
        let (open, close) = (format!("<!-- keys: {name} -->\n"), "<!-- end -->");
        let Some(start) = text.find(&open).map(|at| at + open.len()) else { continue };
        let Some(end) = text[start..].find(close).map(|at| start + at) else { continue };
        text.replace_range(start..end, &table(place));
    }
    text
}

fn table(place: Place) -> String {
    let mut text =
        "\n| key | type | without it | since | at SIGHUP | |\n|---|---|---|---|---|---|\n".to_owned();
    for key in config::keys().iter().filter(|key| key.place == place) {
        let live = if key.live { "applies" } else { "needs a restart" };
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {live} | {} |",
            key.name,
            kind(key.kind),
            key.default,
            key.since,
            about(key)
        );
    }
    text + "\n"
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text",
        Kind::Flag => "true, false",
        Kind::Number => "number",
        Kind::Bytes => "bytes",
    }
}

fn about(key: &Key) -> String {
    match key.status {
        Status::Working => key.about.to_owned(),
        Status::Dead(why) => format!("{} *Without effect*: {why}.", key.about),
    }
}
