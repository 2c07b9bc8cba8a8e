//! Debian's package manager, used so that nothing is taken away from the machine.

use crate::run::{Run, target};
use std::path::{Path, PathBuf};

/// Installs what can be had without removing anything; the rest is said aloud. What clashes with an installed package
/// of the backports comes from there too.
pub fn install(packages: &[&str]) {
    let own = Sources::default();
    let _ = own.update();
    own.settle(packages, &mut None);
}

/// Where packages come from: the machine's own sources, or those and its release's backports.
#[derive(Default)]
struct Sources {
    options: Vec<String>,
    release: Option<String>,
}

impl Sources {
    /// All of them, or by halves those that are possible. `backports` is filled when it is asked for first.
    fn settle(&self, packages: &[&str], backports: &mut Option<Option<Self>>) {
        let harmless = self.harmless(packages);
        if packages.is_empty() || harmless && self.get(packages) {
            return;
        }
        if let [package] = packages {
            // A failure has been said by apt itself.
            if !harmless {
                let other = backports.get_or_insert_with(Self::with_backports);
                let there = other.as_ref().filter(|other| other.harmless(packages));
                if !there.is_some_and(|other| other.get(packages)) {
                    println!(
                        "{package} cannot be installed without removing or breaking another package: left out"
                    );
                }
            }
            return;
        }
        let (left, right) = packages.split_at(packages.len() / 2);
        self.settle(left, backports);
        self.settle(right, backports);
    }

    fn update(&self) -> bool {
        let about = self.release.as_ref().map_or_else(String::new, |release| format!(" with {release}"));
        self.apt(&["update"]).go(&format!("apt-get update{about}")).is_ok()
    }

    fn get(&self, packages: &[&str]) -> bool {
        let install = self.apt(&["install", "-y", "--no-install-recommends"]).args(packages);
        let from = self.release.as_ref().map_or_else(String::new, |release| format!(" from {release}"));
        install.go(&format!("apt-get install {}{from}", packages.join(" "))).is_ok()
    }

    /// Whether the installation takes nothing away: a package of another release may remove what is there.
    fn harmless(&self, packages: &[&str]) -> bool {
        let rehearsal = self.apt(&["install", "-s", "--no-install-recommends"]).args(packages);
        rehearsal.text().is_ok_and(|text| !text.lines().any(|line| line.starts_with("Remv ")))
    }

    fn apt(&self, args: &[&str]) -> Run {
        let quiet = ["-q", "-o", "Dpkg::Use-Pty=0"];
        let release = self.release.iter().flat_map(|release| ["-t", release]);
        Run::new("apt-get")
            .args(quiet)
            .args(&self.options)
            .args(args)
            .args(release)
            .env("DEBIAN_FRONTEND", "noninteractive")
    }

    /// The machine's sources and its release's backports, in a directory of their own: the machine's stay as they are.
    fn with_backports() -> Option<Self> {
        let release = std::fs::read_to_string("/etc/os-release").ok()?;
        let release = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="))?.to_owned();
        let dir = target().join("backports");
        let (parts, lists) = (dir.join("parts"), dir.join("lists"));
        let _ = std::fs::remove_dir_all(&parts);
        std::fs::create_dir_all(&parts).ok()?;
        std::fs::create_dir_all(lists.join("partial")).ok()?;
        let mut mirror = None;
        for file in own_files() {
            let text = std::fs::read_to_string(&file).ok()?;
            mirror = mirror.or_else(|| Mirror::of(&text, &release));
            std::fs::write(parts.join(file.file_name()?), text).ok()?;
        }
        let text = mirror?.source(&format!("{release}-backports"));
        std::fs::write(parts.join("backports-too.sources"), text).ok()?;
        let options = [
            format!("-oDir::Etc::sourcelist={}", parts.join("none").display()),
            format!("-oDir::Etc::sourceparts={}", parts.display()),
            format!("-oDir::State::lists={}", lists.display()),
        ];
        let sources = Self { options: options.into(), release: Some(format!("{release}-backports")) };
        sources.update().then_some(sources)
    }
}

