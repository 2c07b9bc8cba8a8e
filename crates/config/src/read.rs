//! From the groups of a document to settings: every key checked against the table, all problems told.

use crate::document::{Entry, Group, is_locale_key};
use crate::keys::{self, Kind, Place, Status};
use crate::name::ExportName;
use crate::problem::Problem;
use crate::settings::{
    DeviceChanges, Export, Generic, MaxConnections, OnChange, Origin, Storage, Tls, TlsIdentity,
    WantedIdentity,
};
use crate::value;
use std::path::{Path, PathBuf};

/// What one group said.
pub(crate) struct Found<T> {
    pub(crate) settings: T,
    /// It cannot be used.
    pub(crate) errors: Vec<Problem>,
    /// It is right, and asks for what is not supported yet: serving it without would be wrong.
    pub(crate) lacking: Vec<Problem>,
    /// Worth a word.
    pub(crate) warnings: Vec<Problem>,
}

/// `[generic]`.
pub(crate) fn generic(file: &Path, group: &Group) -> Found<Generic> {
    let mut reader = Reader::new(file, group, Place::Generic);
    let default = Generic::default();
    let settings = Generic {
        user: reader.text("user"),
        group: reader.text("group"),
        listenaddr: reader.list("listenaddr").unwrap_or(default.listenaddr),
        listenaddr_given: group.entry("listenaddr").is_some(),
        port: reader.text("port").unwrap_or(default.port),
        port_given: group.entry("port").is_some(),
        unixsock: reader.text("unixsock").map(PathBuf::from),
        duallisten: reader.flag("duallisten").unwrap_or(false),
        allowlist: reader.flag("allowlist").unwrap_or(false),
        includedir: reader.text("includedir").map(PathBuf::from),
        max_threads: reader.number("max_threads").unwrap_or(default.max_threads),
        strict: reader.flag("strict").unwrap_or(false),
        tls: reader.tls(),
        ..default
    };
    if settings.max_threads == 0 || settings.max_threads < -1 {
        reader.error(
            "max_threads",
            "max_threads must be at least 1, or -1 for no limit",
            "leave it out for 4",
        );
    }
    if reader.flag("oldstyle") == Some(true) {
        let what = "Since 3.10, the oldstyle protocol is no longer supported. Please migrate to the newstyle protocol.";
        reader.error("oldstyle", what, "remove the key");
    }
    reader.look_at_the_rest();
    let mut found = reader.found(settings);
    // Served plain, clients that must not be would be: nothing may run with this.
    found.errors.append(&mut found.lacking);
    found
}

/// Any other group.
pub(crate) fn export(file: &Path, group: &Group) -> Found<Export> {
    let mut reader = Reader::new(file, group, Place::Export);
    let path = reader.path();
    let mut settings = Export::new(ExportName::from(group.name.as_slice()), String::new());
    settings.origin = Origin { file: file.into(), line: group.line };
    settings.storage =
        Storage { filesize: reader.size(), identity: reader.identity(), ..Storage::plain(path) };
    settings.readonly = reader.flag("readonly").unwrap_or(false);
    settings.flush = reader.flag("flush");
    settings.fua = reader.flag("fua");
    settings.trim = reader.flag("trim");
    // Said or not, what is advertised then is the same.
    for flag in [&mut settings.flush, &mut settings.fua, &mut settings.trim] {
        *flag = flag.filter(|&said| !said);
    }
    settings.rotational = reader.flag("rotational").unwrap_or(false);
    settings.sync = reader.flag("sync").unwrap_or(false);
    settings.maxconnections = MaxConnections(reader.number("maxconnections").unwrap_or(0).into());
    settings.authfile = reader.text("authfile").map(PathBuf::from);
    let tls = ["force_tls", "tlsonly"].map(|key| reader.flag(key).unwrap_or(false));
    settings.force_tls = tls.contains(&true);
    settings.tls_allow = reader.tls_allow();
    settings.exclusive = reader.flag("exclusive").unwrap_or(false);
    let refuse_or_follow = [("refuse", DeviceChanges::Refuse), ("follow", DeviceChanges::Follow)];
    settings.device_changes = reader.choice("device_changes", refuse_or_follow);
    settings.on_change = reader.choice("on_change", [("fence", OnChange::Fence), ("keep", OnChange::Keep)]);
    reader.exclude("copyonwrite", "splice");
    reader.exclude("copyonwrite", "waitfile");
    reader.exclude("datalog", "splice");
    if reader.flag("sdp") == Some(true) {
        let shown = group.shown();
        let what = format!("This nbd-server was built without support for SDP, yet group {shown} uses it");
        reader.error("sdp", &what, "remove the key");
    }
    reader.look_at_the_rest();
    reader.found(settings)
}

