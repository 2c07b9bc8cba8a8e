//! The single table of keys: the parser, the manual and the tidy rules read it.

/// In which groups a key means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `[generic]` of the main file.
    Generic,
    /// Every other group.
    Export,
}

/// What a value must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8 with escapes.
    Text,
    /// `true`, `false`, `1` or `0`.
    Flag,
    /// 32 bits.
    Number,
    /// 64 bits.
    Bytes,
}

/// Whether a key does something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It works.
    Working,
    /// Asking for it leaves the export out: serving it without would be wrong.
    Needed(&'static str),
    /// Asking for it is named in the log; serving without it is harmless.
    Missed(&'static str),
    /// Documented once, never did anything in the original.
    Dead(&'static str),
}

/// One key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Left of `=`.
    pub name: &'static str,
    /// Where.
    pub place: Place,
    /// What.
    pub kind: Kind,
    /// Without the key.
    pub default: &'static str,
    /// First version that has it: of the original, or `0.1` and later for ours.
    pub since: &'static str,
    /// Whether it does something.
    pub status: Status,
    /// A change applies at SIGHUP.
    pub live: bool,
    /// One sentence.
    pub about: &'static str,
}

use Kind::{Bytes, Flag, Number, Text};
use Place::{Export, Generic};
use Status::{Dead, Missed, Needed, Working};

const fn generic(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    live: bool,
    about: &'static str,
) -> Key {
    Key { name, place: Generic, kind, default, since: "3.24", status: Working, live, about }
}

const fn export(name: &'static str, kind: Kind, default: &'static str, about: &'static str) -> Key {
    Key { name, place: Export, kind, default, since: "3.24", status: Working, live: true, about }
}

const fn later(key: Key, status: Status) -> Key {
    Key { status, ..key }
}

const fn ours(key: Key) -> Key {
    Key { since: "0.1", ..key }
}

const COW: &str = "copy-on-write is not supported yet";

static KEYS: &[Key] = &[
    generic("user", Text, "", false, "User to become once sockets are open; a name, not a number."),
    generic("group", Text, "", false, "Group to become once sockets are open; a name, not a number."),
    generic(
        "listenaddr",
        Text,
        "::, 0.0.0.0",
        false,
        "Addresses or names to listen on, split at comma or blank.",
    ),
    generic(
        "port",
        Text,
        "10809",
        false,
        "Port number or service name; 0 serves one client on standard input.",
    ),
    generic("unixsock", Text, "", false, "Path of a Unix socket to listen on, instead of TCP."),
    generic("duallisten", Flag, "false", false, "With unixsock: listen on TCP as well."),
    generic("allowlist", Flag, "false", true, "Answer NBD_OPT_LIST."),
    generic("includedir", Text, "", true, "Directory of *.conf files, each group of which is an export."),
    generic(
        "max_threads",
        Number,
        "4",
        true,
        "Operations of one export at a time that wait for its disk; -1 for no limit of its own.",
    ),
    ours(generic("strict", Flag, "false", true, "Any problem anywhere refuses the whole configuration.")),
    generic("oldstyle", Flag, "false", false, "Gone since 3.10; true ends the start."),
    generic("force_tls", Flag, "false", true, "Refuse clients without TLS."),
    generic("certfile", Text, "", true, "The server's certificate; in keyfile where nothing is said."),
    generic("keyfile", Text, "", true, "The server's private key; with it there is TLS."),
    generic("cacertfile", Text, "", true, "Authorities of clients, who must have a certificate then."),
    generic("tlsprio", Text, "", true, "TLS versions and ciphers, as a GnuTLS priority string."),
    ours(generic("pskfile", Text, "", true, "Pre-shared keys, NAME:HEX a line; with it there is TLS.")),
    export("exportname", Text, "(required)", "File or block device."),
    export("readonly", Flag, "false", "Refuse changes; open sessions lose their right to write too."),
    export("filesize", Bytes, "0", "Bytes to serve; 0 for all. Creates a missing file of that size."),
    export("flush", Flag, "true where the disk can", "Advertise FLUSH; false hides it."),
    export("fua", Flag, "true where the disk can", "Advertise FUA; false hides it."),
    export("trim", Flag, "true where the disk can", "Advertise TRIM; false hides it."),
    export("rotational", Flag, "false", "Tell clients that the disk rotates."),
    export("sync", Flag, "false", "Make every write durable before it is answered."),
    export("maxconnections", Number, "0", "Sessions at a time; 0 for any number, negative for none."),
    export("authfile", Text, "", "File of addresses that may connect; unreadable admits nobody."),
    ours(export("identity", Text, "", "Which disk it must be: serial:…, wwid:… or diskseq:….")),
    ours(export(
        "device_changes",
        Text,
        "refuse",
        "Another disk under a device path: refuse it until the next reload, or follow.",
    )),
    ours(export("exclusive", Flag, "false", "No other writable export may lead to the same disk.")),
    ours(export(
        "on_change",
        Text,
        "fence",
        "Sessions of a removed or repointed export: fence them, or keep them on the old disk.",
    )),
    later(export("virtstyle", Text, "ipliteral", "How %s in exportname names the client."), Working),
    later(export("prerun", Text, "", "Command before a session."), Needed("prerun is not supported yet")),
    later(export("postrun", Text, "", "Command after a session."), Needed("postrun is not supported yet")),
    later(
        export("transactionlog", Text, "", "File that records every request."),
        Needed("transaction logs are not supported yet"),
    ),
    later(
        export("datalog", Flag, "false", "Record written data too."),
        Missed("transaction logs are not supported yet"),
    ),
    later(
        export("multifile", Flag, "false", "exportname.0, .1, … as one disk."),
        Needed("several files as one disk are not supported yet"),
    ),
    later(
        export("treefiles", Flag, "false", "A directory of one file a page."),
        Needed("trees of files are not supported yet"),
    ),
    later(export("copyonwrite", Flag, "false", "Writes are private to the session."), Needed(COW)),
    later(export("cowdir", Text, "", "Where private writes are kept."), Missed(COW)),
    later(export("sparse_cow", Flag, "false", "Keep private writes sparse."), Missed(COW)),
    later(
        export("waitfile", Flag, "false", "Serve before the file is there."),
        Needed("waiting for a file is not supported yet"),
    ),
    later(
        export("temporary", Flag, "false", "A new empty disk for each session."),
        Needed("temporary disks are not supported yet"),
    ),
    later(
        export("splice", Flag, "false", "Move data without copying it."),
        Missed("the server decides itself when to move data without copying"),
    ),
    export("force_tls", Flag, "false", "Refuse clients without TLS."),
    ours(export("tls_allow", Text, "", "Who may come: CN=…, DN=/…/… or psk:…, split at commas.")),
    later(
        export("sdp", Flag, "false", "Sockets Direct Protocol."),
        Needed("this server was built without support for SDP"),
    ),
    later(export("listenaddr", Text, "", "Read and never used."), Dead("addresses are set in [generic]")),
    later(export("timeout", Number, "", "Never did anything."), Dead("there is no idle timeout")),
    export("tlsonly", Flag, "false", "The same as force_tls."),
    later(export("port", Text, "", "Before 3.10 only."), Dead("there is one port, in [generic]")),
];

/// All keys.
#[must_use]
pub fn keys() -> &'static [Key] {
    KEYS
}

