//! What the `Dockerfile` builds, by the commands that the manual tells.

use crate::engine::Engine;
use crate::place::{kept, repository};
use crate::ran::{run, sh};
use std::path::{Path, PathBuf};
use std::process::Command;
use testkit::TempDir;

/// The directory `/output` of the builder's image.
#[derive(Debug)]
pub struct Product {
    dir: PathBuf,
}

impl Product {
    /// Makes the base images that the `Dockerfile` names, and types the commands of the runbook and of the `Dockerfile`.
    ///
    /// # Panics
    /// Where any of it fails; with the build's output.
    #[track_caller]
    pub fn build(engine: &Engine) -> Self {
        std::thread::scope(|scope| {
            for image in images_of(&text("Dockerfile")) {
                scope.spawn(move || engine.base_of_dockerfile(&image));
            }
        });
        let checkout = checkout();
        let runbook = text("docs/operations.md");
        let commands = runbook
            .split("```")
            .find_map(|block| block.strip_prefix("sh\n").filter(|it| it.contains("docker build")));
        engine.type_in(checkout.path(), commands.expect("the runbook tells how to build"));
        let dockerfile = text("Dockerfile");
        let commands: Vec<&str> =
            dockerfile.lines().filter_map(|line| line.strip_prefix("#   docker ")).collect();
        engine.type_in(checkout.path(), &format!("docker {}", commands.join("\ndocker ")));
        sh(&format!(
            "cd {} && cmp nbd-server-enhanced output/nbd-server-enhanced",
            checkout.path().display()
        ))
        .ok();
        let dir = kept("product");
        let _ = std::fs::remove_dir_all(&dir);
        run(Command::new("cp").arg("-a").arg(checkout.join("output")).arg(&dir)).ok();
        Self { dir }
    }

    /// Builds one of its targets under a name, and gives that.
    ///
    /// # Panics
    /// Where that fails; with the build's output.
    #[track_caller]
    pub fn target(&self, engine: &Engine, target: &str) -> String {
        let name = format!("lab-{target}");
        engine.type_in(&repository(), &format!("docker build --target {target} -t {name} ."));
        name
    }

    /// Where it lies.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A file in it.
    ///
    /// # Panics
    /// Where it is not there.
    #[track_caller]
    pub fn file(&self, name: &str) -> PathBuf {
        let file = self.dir.join(name);
        assert!(file.exists(), "{} was not built", file.display());
        file
    }

    /// The server's program.
    pub fn server(&self) -> PathBuf {
        self.file("nbd-server-enhanced")
    }

    /// The operator's program.
    pub fn nbdctl(&self) -> PathBuf {
        self.file("nbdctl")
    }
}

/// What a build reads, as somebody would have it who cloned the repository: the commands leave files behind.
fn checkout() -> TempDir {
    let dir = TempDir::new("checkout");
    let ignore = text(".dockerignore");
    let wanted =
        ignore.lines().filter_map(|line| line.strip_prefix('!')).chain(["Dockerfile", ".dockerignore"]);
    // With their times: cargo builds anew what is younger than what it built.
    run(Command::new("cp").arg("-a").args(wanted).arg(dir.path()).current_dir(repository())).ok();
    dir
}

fn text(name: &str) -> String {
    let path = repository().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The images that it takes from elsewhere: the defaults of its arguments.
fn images_of(dockerfile: &str) -> Vec<String> {
    let names = dockerfile.lines().filter_map(|line| line.strip_prefix("ARG ")?.split_once("_IMAGE="));
    let names: Vec<String> = names.map(|(_, name)| name.trim().to_owned()).collect();
    assert!(!names.is_empty(), "the Dockerfile names no base image");
    names
}
