//! The Debian package: put over a running original, upgraded, removed; and never at the cost of a session.
#![allow(missing_docs)]

mod common;

use common::Machine;
use lab::{Base, Engine};

const OURS: &str = "/usr/libexec/nbd-server-enhanced/nbd-server";
const ADVICE: &str = "restart it in a maintenance window: systemctl restart nbd-server";

/// Everything under `/etc/nbd-server`, to be seen unchanged.
const ETC: &str = "find /etc/nbd-server -type f | sort | xargs sha256sum";

#[test]
fn the_package_takes_over_at_the_next_start_and_its_removal_brings_the_original_back() {
    let Some(engine) = Engine::start("the_package_takes_over_at_the_next_start") else { return };
    let machine = Machine::new(&engine, Base::Bookworm, &[]);
    takes_over_and_gives_back(&machine);
}

fn takes_over_and_gives_back(machine: &Machine<'_>) {
    machine.make_newer();
    let (etc, original) = (machine.sh(ETC), machine.sh("sha256sum < $(readlink -f /bin/nbd-server)"));
    machine.sh("systemctl restart nbd-server");
    machine.wait_until_it_serves("disk");

    // Over a running 3.24: its client notices nothing, and the admin is told what is left to do.
    let mut client = machine.session("disk");
    client.write(0, b"written to the original").expect("it serves");
    let pid = machine.pid();
    let said = machine.dpkg("--install /root/ours.deb");
    assert!(said.contains(ADVICE), "{said}");
    assert_eq!(machine.pid(), pid, "nobody restarted it");
    assert_eq!(client.read(0, 23).expect("the session goes on"), b"written to the original");
    drop(client);

    // In the maintenance window. Init scripts find the running original by the path that it was started from.
    machine.sh("systemctl restart nbd-server");
    machine.wait_until_it_serves("disk");
    assert_eq!(machine.program(), OURS);
    assert_eq!(machine.sh("pgrep nbd-server"), machine.pid(), "one process");
    let mut client = machine.session("disk");
    assert_eq!(client.read(0, 23).expect("it serves"), b"written to the original");

    // An upgrade and a downgrade under a session leave it alone, and follow when there is none.
    let pid = machine.pid();
    for package in ["newer", "ours"] {
        let said = machine.dpkg(&format!("--install /root/{package}.deb"));
        assert!(said.contains("it has 1 session") && said.contains(ADVICE), "{said}");
        assert_eq!(machine.pid(), pid, "nobody restarted it");
    }
    assert_eq!(client.read(0, 23).expect("the session goes on"), b"written to the original");
    drop(client);
    machine.appliance.wait_for("test -z \"$(nbdctl sessions --ids)\"");
    for package in ["newer", "ours"] {
        let pid = machine.pid();
        let said = machine.dpkg(&format!("--install /root/{package}.deb"));
        machine.wait_until_it_serves("disk");
        assert!(!said.contains(ADVICE) && machine.pid() != pid, "it has no session: {said}");
        assert_eq!(machine.program(), OURS);
    }

    // The original moves underneath, and we stay where we are.
    for package in ["original", "respelt", "original"] {
        machine.dpkg(&format!("--install /root/{package}.deb"));
        assert_eq!(machine.sh("readlink -f /usr/bin/nbd-server /bin/nbd-server"), format!("{OURS}\n{OURS}"));
        assert_eq!(machine.sh("sha256sum < $(ls /usr/bin/nbd-server.original*)"), original, "and it is kept");
    }
    machine.wait_until_it_serves("disk");
    assert_eq!(machine.program(), OURS);

    // And back.
    machine.dpkg("--remove nbd-server-enhanced");
    machine.wait_until_it_serves("disk");
    assert_eq!(machine.sh("sha256sum < /proc/$(cat /run/nbd-server.pid)/exe"), original, "it runs again");
    assert_eq!(machine.sh("dpkg --verify nbd-server; ls /usr/bin/nbd-server*"), "/usr/bin/nbd-server");
    machine.dpkg("--purge nbd-server-enhanced");
    assert_eq!(machine.sh("find /etc /usr /var /run -xdev -name '*nbd-server-enhanced*'"), "");
    assert!(machine.serves("disk"));
    assert_eq!(machine.sh(ETC), etc);
}