/// The key of that name in that place.
#[must_use]
pub fn find(place: Place, name: &[u8]) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.place == place && key.name.as_bytes() == name)
}

/// What somebody may have meant with a key that is none.
#[must_use]
pub fn suggestion(place: Place, name: &str) -> String {
    let other = if place == Generic { Export } else { Generic };
    let alias = match (place, name) {
        (Generic, "bind" | "address" | "listen") => "listenaddr is the key for addresses",
        (Generic, "max_connections" | "maxconnections") => "maxconnections is a key of an export",
        (Generic, "logfile" | "loglevel") => "the log goes to syslog, or to standard error in the foreground",
        (_, "timeout") => "there is no idle timeout",
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
        Some((0..=2, "readonly")) => {
            "did you mean readonly? As it stands, the export is served WRITABLE".into()
        }
        Some((0..=2, near)) => format!("did you mean {near}?"),
        _ => "it is ignored".into(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_stands_twice_in_one_place() {
        for key in KEYS {
            let same = KEYS.iter().filter(|other| other.name == key.name && other.place == key.place).count();
            assert_eq!(same, 1, "{}", key.name);
        }
    }

    /// `contract` §2.3 and §2.4: fifteen keys in `[generic]`, and those of exports, are all known.
    #[test]
    fn every_key_of_the_original_is_known() {
        let generic = "user group listenaddr port includedir allowlist unixsock duallisten max_threads force_tls \
                       certfile keyfile cacertfile tlsprio oldstyle";
        let export = "exportname authfile filesize virtstyle prerun postrun transactionlog datalog readonly \
                      multifile treefiles copyonwrite cowdir sparse_cow waitfile temporary sync flush fua trim \
                      rotational splice maxconnections force_tls listenaddr sdp timeout tlsonly port";
        for (place, names) in [(Generic, generic), (Export, export)] {
            for name in names.split_whitespace() {
                assert!(find(place, name.as_bytes()).is_some(), "{name}");
            }
        }
    }

    #[test]
    fn a_misspelt_key_is_recognized() {
        assert!(suggestion(Export, "readonyl").contains("WRITABLE"));
        assert!(suggestion(Export, "exportnam").contains("exportname"));
        assert!(suggestion(Generic, "bind").contains("listenaddr"));
        assert!(suggestion(Export, "max_connections").contains("maxconnections"));
        assert!(suggestion(Export, "size").contains("filesize"));
        assert!(suggestion(Generic, "readonly").contains("key of an export"));
        assert!(suggestion(Generic, "colour").contains("ignored"));
    }
}
