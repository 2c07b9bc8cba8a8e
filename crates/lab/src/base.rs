//! Base images, made from a distribution's own packages: a test must not depend on a registry of images, and knows what
//! is in them.

use crate::place::{kept, lock};
use crate::ran::{run, sh};
use std::path::PathBuf;
use std::process::Command;

/// A distribution. The first is as old as the oldest that the product supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// Debian 11, with the glibc 2.31 of Ubuntu 20.04.
    Bullseye,
    /// Debian 12, of the appliance's generation.
    Bookworm,
    /// Debian 13.
    Trixie,
}

/// Whether the compilers come with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toolchain {
    /// A distribution as it is.
    Without,
    /// With a C compiler, and the Rust toolchain that builds this test.
    With,
}

impl Base {
    /// All of them, oldest first.
    pub const ALL: [Self; 3] = [Self::Bullseye, Self::Bookworm, Self::Trixie];

    /// The name that its packages go by.
    pub fn suite(self) -> &'static str {
        match self {
            Self::Bullseye => "bullseye",
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
        }
    }

    /// The distribution in an image's name, as in `debian:trixie-20260202-slim`.
    pub fn of_image(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|base| name.contains(base.suite()))
    }

    /// A tar of its root, with these packages besides the essential ones.
    ///
    /// # Panics
    /// Where it cannot be made.
    pub fn root(self, packages: &[&str], toolchain: Toolchain) -> PathBuf {
        let recipe = self.recipe(packages, toolchain);
        let name = format!("{}-{:016x}", self.suite(), fingerprint(&recipe));
        let _turn = lock(&name);
        let tar = kept("bases").join(format!("{name}.tar"));
        if !tar.exists() {
            // Under another name until it is whole: a test that was ended in the middle leaves no half image.
            let half = tar.with_extension("half.tar");
            run(Command::new("mmdebstrap").args(&recipe).arg(self.suite()).arg(&half)).ok();
            std::fs::rename(&half, &tar).expect("a name in the same directory");
        }
        tar
    }

    fn recipe(self, packages: &[&str], toolchain: Toolchain) -> Vec<String> {
        let mut recipe: Vec<String> = [
            "--quiet",
            "--variant=minbase",
            "--dpkgopt=force-unsafe-io",
            "--aptopt=Acquire::Languages \"none\"",
        ]
        .map(str::to_owned)
        .into();
        let mut packages: Vec<&str> = packages.to_vec();
        if toolchain == Toolchain::With {
            packages.extend(["gcc", "g++", "libc6-dev", "make", "perl", "pkg-config", "git"]);
            recipe.push(format!("--customize-hook={}", toolchain_into("\"$1\"")));
        }
        if !packages.is_empty() {
            recipe.push(format!("--include={}", packages.join(",")));
        }
        // Whom the machine trusts, its images trust: package sources may be reached through a proxy that signs for them.
        let trusted = "/etc/ssl/certs/ca-certificates.crt";
        recipe.push(format!(
            "--customize-hook=if test -e {trusted}; then mkdir -p \"$1/etc/ssl/certs\"; cp {trusted} \"$1{trusted}\"; fi"
        ));
        recipe
    }
}

/// As in the official images: the toolchain below `/usr/local`, cargo's own files in `/usr/local/cargo`.
fn toolchain_into(root: &str) -> String {
    let sysroot = sh("${RUSTC:-rustc} --print sysroot").ok();
    format!(
        "mkdir -p {root}/usr/local/rust {root}/usr/local/cargo/bin; \
         cp -a {sysroot}/bin {sysroot}/lib {sysroot}/libexec {root}/usr/local/rust/; \
         for program in {root}/usr/local/rust/bin/*; do \
         ln -s ../../rust/bin/${{program##*/}} {root}/usr/local/cargo/bin/; done"
    )
}

fn fingerprint(recipe: &[String]) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    recipe.hash(&mut hasher);
    hasher.finish()
}
