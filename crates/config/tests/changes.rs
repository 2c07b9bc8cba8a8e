//! What a reload says has changed, and what follows from it.
#![allow(missing_docs)]

mod common;

use common::{export, generic, start};
use config::{Config, Generic, Plan, Step, export_changes, generic_changes, storage_changes};
use std::collections::BTreeSet;

/// P9: whatever is another value is named. The keys stand in the table, so that the log says what the file says.
#[test]
fn every_setting_that_changes_is_named() {
    let plain = export("exportname=/a").0;
    let lines = "readonly=1\nflush=0\nfua=0\ntrim=0\nrotational=1\nsync=1\nmaxconnections=1\nauthfile=/a\n\
                 device_changes=follow\nexclusive=1\non_change=keep\ntls_allow=psk:a\nprerun=a\npostrun=b\n\
                 transactionlog=/l\ndatalog=1\ntimeout=1\n";
    let changed = export(&format!("exportname=/a\n{lines}")).0;
    let mut named: Vec<_> = export_changes(&plain, &changed).iter().map(|change| change.key).collect();
    let mut wanted: Vec<&str> = lines.lines().filter_map(|line| line.split('=').next()).collect();
    wanted.push("force_tls");
    named.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(named, wanted);
    for line in lines.lines() {
        assert_ne!(plain, export(&format!("exportname=/a\n{line}")).0, "{line}");
    }
}

#[test]
fn every_setting_of_generic_that_changes_is_named() {
    let lines = "user=a\ngroup=b\nlistenaddr=c\nport=1\nunixsock=/u\nduallisten=1\nallowlist=1\nincludedir=/i\n\
                 max_threads=1\nstrict=1\nunixsock_mode=0600\nunixsock_owner=a\ncontrolsock=/c\ncontrolsock_mode=0600\n\
                 controlsock_owner=b\nmetrics_listen=9809\nforce_tls=1\ncertfile=/c\nkeyfile=/k\n\
                 cacertfile=/a\npskfile=/p\ntlsprio=NORMAL\n";
    let changes = generic_changes(&Generic::default(), &generic(lines).0);
    let named: Vec<_> = changes.iter().map(|change| change.key).collect();
    assert_eq!(named, lines.lines().filter_map(|line| line.split('=').next()).collect::<Vec<_>>());
    let live: Vec<_> = changes.iter().filter(|change| change.live).map(|change| change.key).collect();
    let wanted =
        "allowlist includedir max_threads strict force_tls certfile keyfile cacertfile pskfile tlsprio";
    assert_eq!(live, wanted.split(' ').collect::<Vec<_>>());
}

/// Any difference in where the bytes are makes it another store, whose old sessions are fenced (P2).
#[test]
fn every_change_of_storage_replaces_the_store() {
    let config =
        |lines: &str| start(&format!("[generic]\n[a]\nfilesize=4096\n{lines}\n")).expect(lines).config;
    let step = |old: &Config, new: &Config| Plan::between(old, new, &BTreeSet::new()).steps()[0].clone();
    let kinds = [
        "exportname=/a",
        "exportname=/b",
        "exportname=/a%s",
        "exportname=/a%s\nvirtstyle=iphash",
        "exportname=/a%s\nvirtstyle=none",
        "exportname=/a\nfilesize=8192",
        "exportname=/a\nidentity=serial:x",
        "exportname=/a\nmultifile=1",
        "exportname=/a\ntreefiles=1",
        "exportname=/a\ncopyonwrite=1",
        "exportname=/a\ncopyonwrite=1\ncowdir=/c",
        "exportname=/a\ntemporary=1",
        "exportname=/a\nwaitfile=1",
        "exportname=/a\nwaitfile=1\ncowdir=/c",
        "exportname=/a\noverlay=/c",
        "exportname=/a\noverlay=/d",
    ];
    for old in kinds {
        for new in kinds {
            let (before, after) = (config(old), config(new));
            let wanted = if old == new { Step::Keep("a".into()) } else { Step::Replace("a".into()) };
            assert_eq!(step(&before, &after), wanted, "{old} → {new}");
            let storage = |config: &Config| config.exports.iter().next().expect("one").storage.clone();
            let named = storage_changes(&storage(&before), &storage(&after));
            assert_eq!(named.is_empty(), old == new, "{old} → {new}");
        }
    }
    assert_eq!(
        step(&config("exportname=/a"), &config("exportname=/a\nvirtstyle=none")),
        Step::Keep("a".into())
    );
    assert_eq!(step(&config("exportname=/a"), &config("exportname=/a\ntimeout=5")), Step::Retune("a".into()));
}
