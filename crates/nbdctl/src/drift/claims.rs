//! What a database says of each export, and whether it agrees with itself.

use super::node::{Nodes, clash, same};
use std::collections::BTreeMap;

/// A row of the query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The export.
    pub name: String,
    /// Its path.
    pub path: Option<String>,
    /// Its path according to another table; none where that has nothing to say.
    pub other: Option<String>,
    /// Why the row is not to be relied on.
    pub doubt: Option<String>,
}

/// The doubt of an export that somebody has given up.
pub const FAILED: &str = "failed";

/// All that the rows of one export come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// One path.
    Path(String),
    /// No path at all.
    NoPath,
    /// More than one.
    Torn(Vec<String>),
    /// Paths that are not to be relied on, and why.
    Doubtful(Vec<String>, String),
    /// It has failed, and may still be in use.
    Failed(Vec<String>),
}

impl Claim {
    /// Every path that is named.
    pub fn paths(&self) -> &[String] {
        match self {
            Self::Path(path) => std::slice::from_ref(path),
            Self::NoPath => &[],
            Self::Torn(paths) | Self::Doubtful(paths, _) | Self::Failed(paths) => paths,
        }
    }
}

/// The database's word on every export.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    all: BTreeMap<String, Claim>,
    /// Disks of volumes that have no export.
    foreign: Vec<String>,
    prefix: String,
}

/// Who has a disk, where it is no export.
const ANOTHER_VOLUME: &str = "another volume";

impl Claims {
    /// Of all rows; those whose name begins with the prefix are looked at, the others may have the same disks.
    pub fn of(rows: &[Row], prefix: &str, nodes: Nodes<'_>) -> Self {
        let mut words: BTreeMap<String, (Vec<String>, Option<String>)> = BTreeMap::new();
        let mut foreign = Vec::new();
        for row in rows {
            let paths = [&row.path, &row.other].into_iter().flatten().filter(|path| !path.is_empty());
            if row.name.is_empty() {
                foreign.extend(paths.cloned());
                continue;
            }
            let (said, doubt) = words.entry(row.name.clone()).or_default();
            *doubt = doubt.take().or(row.doubt.clone());
            for path in paths {
                if !said.iter().any(|known| same(known, path, nodes)) {
                    said.push(path.clone());
                }
            }
        }
        let claim = |(mut said, doubt): (Vec<String>, Option<String>)| match doubt {
            Some(doubt) if doubt == FAILED => Claim::Failed(said),
            Some(doubt) => Claim::Doubtful(said, doubt),
            None if said.len() == 1 => Claim::Path(said.remove(0)),
            None if said.is_empty() => Claim::NoPath,
            None => Claim::Torn(said),
        };
        let all = words.into_iter().map(|(name, said)| (name, claim(said))).collect();
        Self { all, foreign, prefix: prefix.into() }
    }

    /// By name.
    pub fn get(&self, name: &str) -> Option<&Claim> {
        self.all.get(name)
    }