/// The files that name the machine's package sources.
fn own_files() -> Vec<PathBuf> {
    let more = std::fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten();
    let named = more.map(|entry| entry.path()).filter(|path| {
        path.extension().is_some_and(|ending| ["list", "sources"].iter().any(|known| ending == *known))
    });
    let all = named.chain([PathBuf::from("/etc/apt/sources.list")]);
    all.filter(|path| Path::is_file(path)).collect()
}

/// Where the machine gets its release from, and whose signature it trusts for that.
#[derive(Debug, PartialEq)]
struct Mirror {
    address: String,
    signed_by: Option<String>,
}

impl Mirror {
    /// The one of this release, in either of the two forms of a file of sources.
    fn of(text: &str, release: &str) -> Option<Self> {
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
        let by_line = lines.filter_map(|line| Self::of_line(line, release)).next();
        by_line.or_else(|| text.split("\n\n").find_map(|paragraph| Self::of_paragraph(paragraph, release)))
    }

    /// `deb [signed-by=FILE] ADDRESS RELEASE COMPONENT...`
    fn of_line(line: &str, release: &str) -> Option<Self> {
        let rest = line.strip_prefix("deb ")?.trim_start();
        let (options, rest) = match rest.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?,
            None => ("", rest),
        };
        let mut words = rest.split_whitespace();
        let address = words.next()?.to_owned();
        let signed_by = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
        (words.next() == Some(release)).then(|| Self { address, signed_by: signed_by.map(str::to_owned) })
    }

    /// Fields `URIs`, `Suites`, `Signed-By`.
    fn of_paragraph(paragraph: &str, release: &str) -> Option<Self> {
        let field = |name: &str| {
            let fields = paragraph.lines().filter_map(|line| line.split_once(':'));
            fields.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
        };
        let address = field("URIs")?.split_whitespace().next()?.to_owned();
        let named = field("Suites")?.split_whitespace().any(|suite| suite == release);
        // A key may stand there itself instead of its file; then this is not ours to repeat.
        let signed_by = field("Signed-By").filter(|value| value.starts_with('/')).map(str::to_owned);
        named.then_some(Self { address, signed_by })
    }

    fn source(&self, suite: &str) -> String {
        let signed = self.signed_by.as_ref().map_or_else(String::new, |file| format!("Signed-By: {file}\n"));
        format!("Types: deb\nURIs: {}\nSuites: {suite}\nComponents: main\n{signed}", self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_of_a_release_is_found_in_both_forms_of_a_file_of_sources() {
        let paragraphs = "# comment\nTypes: deb\nURIs: https://a.example/security\nSuites: bookworm-security\n\n\
                          Types: deb\n# another\nURIs: https://a.example/debian\nSuites: bookworm bookworm-updates\n\
                          Components: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n";
        let found = Mirror::of(paragraphs, "bookworm").expect("it is there");
        assert_eq!(found.address, "https://a.example/debian");
        assert!(
            found
                .source("bookworm-backports")
                .ends_with("Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n")
        );
        assert_eq!(Mirror::of(paragraphs, "trixie"), None);

        let lines = "# deb http://no.example x main\ndeb-src http://no.example bookworm main\n\
                     deb [arch=amd64 signed-by=/k.gpg] http://b.example/debian/ bookworm main\n";
        let mirror = Mirror { address: "http://b.example/debian/".into(), signed_by: Some("/k.gpg".into()) };
        assert_eq!(Mirror::of(lines, "bookworm"), Some(mirror));
        let found = Mirror::of("deb http://c.example noble universe", "noble").expect("it is there");
        assert_eq!(
            found.source("noble-backports"),
            "Types: deb\nURIs: http://c.example\nSuites: noble-backports\nComponents: main\n"
        );
    }
}