struct Reader<'a> {
    file: &'a Path,
    group: &'a Group,
    place: Place,
    errors: Vec<Problem>,
    lacking: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl<'a> Reader<'a> {
    fn new(file: &'a Path, group: &'a Group, place: Place) -> Self {
        Self { file, group, place, errors: Vec::new(), lacking: Vec::new(), warnings: Vec::new() }
    }

    fn found<T>(self, settings: T) -> Found<T> {
        Found { settings, errors: self.errors, lacking: self.lacking, warnings: self.warnings }
    }

    fn text(&mut self, key: &str) -> Option<String> {
        self.parse(key, value::string)
    }

    fn flag(&mut self, key: &str) -> Option<bool> {
        self.parse(key, value::boolean)
    }

    fn number(&mut self, key: &str) -> Option<i32> {
        self.parse(key, value::int)
    }

    fn list(&mut self, key: &str) -> Option<Vec<String>> {
        let text = self.text(key)?;
        Some(text.split([',', ' ', '\t']).filter(|word| !word.is_empty()).map(Into::into).collect())
    }

    fn parse<T>(&mut self, key: &str, parse: impl Fn(&[u8]) -> Result<T, &'static str>) -> Option<T> {
        let entry = self.group.entry(key)?;
        match parse(&entry.value) {
            Ok(value) => Some(value),
            Err(hint) => {
                let shown = entry.value.escape_ascii();
                let what = format!("Could not parse {key} in group {}: \"{shown}\"", self.group.shown());
                self.error(key, &what, hint);
                None
            }
        }
    }

    fn choice<T: Copy, const N: usize>(&mut self, key: &str, choices: [(&str, T); N]) -> T {
        let default = choices[0].1;
        let Some(text) = self.text(key) else { return default };
        let wanted = text.trim_end();
        if let Some((_, value)) = choices.iter().find(|(word, _)| *word == wanted) {
            return *value;
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let what = format!("Invalid value {wanted} for parameter {key} in group {}", self.group.shown());
        self.error(key, &what, &format!("write {}", words.join(" or ")));
        default
    }

    /// `exportname`. By default it is a template, so a percent sign is written twice; `virtstyle = none` takes it as it
    /// stands (C-160).
    fn path(&mut self) -> String {
        if self.group.entry("exportname").is_none() {
            let what = format!("Could not find required value exportname in group {}", self.group.shown());
            self.error("exportname", &what, "every group but [generic] is an export and needs one");
            return String::new();
        }
        let virtstyle = self.virtstyle();
        let Some(text) = self.text("exportname") else { return String::new() };
        if virtstyle.starts_with("none") || !text.contains('%') {
            return text;
        }
        if text.replace("%%", "").contains('%') {
            let hint = "write %% for a percent sign, or virtstyle = none";
            self.lack("exportname", "paths that depend on the client (%s) are not supported yet", hint);
        }
        text.replace("%%", "%")
    }

    fn virtstyle(&mut self) -> String {
        let Some(style) = self.text("virtstyle") else { return "ipliteral".into() };
        let group = self.group.shown();
        if style.starts_with("cidrhash") {
            if style.len() < 10 {
                let what =
                    format!("Invalid value {style} for parameter virtstyle in group {group}: missing length");
                self.error("virtstyle", &what, "write cidrhash 16");
            }
        } else if !["none", "ipliteral", "iphash"].iter().any(|known| style.starts_with(known)) {
            let what = format!("Invalid value {style} for parameter virtstyle in group {group}");
            self.error("virtstyle", &what, "write none, ipliteral, iphash or cidrhash N");
        }
        style
    }

    fn size(&mut self) -> Option<u64> {
        let size = self.parse("filesize", value::int64)?;
        if size < 0 {
            self.error(
                "filesize",
                &format!("filesize {size} is negative"),
                "leave it out for all of the file",
            );
        }
        u64::try_from(size).ok().filter(|&size| size > 0)
    }

    fn tls(&mut self) -> Tls {
        let mut path = |key| self.text(key).map(PathBuf::from);
        let (certfile, keyfile) = (path("certfile"), path("keyfile"));
        let (cacertfile, pskfile) = (path("cacertfile"), path("pskfile"));
        let force = self.flag("force_tls").unwrap_or(false);
        let mut tls = Tls { force, certfile, keyfile, cacertfile, pskfile, tlsprio: None };
        match self.text("tlsprio").as_deref().map(crate::tlsprio::parse) {
            None => {}
            Some(Ok(priority)) => tls.tlsprio = Some(priority),
            Some(Err(why)) => self.error("tlsprio", &why, "leave it out for TLS 1.2 and 1.3"),
        }
        tls
    }

    fn tls_allow(&mut self) -> Vec<TlsIdentity> {
        let Some(text) = self.text("tls_allow") else { return Vec::new() };
        let mut list = Vec::new();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match word.split_once(['=', ':']) {
                Some(("CN", name)) => list.push(TlsIdentity::CommonName(name.into())),
                Some(("DN", subject)) => list.push(TlsIdentity::Subject(subject.into())),
                Some(("psk", name)) => list.push(TlsIdentity::Psk(name.into())),
                _ => {
                    self.error("tls_allow", &format!("{word} is no identity"), "write CN=…, DN=/…/… or psk:…")
                }
            }
        }
        list
    }

    fn identity(&mut self) -> Option<WantedIdentity> {
        let text = self.text("identity")?;
        let text = text.trim_end();
        let wanted = match text.split_once(':') {
            Some(("serial", serial)) if !serial.is_empty() => Some(WantedIdentity::Serial(serial.into())),
            Some(("wwid", wwid)) if !wwid.is_empty() => Some(WantedIdentity::Wwid(wwid.into())),
            Some(("diskseq", number)) => number.parse().ok().map(WantedIdentity::Diskseq),
            _ => None,
        };
        if wanted.is_none() {
            let what = format!("Invalid value {text} for parameter identity in group {}", self.group.shown());
            self.error("identity", &what, "write serial:…, wwid:… or diskseq:NUMBER");
        }
        wanted
    }

    fn exclude(&mut self, one: &str, other: &str) {
        let asked = |key| self.group.entry(key).is_some_and(|entry| value::boolean(&entry.value) == Ok(true));
        if asked(one) && asked(other) {
            let what = format!("Cannot mix {one} with {other} for an export in group {}", self.group.shown());
            self.error(one, &what, "choose one of them");
        }
    }

    /// Keys that nobody asked for above: unknown ones, and those that do nothing here.
    fn look_at_the_rest(&mut self) {
        for entry in &self.group.entries {
            if is_locale_key(&entry.key) {
                continue;
            }
            match keys::find(self.place, &entry.key) {
                None => self.unknown(entry),
                Some(key) => match key.status {
                    Status::Working => {}
                    Status::Needed(why) => self.asked_for(entry, key, why, true),
                    Status::Missed(why) => self.asked_for(entry, key, why, false),
                    Status::Dead(why) => self.warn(entry, &format!("{} has no effect: {why}", key.name)),
                },
            }
        }
    }

    /// A key of which only asking for it matters: the appliance writes `multifile = false` everywhere.
    fn asked_for(&mut self, entry: &Entry, key: &keys::Key, why: &str, needed: bool) {
        if self.group.entry(key.name).is_none_or(|last| last.line != entry.line) || key.name == "sdp" {
            return;
        }
        let asked = match key.kind {
            Kind::Flag => self.flag(key.name) == Some(true),
            Kind::Text => self.text(key.name).is_some_and(|text| !text.is_empty()),
            Kind::Number | Kind::Bytes => self.number(key.name).is_some(),
        };
        match (asked, needed) {
            (false, _) => {}
            (true, true) => self.lack(key.name, why, "remove the key, or keep to the original server for it"),
            (true, false) => self.warn(entry, &format!("{} has no effect: {why}", key.name)),
        }
    }

    fn unknown(&mut self, entry: &Entry) {
        let name = String::from_utf8_lossy(&entry.key).into_owned();
        let what = format!("unknown key {name}: {}", keys::suggestion(self.place, &name));
        self.warn(entry, &what);
    }

    fn warn(&mut self, entry: &Entry, what: &str) {
        let key = String::from_utf8_lossy(&entry.key);
        self.warnings.push(Problem::at(self.file, entry.line, what).inside(self.group.shown(), Some(&key)));
    }

    fn error(&mut self, key: &str, what: &str, hint: &str) {
        let problem = self.at(key, what, hint);
        self.errors.push(problem);
    }

    fn lack(&mut self, key: &str, what: &str, hint: &str) {
        let problem = self.at(key, what, hint);
        self.lacking.push(problem);
    }

    fn at(&self, key: &str, what: &str, hint: &str) -> Problem {
        let line = self.group.entry(key).map_or(self.group.line, |entry| entry.line);
        Problem::at(self.file, line, what).inside(self.group.shown(), Some(key)).hint(hint)
    }
}
