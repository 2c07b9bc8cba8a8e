//! What somebody may have meant with a key that is none.

use super::{
    KEYS,
    Place::{self, Export, Generic},
    find,
};

/// What somebody may have meant with a key that is none.
#[must_use]
pub fn suggestion(place: Place, name: &str) -> String {
    let other = if place == Generic { Export } else { Generic };
    let alias = match (place, name) {
        (Generic, "bind" | "address" | "listen") => "listenaddr is the key for addresses",
        (Generic, "max_connections" | "maxconnections") => "maxconnections is a key of an export",
        (Generic, "logfile" | "loglevel") => "the log goes to syslog, or to standard error in the foreground",
        (Export, "max_connections") => "maxconnections is the key",
        (Export, "size") => "filesize is the key",
        (Export, "path" | "file" | "device") => "exportname is the key",
        _ if find(other, name.as_bytes()).is_some() => {
            return match place {
                Generic => "it is a key of an export, not of [generic]".into(),
                Export => "it is a key of [generic], not of an export".into(),
            };
        }
        _ => "",
    };
    if !alias.is_empty() {
        return alias.into();
    }
    let near =
        KEYS.iter().filter(|key| key.place == place).map(|key| (distance(key.name, name), key.name)).min();
    match near {
        // Of a short word two letters are too much of it.
        Some((far @ 0..=2, near)) if 2 * far <= name.len() => {
            format!("did you mean {near}?{}", without(near))
        }
        _ => "it is ignored".into(),
    }
}

/// What follows where one of these is missing; it is worse than an ignored key.
fn without(key: &str) -> &'static str {
    match key {
        "readonly" => " As it stands, the export is served WRITABLE",
        "copyonwrite" | "overlay" | "temporary" => " As it stands, writes go to the disk ITSELF",
        "force_tls" | "tlsonly" | "tls_allow" | "cacertfile" => " As it stands, clients come in WITHOUT it",
        _ => "",
    }
}

/// Letters to add, drop, change or swap with their neighbour to make one word of the other.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut rows = vec![(0..=other.len()).collect::<Vec<usize>>()];
    for i in 1..=one.len() {
        let mut row = vec![i];
        for j in 1..=other.len() {
            let change = rows[i - 1][j - 1] + usize::from(one[i - 1] != other[j - 1]);
            let mut best = change.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[one.len()][other.len()]
}
