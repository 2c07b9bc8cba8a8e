//! Every key of the original and of ours, by the value that it becomes, and what is said about it.
#![allow(missing_docs)]

mod common;

use common::{export, generic, refused, storage};
use config::{Changes, Generic, Layout, Storage, Tls, TlsIdentity, Virtstyle};
use std::path::Path;
use std::time::Duration;

/// C-160: a percent sign is written twice, or the path taken to the letter. Equal meanings are equal values, so that a
/// reload between two ways of writing one path disturbs nobody.
#[test]
fn a_path_is_a_template_only_where_the_client_is_in_it() {
    let plain = |path: &str| Storage::plain(path.into());
    assert_eq!(storage("exportname=/x/100%%"), (plain("/x/100%"), vec![]));
    assert_eq!(storage("exportname=/x/100%\nvirtstyle=none"), (plain("/x/100%"), vec![]));
    assert_eq!(storage("exportname=/x/%s%d%\nvirtstyle=none"), (plain("/x/%s%d%"), vec![]));
    assert_eq!(storage("exportname=/x\nvirtstyle=iphash"), (plain("/x"), vec![]));
    let template = |style| Storage { client: Some(style), ..plain("/100%%/%s") };
    for (style, wanted) in [
        ("", Virtstyle::Ipliteral),
        ("virtstyle = ipliteral", Virtstyle::Ipliteral),
        ("virtstyle = iphash", Virtstyle::Iphash),
        ("virtstyle = cidrhash 0x18", Virtstyle::Cidrhash(24)),
        ("virtstyle = cidrhash16", Virtstyle::Cidrhash(16)),
    ] {
        assert_eq!(storage(&format!("exportname=/100%%/%s\n{style}")), (template(wanted), vec![]), "{style}");
    }
}

/// C-161: what the original hands to `printf` and crashes from is refused, with what to write instead.
#[test]
fn any_other_percent_sign_is_refused_with_a_hint() {
    for path in ["/x/%d", "/x/%", "/x/%%%", "/x/%5s"] {
        let said = refused(&format!("[generic]\n[a]\nexportname={path}\n"));
        assert!(
            said.contains("/c:3: [a]") && said.contains("%%") && said.contains("virtstyle = none"),
            "{said}"
        );
    }
}

/// C-045, C-054, C-055, C-056, C-057: in the original's words, so that whoever looks for them finds help.
#[test]
fn what_the_original_refuses_is_refused_in_its_words() {
    let cases = [
        ("readonly=yes\nexportname=/a", "Could not parse readonly in group a"),
        ("readonly=true", "Could not find required value exportname in group a"),
        ("exportname=/a\nvirtstyle=bogus", "Invalid value bogus for parameter virtstyle in group a"),
        (
            "exportname=/a\nvirtstyle=cidrhash8",
            "Invalid value cidrhash8 for parameter virtstyle in group a: missing length",
        ),
        ("exportname=/a\nvirtstyle=cidrhash", "missing length"),
        (
            "exportname=/a\ncopyonwrite=1\nsplice=1",
            "Cannot mix copyonwrite with splice for an export in group a",
        ),
        (
            "exportname=/a\ncopyonwrite=1\nwaitfile=1",
            "Cannot mix copyonwrite with waitfile for an export in group a",
        ),
        ("exportname=/a\ndatalog=1\nsplice=1", "Cannot mix datalog with splice for an export in group a"),
        ("exportname=/a\nsdp=true", "This nbd-server was built without support for SDP, yet group a uses it"),
        ("exportname=/a\nwaitfile=/path", "Could not parse waitfile in group a"),
        ("exportname=/a\nlistenaddr=\\q", "Could not parse listenaddr in group a"),
    ];
    for (lines, words) in cases {
        let said = refused(&format!("[generic]\n[a]\n{lines}\n"));
        assert!(said.contains(words), "{lines}: {said}");
    }
    assert!(refused("[generic]\noldstyle=true\n[a]\nexportname=/a\n").contains("Since 3.10, the oldstyle"));
    assert_eq!(generic("oldstyle = false"), (Generic::default(), vec![]));
}

/// One key by itself: where bytes are, and where changes go.
#[test]
fn each_kind_of_store_has_its_value() {
    let cases = [
        ("multifile=true", Layout::Files, Changes::InPlace),
        ("treefiles=true", Layout::Tree, Changes::InPlace),
        ("copyonwrite=true", Layout::One, Changes::Private(None)),
        ("copyonwrite=true\ncowdir=/c\nsparse_cow=true", Layout::One, Changes::Private(Some("/c".into()))),
        ("copyonwrite=true\ncowdir=", Layout::One, Changes::Private(None)),
        ("multifile=true\ncopyonwrite=true", Layout::Files, Changes::Private(None)),
        ("treefiles=true\ncopyonwrite=true", Layout::Tree, Changes::Private(None)),
        ("overlay=/o", Layout::One, Changes::Overlay("/o".into())),
        ("multifile=true\noverlay=/o", Layout::Files, Changes::Overlay("/o".into())),
        ("treefiles=true\noverlay=/o", Layout::Tree, Changes::Overlay("/o".into())),
        ("temporary=true", Layout::One, Changes::Temporary),
        ("waitfile=true", Layout::One, Changes::UntilThere(None)),
        ("waitfile=true\ncowdir=/c\nsplice=true", Layout::One, Changes::UntilThere(Some("/c".into()))),
        ("multifile=false\ncopyonwrite=false\nsplice=true\nsdp=false", Layout::One, Changes::InPlace),
    ];
    for (lines, layout, changes) in cases {
        let wanted = Storage { filesize: Some(4096), layout, changes, ..Storage::plain("/a".into()) };
        assert_eq!(storage(&format!("exportname=/a\nfilesize=4096\n{lines}")), (wanted, vec![]), "{lines}");
    }
}

