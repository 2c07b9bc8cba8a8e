//! An export as text: what `nbdctl add` puts into `includedir`. The reader has the last word, so nothing is written that
//! it would refuse or understand otherwise.

use crate::document::Document;
use crate::keys::{self, Place, suggestion};
use crate::problem::Problem;
use crate::read;
use crate::settings::Export;
use std::collections::BTreeMap;
use std::path::Path;

/// The text of a file that describes this export alone, and the export that it describes.
///
/// # Errors
/// Everything that is wrong with the name, a key or a value.
pub fn describe(
    file: &Path,
    name: &str,
    settings: &BTreeMap<String, String>,
) -> Result<(String, Export), Vec<Problem>> {
    let wrong = |key: Option<&str>, what: String| Problem::in_file(file, what).inside(name, key);
    let mut problems = Vec::new();
    if name == "generic" || name.is_empty() {
        problems.push(wrong(None, "this is no name for an export in a file".into()));
    }
    let mut text = format!("[{name}]\n");
    for (key, value) in settings {
        if keys::find(Place::Export, key.as_bytes()).is_none() {
            let what = format!("{key} is no key of an export");
            problems.push(match suggestion(Place::Export, key) {
                ignored if ignored.contains("ignored") => wrong(Some(key), what),
                suggestion => wrong(Some(key), what).hint(suggestion),
            });
        } else if value.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t' | '\r')) {
            problems.push(wrong(Some(key), "a control character stands in the value".into()));
        } else {
            text.push_str(&format!("{key} = {}\n", escaped(value)));
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let document = Document::parse(file, text.as_bytes())?;
    let [group] = document.groups.as_slice() else {
        return Err(vec![wrong(None, "this is no name for an export in a file".into())]);
    };
    let found = read::export(file, group);
    if found.errors.is_empty() { Ok((text, found.settings)) } else { Err(found.errors) }
}

/// The settings of an export that are not the default, as [`describe`] takes them.
#[must_use]
pub fn settings_of(export: &Export) -> BTreeMap<String, String> {
    let storage = &export.storage;
    let default = Export::new(export.name.clone(), storage.path.clone());
    let all = |export: &Export| export.storage.shown().into_iter().chain(export.shown());
    let differ = all(export).zip(all(&default)).filter(|(is, default)| is.1 != default.1);
    let mut settings: BTreeMap<String, String> =
        differ.map(|((key, value), _)| (key.to_owned(), value)).collect();
    // A path that is the same for everybody is a template all the same, unless it is said that it is none.
    let path = if storage.client.is_some() { storage.path.clone() } else { storage.path.replace('%', "%%") };
    settings.insert("exportname".into(), path);
    settings
}

/// The names of the exports that a text describes; none where it has no right shape.
#[must_use]
pub fn described(file: &Path, text: &[u8]) -> Option<Vec<Vec<u8>>> {
    let document = Document::parse(file, text).ok()?;
    Some(document.groups.into_iter().map(|group| group.name).collect())
}

/// As [`crate::value::string`] reads it back. A blank at the start would be taken for one before the value.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for (at, c) in value.chars().enumerate() {
        match c {
            ' ' if at == 0 => text.push_str("\\s"),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            '\r' => text.push_str("\\r"),
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn problems(name: &str, pairs: &[(&str, &str)]) -> String {
        let problems = describe(Path::new("x.conf"), name, &settings(pairs)).expect_err("wrong");
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_is_written_is_read_back_to_the_letter() {
        for path in ["/dev/vdc", " /x", "/a b ", "/a\\b", "/a\nb\tc\rd", "/ü=#[]", "/x;y"] {
            let given = settings(&[("exportname", path), ("readonly", "true"), ("filesize", "4096")]);
            let (text, export) = describe(Path::new("x.conf"), "vol 1/%ü", &given).expect("right");
            assert_eq!((export.storage.path.as_str(), export.readonly), (path, true), "{text}");
            let group = &Document::parse(Path::new("x.conf"), text.as_bytes()).expect("right").groups[0];
            assert_eq!(group.name, "vol 1/%ü".as_bytes());
        }
    }

    /// Whoever changes one setting must not lose the others.
    #[test]
    fn an_export_is_what_its_settings_say() {
        let tests = [
            "exportname=/a%%b\nreadonly=1\nflush=0\nfua=0\ntrim=0\nrotational=1\nsync=1\nmaxconnections=3\n\
             authfile=/l\ndevice_changes=follow\nexclusive=1\non_change=keep\nforce_tls=1\nprerun=a %s\npostrun=b\n\
             transactionlog=/t\ndatalog=1\ntimeout=7\nfilesize=4096\nidentity=serial:x y",
            "exportname=/a/%s/%%\nvirtstyle=cidrhash 24\ntls_allow=CN=a\\\\,b, psk:c",
            "exportname=/a/%s",
            "exportname=/a\nvirtstyle=none",
            "exportname=/a\nmultifile=1\ncopyonwrite=1\ncowdir=/c",
            "exportname=/a\ntreefiles=1\nfilesize=8192",
            "exportname=/a\ntemporary=1\nfilesize=8192",
            "exportname=/a\nwaitfile=1\nfilesize=8192\ncowdir=/c",
            "exportname=/a\noverlay=/o",
        ];
        let file = Path::new("x");
        for text in tests {
            let document = Document::parse(file, format!("[a]\n{text}\n").as_bytes()).expect("right");
            let found = read::export(file, &document.groups[0]);
            assert_eq!(found.errors, [], "{text}");
            let (again, export) =
                describe(file, "a", &settings_of(&found.settings)).expect("it can be written");
            assert_eq!(export, found.settings, "{again}");
        }
    }

    #[test]
    fn nothing_is_written_that_the_reader_would_not_take() {
        let path = [("exportname", "/x")];
        for name in ["", "generic", "a]b", "a[b", "a\nb", "a\u{7f}"] {
            assert!(!problems(name, &path).is_empty(), "{name:?}");
        }
        assert!(problems("a", &[]).contains("exportname"));
        assert!(problems("a", &[("exportname", "/x"), ("readonyl", "true")]).contains("readonly"));
        assert!(problems("a", &[("exportname", "/x"), ("readonly", "yes")]).contains("true or false"));
        assert!(problems("a", &[("exportname", "/x\0")]).contains("control character"));
        // A value cannot bring a line of its own.
        let (text, _) =
            describe(Path::new("x"), "a", &settings(&[("exportname", "/x\n[b]")])).expect("right");
        assert_eq!(described(Path::new("x"), text.as_bytes()), Some(vec![b"a".to_vec()]));
    }
}
