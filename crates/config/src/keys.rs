//! The single table of keys: the parser, the manual and the tidy rules read it.

mod suggestion;

pub use suggestion::suggestion;

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
use Status::{Dead, Working};

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

const fn dead(key: Key, why: &'static str) -> Key {
    Key { status: Dead(why), ..key }
}

const fn ours(key: Key) -> Key {
    Key { since: "0.1", ..key }
}

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
    ours(generic(
        "unixsock_mode",
        Text,
        "as the umask leaves it",
        false,
        "Mode of the Unix socket, as chmod takes it: 0660.",
    )),
    ours(generic(
        "unixsock_owner",
        Text,
        "",
        false,
        "Owner of the Unix socket, as chown takes it: USER, USER:GROUP or :GROUP.",
    )),
    ours(generic(
        "controlsock",
        Text,
        "/run/nbd-server/control.sock",
        false,
        "Unix socket of nbdctl; empty for none. Without the key it is left out where it cannot be made.",
    )),
    ours(generic("controlsock_mode", Text, "0660", false, "Mode of the control socket, as chmod takes it.")),
    ours(generic(
        "controlsock_owner",
        Text,
        "",
        false,
        "Owner of the control socket, as chown takes it: USER, USER:GROUP or :GROUP.",
    )),
    ours(generic(
        "metrics_listen",
        Text,
        "",
        false,
        "ADDRESS:PORT to serve metrics on, and nothing else; a port alone is on 127.0.0.1.",
    )),
    generic("force_tls", Flag, "false", true, "Refuse clients without TLS, whatever they ask for."),
    generic("certfile", Text, "in keyfile", true, "The server's certificate and those above it, PEM."),
    generic(
        "keyfile",
        Text,
        "",
        true,
        "The server's private key, PEM. Without it and pskfile there is no TLS.",
    ),
    generic(
        "cacertfile",
        Text,
        "",
        true,
        "Authorities, PEM; with it clients must show a certificate of theirs.",
    ),
    ours(generic("pskfile", Text, "", true, "Pre-shared keys, NAME:HEX a line.")),
    generic("tlsprio", Text, "", true, "TLS versions and ciphers, as GnuTLS writes them."),
    export(
        "exportname",
        Text,
        "(required)",
        "File, block device, or with treefiles a directory; %s stands for the client.",
    ),
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
    export(
        "virtstyle",
        Text,
        "ipliteral",
        "How %s in exportname names the client; none for a path to the letter.",
    ),
    export("multifile", Flag, "false", "exportname.0, .1, … up to the first gap, as one disk."),
    export(
        "treefiles",
        Flag,
        "false",
        "exportname is a directory with a file for each page; needs filesize.",
    ),
    export("copyonwrite", Flag, "false", "Writes are private to the session and go with it."),
    export("cowdir", Text, "beside the export", "Directory of the files for copyonwrite and waitfile."),
    export("sparse_cow", Flag, "false", "Accepted: those files are always sparse."),
    ours(export("overlay", Text, "", "Writes go to this file and stay there; the disk itself is only read.")),
    export("temporary", Flag, "false", "A new empty disk for each session; needs filesize."),
    export(
        "waitfile",
        Flag,
        "false",
        "Serve before the file is there; it is taken in at SIGUSR1. Needs filesize.",
    ),
    export("prerun", Text, "", "Command before a session; when it fails, the client is refused."),
    export("postrun", Text, "", "Command after a session."),
    export("transactionlog", Text, "", "File that records every request and reply."),
    export("datalog", Flag, "false", "Record written data too."),
    // 3.24 has these two in its manual alone.
    ours(export(
        "timeout",
        Number,
        "0",
        "Seconds without a request after which a session is ended; 0 for never.",
    )),
    ours(export("tlsonly", Flag, "false", "The same as force_tls.")),
    export("force_tls", Flag, "false", "Clients without TLS do not see the export."),
    ours(export(
        "tls_allow",
        Text,
        "",
        "Who may come, split at comma: CN=…, DN=/…/… or psk:…. Includes force_tls.",
    )),
    export("splice", Flag, "false", "Accepted: data moves in whichever way is faster."),
    export("sdp", Flag, "false", "Gone; true is an error."),
    dead(export("listenaddr", Text, "", "Read and never used."), "addresses are set in [generic]"),
    dead(export("port", Text, "", "Before 3.10 only."), "there is one port, in [generic]"),
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