/// Where the original follows one key and forgets the other, so do we, and say it.
#[test]
fn of_two_keys_the_originals_winner_wins_and_the_other_is_named() {
    let cases = [
        (
            "multifile=1\ntreefiles=1",
            Layout::Tree,
            Changes::InPlace,
            "multifile has no effect with treefiles",
        ),
        (
            "multifile=1\ntemporary=1",
            Layout::Files,
            Changes::InPlace,
            "temporary has no effect with multifile",
        ),
        (
            "treefiles=1\ntemporary=1",
            Layout::Tree,
            Changes::InPlace,
            "temporary has no effect with treefiles",
        ),
        (
            "copyonwrite=1\ntemporary=1",
            Layout::One,
            Changes::Temporary,
            "copyonwrite has no effect with temporary",
        ),
        (
            "waitfile=1\ntemporary=1",
            Layout::One,
            Changes::UntilThere(None),
            "temporary has no effect with waitfile",
        ),
        (
            "waitfile=1\nmultifile=1",
            Layout::One,
            Changes::UntilThere(None),
            "multifile has no effect with waitfile",
        ),
        ("cowdir=/c", Layout::One, Changes::InPlace, "cowdir has no effect without copyonwrite or waitfile"),
    ];
    for (lines, layout, changes, said) in cases {
        let (storage, warnings) = storage(&format!("exportname=/a\nfilesize=4096\n{lines}"));
        assert_eq!((storage.layout, storage.changes), (layout, changes), "{lines}");
        assert_eq!(warnings, [said], "{lines}");
    }
}

#[test]
fn what_cannot_be_both_is_refused() {
    for (one, other) in [
        ("overlay", "copyonwrite"),
        ("overlay", "temporary"),
        ("overlay", "waitfile"),
        ("treefiles", "waitfile"),
    ] {
        let said = refused(&format!("[generic]\n[a]\nexportname=/a\nfilesize=1\n{one}=1\n{other}=1\n"));
        assert!(said.contains(&format!("Cannot mix {one} with {other} for an export in group a")), "{said}");
    }
    // No wish to write to the disk itself.
    assert!(refused("[generic]\n[a]\nexportname=/a\noverlay=\n").contains("overlay"));
}

/// The original serves a disk of no bytes and says nothing.
#[test]
fn a_store_without_a_size_of_its_own_asks_for_filesize() {
    for key in ["treefiles", "temporary", "waitfile"] {
        let (_, warnings) = storage(&format!("exportname=/a\n{key}=true"));
        assert_eq!(warnings.len(), 1, "{key}");
        assert!(warnings[0].starts_with(key) && warnings[0].contains("filesize"), "{warnings:?}");
    }
}

#[test]
fn hooks_logs_and_limits_have_their_values() {
    let (export, warnings) = export(
        "exportname=/a\nprerun=/bin/a %s\npostrun=/bin/b\ntransactionlog=/l\ndatalog=true\ntimeout=30\n",
    );
    assert_eq!(warnings, [""; 0]);
    assert_eq!((export.prerun.as_deref(), export.postrun.as_deref()), (Some("/bin/a %s"), Some("/bin/b")));
    assert_eq!((export.transactionlog.as_deref(), export.datalog), (Some(Path::new("/l")), true));
    assert_eq!(export.timeout, Some(Duration::from_secs(30)));
}

#[test]
fn an_empty_command_or_log_is_none() {
    let (export, warnings) = export("exportname=/a\nprerun=\npostrun=\ntransactionlog=\ntimeout=0");
    assert_eq!(
        (export.prerun, export.postrun, export.transactionlog, export.timeout),
        (None, None, None, None)
    );
    assert_eq!(warnings, [""; 0]);
    let (_, warnings) = common::export("exportname=/a\ndatalog=true");
    assert_eq!(warnings, ["datalog has no effect without transactionlog"]);
    for seconds in ["-1", "30s", ""] {
        let said = refused(&format!("[generic]\n[a]\nexportname=/a\ntimeout={seconds}\n"));
        assert!(said.contains("timeout") && said.contains("group a"), "{said}");
    }
}

