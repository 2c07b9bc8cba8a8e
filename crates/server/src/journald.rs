//! systemd's journal, spoken to in its own protocol: lines with fields.

mod ids;

use crate::datagram::Datagram;
use crate::syslog::DAEMON;
use control::Line;
use std::fs;
use std::path::Path;

/// Where it takes lines with fields.
const SOCKET: &str = "/run/systemd/journal/socket";
/// Where `/dev/log` leads when the journal reads it.
const DEV_LOG: &str = "/run/systemd/journal/dev-log";

/// Whether it takes lines with fields on this machine.
#[must_use]
pub fn is_there() -> bool {
    Path::new(SOCKET).exists()
}

/// Whether it is what reads `/dev/log`.
#[must_use]
pub fn reads_syslog() -> bool {
    is_there() && fs::canonicalize(crate::syslog::PATH).is_ok_and(|path| path == Path::new(DEV_LOG))
}

/// Lines under one name.
pub struct Journald {
    ident: &'static str,
    to: Datagram,
}

impl Journald {
    /// Lines appear under this name.
    #[must_use]
    pub fn new(ident: &'static str) -> Self {
        Self::at(ident, SOCKET.as_ref())
    }

    fn at(ident: &'static str, path: &Path) -> Self {
        Self { ident, to: Datagram::to(path) }
    }

    /// Sends one line, with an event's facts where there is one. `false`: the journal is away.
    pub fn send(&self, level: u8, text: &str, line: Option<&Line>, worth_waiting: bool) -> bool {
        let mut fields = Fields::default();
        fields.put("MESSAGE", text);
        fields.put("PRIORITY", &level.to_string());
        fields.put("SYSLOG_FACILITY", &DAEMON.to_string());
        fields.put("SYSLOG_IDENTIFIER", self.ident);
        fields.put("SYSLOG_PID", &std::process::id().to_string());
        if let Some(line) = line {
            fields.put("NBD_EVENT", line.event());
            if let Some((_, id)) = ids::IDS.iter().find(|(event, _)| *event == line.event()) {
                fields.put("MESSAGE_ID", id);
            }
            for (key, value) in line.facts() {
                fields.put(&format!("NBD_{}", key.to_ascii_uppercase()), value);
            }
        }
        self.to.send(&fields.0, worth_waiting)
    }
}

/// `KEY=VALUE` a line; a value that has lines of its own is told with its length instead, so that nothing in it is read as
/// a field.
#[derive(Default)]
struct Fields(Vec<u8>);

impl Fields {
    fn put(&mut self, key: &str, value: &str) {
        self.0.extend(key.as_bytes());
        if value.contains('\n') {
            self.0.push(b'\n');
            self.0.extend((value.len() as u64).to_le_bytes());
        } else {
            self.0.push(b'=');
        }
        self.0.extend(value.as_bytes());
        self.0.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn a_value_with_lines_of_its_own_is_told_with_its_length() {
        let path = std::env::temp_dir().join(format!("nbd-journald-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        let log = UnixDatagram::bind(&path).expect("bound");
        let line = Line::new("export added").with("export", "a\nPRIORITY=0").with("size", 7).with("new", "");
        assert!(Journald::at("nbd-server", &path).send(5, "words", Some(&line), true));
        let mut bytes = [0; 4096];
        let len = log.recv(&mut bytes).expect("a line");
        let text = String::from_utf8_lossy(&bytes[..len]).into_owned();
        let id = ids::IDS.iter().find(|(event, _)| *event == "export added").expect("it has one").1;
        let wanted = format!(
            "MESSAGE=words\nPRIORITY=5\nSYSLOG_FACILITY=3\nSYSLOG_IDENTIFIER=nbd-server\nSYSLOG_PID={}\n\
             NBD_EVENT=export added\nMESSAGE_ID={id}\nNBD_EXPORT\n\u{c}\0\0\0\0\0\0\0a\nPRIORITY=0\nNBD_SIZE=7\nNBD_NEW=\n",
            std::process::id()
        );
        assert_eq!(text, wanted);
        fs::remove_file(&path).expect("there");
        assert!(!Journald::at("nbd-server", &path).send(5, "words", None, true), "nobody is there");
    }

    #[test]
    fn every_id_is_its_own() {
        let ids: BTreeSet<&str> = ids::IDS.iter().map(|(_, id)| *id).collect();
        let events: BTreeSet<&str> = ids::IDS.iter().map(|(event, _)| *event).collect();
        assert_eq!((ids.len(), events.len()), (ids::IDS.len(), ids::IDS.len()));
        assert!(ids.iter().all(|id| id.len() == 32 && id.bytes().all(|c| c.is_ascii_hexdigit())));
    }
}