    /// Those that are looked at, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Claim)> {
        self.everyone().filter(|(name, _)| name.starts_with(&self.prefix))
    }

    fn everyone(&self) -> impl Iterator<Item = (&str, &Claim)> {
        self.all.iter().map(|(name, claim)| (name.as_str(), claim))
    }

    /// Exports to which one disk is given, two or more together, each disk once.
    pub fn shared(&self, nodes: Nodes<'_>) -> Vec<(String, Vec<String>)> {
        let mut disks: Vec<(String, Vec<String>)> = Vec::new();
        let plain = self.everyone().filter_map(|(name, claim)| match claim {
            Claim::Path(path) => Some((name, path)),
            _ => None,
        });
        for (name, path) in plain {
            match disks.iter_mut().find(|(disk, _)| clash(disk, path, nodes)) {
                Some((_, names)) => names.push(name.into()),
                None => disks.push((path.clone(), vec![name.into()])),
            }
        }
        let ours = |name: &String| name.starts_with(&self.prefix);
        disks.retain(|(_, names)| names.len() > 1 && names.iter().any(ours));
        disks
    }

    /// Another export to which the database gives this disk too, be it in one table only.
    pub fn rival(&self, name: &str, path: &str, nodes: Nodes<'_>) -> Option<&str> {
        let has = |paths: &[String]| paths.iter().any(|known| clash(known, path, nodes));
        let mut others = self.everyone().filter(|(other, _)| *other != name);
        let other = others.find(|(_, claim)| has(claim.paths())).map(|(other, _)| other);
        other.or_else(|| has(&self.foreign).then_some(ANOTHER_VOLUME))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::node::{Id, Node};

    fn row(name: &str, path: &str, other: &str) -> Row {
        let some = |text: &str| (text != "NULL").then(|| text.to_owned());
        Row { name: name.into(), path: some(path), other: some(other), doubt: None }
    }

    /// `/by-id/x` leads to `/dev/x`.
    fn nodes(path: &str) -> Node {
        let disk = path.strip_prefix("/dev/").or(path.strip_prefix("/by-id/"));
        let number =
            |disk: &str| disk.bytes().fold(0, |sum: u64, byte| sum.wrapping_mul(257) + u64::from(byte));
        disk.map_or(Node::Nothing("is not there".into()), |disk| Node::alone(Id::Device(number(disk))))
    }

    #[test]
    fn words_that_lead_to_one_disk_are_one_word() {
        let rows = [
            row("same", "/dev/a", "/by-id/a"),
            row("alone", "/dev/b", "NULL"),
            row("twice", "/dev/c", "NULL"),
            row("twice", "/by-id/c", "/dev/c"),
            row("torn", "/dev/d", "/dev/e"),
            row("torn-rows", "/dev/f", "NULL"),
            row("torn-rows", "/dev/g", "NULL"),
            row("none", "NULL", ""),
            row("mapped", "NULL", "/dev/h"),
            row("x-other", "/dev/i", "NULL"),
        ];
        let claims = Claims::of(&rows, "", &nodes);
        let path = |path: &str| Some(Claim::Path(path.into()));
        let torn = |one: &str, two: &str| Some(Claim::Torn(vec![one.into(), two.into()]));
        let get = |name: &str| claims.get(name).cloned();
        assert_eq!(get("same"), path("/dev/a"));
        assert_eq!(get("alone"), path("/dev/b"));
        assert_eq!(get("twice"), path("/dev/c"));
        assert_eq!(get("torn"), torn("/dev/d", "/dev/e"));
        assert_eq!(get("torn-rows"), torn("/dev/f", "/dev/g"));
        assert_eq!(get("none"), Some(Claim::NoPath));
        assert_eq!(get("mapped"), path("/dev/h"));
        let narrow = Claims::of(&rows, "x-", &nodes);
        assert_eq!(narrow.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["x-other"]);
        assert_eq!(narrow.rival("x-other", "/dev/a", &nodes), Some("same"), "whatever its name");
    }

    #[test]
    fn a_disk_that_is_given_twice_is_seen_whatever_it_is_called() {
        let rows = [
            row("a", "/dev/a", "NULL"),
            row("b", "/by-id/a", "NULL"),
            row("c", "/dev/c", "NULL"),
            row("d", "/dev/d", "/dev/c"),
            row("e", "/gone", "NULL"),
            row("f", "/gone", "NULL"),
        ];
        let claims = Claims::of(&rows, "", &nodes);
        let both = |one: &str, two: &str| vec![one.to_owned(), two.to_owned()];
        assert_eq!(
            claims.shared(&nodes),
            [("/dev/a".to_owned(), both("a", "b")), ("/gone".to_owned(), both("e", "f"))]
        );
        assert_eq!(claims.rival("c", "/dev/c", &nodes), Some("d"), "one of d's words");
        assert_eq!(claims.rival("a", "/dev/c", &nodes), Some("c"));
        assert_eq!(claims.rival("x", "/dev/x", &nodes), None);
        let claims = Claims::of(&[row("", "/by-id/x", "NULL")], "", &nodes);
        assert_eq!(claims.rival("x", "/dev/x", &nodes), Some("another volume"));
        assert_eq!(claims.iter().count(), 0);
    }

    #[test]
    fn a_doubt_counts_more_than_a_path() {
        let doubtful = |doubt: &str| Row { doubt: Some(doubt.into()), ..row("a", "/dev/a", "NULL") };
        let get = |rows: &[Row]| Claims::of(rows, "", &nodes).get("a").cloned();
        let paths = || vec!["/dev/a".to_owned()];
        assert_eq!(get(&[doubtful("failed")]), Some(Claim::Failed(paths())));
        let both = [row("a", "/dev/a", "NULL"), doubtful("it is old")];
        assert_eq!(get(&both), Some(Claim::Doubtful(paths(), "it is old".into())));
    }
}