/// C-049, C-050: `tlsonly` and `timeout` never did anything; now they do what they say.
#[test]
fn whoever_asks_for_tls_gets_it() {
    for lines in ["force_tls=true", "tlsonly=true", "tls_allow=CN=a"] {
        let (export, warnings) = export(&format!("exportname=/a\n{lines}"));
        assert!(export.force_tls, "{lines}");
        assert_eq!(warnings, ["TLS is not set up, so nobody can come in"], "{lines}");
    }
    assert!(!export("exportname=/a\nforce_tls=false\ntlsonly=false").0.force_tls);
    let (export, _) = export("exportname=/a\ntls_allow=CN=a, DN=/C=DE/CN=b,psk:c");
    let wanted = [
        TlsIdentity::CommonName("a".into()),
        TlsIdentity::Subject("/C=DE/CN=b".into()),
        TlsIdentity::Psk("c".into()),
    ];
    assert_eq!(export.tls_allow, wanted);
    // Nobody means to admit everybody by an empty list.
    for list in ["", "alice", "CN=a,,psk:b"] {
        assert!(refused(&format!("[generic]\n[a]\nexportname=/a\ntls_allow={list}\n")).contains("tls_allow"));
    }
}

#[test]
fn the_whole_of_tls_is_read() {
    let lines = "force_tls=true\ncertfile=/c\nkeyfile=/k\ncacertfile=/ca\npskfile=/p\ntlsprio=NORMAL\n";
    let (generic, warnings) = generic(lines);
    let tls = Tls {
        force: true,
        certfile: Some("/c".into()),
        keyfile: Some("/k".into()),
        cacertfile: Some("/ca".into()),
        pskfile: Some("/p".into()),
        tlsprio: config::tlsprio::parse("NORMAL").ok(),
    };
    assert_eq!((generic.tls, warnings), (tls, vec![]));
}

/// TLS that is half set up is off, and who relies on it must know.
#[test]
fn tls_without_a_key_is_off_and_said_to_be() {
    for key in ["certfile", "cacertfile"] {
        let (_, warnings) = generic(&format!("{key}=/x"));
        assert_eq!(warnings, [format!("TLS stays off: {key} has no effect without keyfile or pskfile")]);
        assert_eq!(generic(&format!("{key}=/x\npskfile=/p")).1, [""; 0]);
    }
    assert!(generic("force_tls=true").1[0].contains("nobody can come in"));
    assert_eq!(generic("keyfile=\ncertfile=").0.tls, Tls::default());
    let said = refused("[generic]\nkeyfile=/k\ncacertfile=\n[a]\nexportname=/a\n");
    assert!(said.contains("cacertfile"), "{said}");
}

#[test]
fn the_unix_socket_has_a_mode_and_an_owner() {
    let (generic, warnings) = generic("unixsock=/s\nunixsock_mode=0660\nunixsock_owner=nbd:disk");
    assert_eq!((generic.unixsock_mode, generic.unixsock_owner.as_deref()), (Some(0o660), Some("nbd:disk")));
    assert_eq!(warnings, [""; 0]);
    assert_eq!(common::generic("unixsock_mode=0660").1, ["unixsock_mode has no effect without unixsock"]);
    for line in ["unixsock_mode=rw", "unixsock_mode=1777", "unixsock_owner=:"] {
        refused(&format!("[generic]\nunixsock=/s\n{line}\n[a]\nexportname=/a\n"));
    }
}

/// C-049: unknown keys, and those of another place, are accepted, and named with what may have been meant.
#[test]
fn keys_that_do_nothing_are_accepted_and_named() {
    let (_, warnings) = export(
        "exportname=/a\nport=1\nlistenaddr=x\nfoo=1\nunixsock=/s\noverlya=/o\ntls_alow=psk:a\nprerum=x\nfoo[de]=y",
    );
    let wanted = [
        "port has no effect: there is one port, in [generic]",
        "listenaddr has no effect: addresses are set in [generic]",
        "unknown key foo: it is ignored",
        "unknown key unixsock: it is a key of [generic], not of an export",
        "unknown key overlya: did you mean overlay? As it stands, writes go to the disk ITSELF",
        "unknown key tls_alow: did you mean tls_allow? As it stands, clients come in WITHOUT it",
        "unknown key prerum: did you mean prerun?",
    ];
    assert_eq!(warnings, wanted);
    let (_, warnings) = generic("splice=\\q\ntimeout=junk\npsk_file=x");
    let elsewhere = "it is a key of an export, not of [generic]";
    let wanted = [
        format!("unknown key splice: {elsewhere}"),
        format!("unknown key timeout: {elsewhere}"),
        "unknown key psk_file: did you mean pskfile?".into(),
    ];
    assert_eq!(warnings, wanted);
}

/// An empty list of addresses is no list, as in the original; and a disk is not its own overlay, nor one overlay that of
/// many disks.
#[test]
fn what_says_nothing_or_contradicts_itself_is_not_followed() {
    let default = Generic::default().listenaddr;
    assert_eq!(generic("listenaddr =\n").0.listenaddr, default);
    assert_eq!(generic("listenaddr = ,\n").0.listenaddr, default);
    for export in ["exportname=/a\noverlay=/a", "exportname=/a/%s\noverlay=/o"] {
        let said = refused(&format!("[generic]\n[a]\n{export}\n"));
        assert!(format!("{said:?}").contains("overlay"), "{said:?}");
    }
}
