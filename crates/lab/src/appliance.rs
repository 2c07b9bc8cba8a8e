//! An appliance: systemd as PID 1, its journal, and Debian's own nbd-server with its configuration.

use crate::base::Base;
use crate::container::Container;
use crate::engine::Engine;
use std::ops::Deref;

/// What is installed on it.
const PACKAGES: &[&str] = &[
    "systemd",
    "systemd-sysv",
    "udev",
    "dbus",
    "nbd-server",
    "nbd-client",
    "procps",
    "iproute2",
    "e2fsprogs",
    "mount",
    "util-linux",
];

/// A container with systemd as its first process.
#[derive(Debug)]
pub struct Appliance<'a>(Container<'a>);

impl<'a> Appliance<'a> {
    /// The image that it is started from; the first time it is asked for, it is made.
    ///
    /// # Panics
    /// Where it cannot be made.
    pub fn image(engine: &Engine, base: Base) -> String {
        engine.base(base, PACKAGES)
    }

    /// Starts one, with Debian's nbd-server installed and not configured yet; `args` are for `docker run`.
    ///
    /// # Panics
    /// Where it does not come up.
    #[track_caller]
    pub fn start(engine: &'a Engine, base: Base, args: &[&str]) -> Self {
        let image = Self::image(engine, base);
        let fixed = [
            "--network=none",
            "--tmpfs=/run",
            "--tmpfs=/run/lock",
            "--tmpfs=/tmp",
            "--env=container=docker",
            "--cap-add=SYS_ADMIN",
            "--security-opt=seccomp=unconfined",
            "--cgroupns=host",
            "--volume=/sys/fs/cgroup:/sys/fs/cgroup:rw",
            "--stop-signal=SIGRTMIN+3",
        ];
        let container = Container::run(engine, &[&fixed, args, &[&image, "/lib/systemd/systemd"]].concat());
        container.wait_for("systemctl is-system-running | grep -qE 'running|degraded'");
        Self(container)
    }
}

impl<'a> Deref for Appliance<'a> {
    type Target = Container<'a>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}
