//! What the `Dockerfile` builds, by the commands that the manual tells.

use crate::engine::Engine;
use crate::place::{kept, repository};
use crate::ran::run;
use std::path::{Path, PathBuf};

/// The directory `/output` of the builder's image.
#[derive(Debug)]
pub struct Product {
    dir: PathBuf,
}

impl Product {
    /// Makes the base images that the `Dockerfile` names, and builds.
    ///
    /// # Panics
    /// Where any of it fails; with the build's output.
    #[track_caller]
    pub fn build(engine: &Engine) -> Self {
        for image in images_of(&dockerfile()) {
            engine.base_of_dockerfile(&image);
        }
        build(engine, "nbd-server-builder", &[]);
        engine.docker(&["rm", "--force", "nbd-builder"]);
        engine.docker(&["create", "--name", "nbd-builder", "nbd-server-builder"]).ok();
        let dir = kept("product");
        let _ = std::fs::remove_dir_all(&dir);
        engine.docker(&["cp", "nbd-builder:/output", &dir.display().to_string()]).ok();
        engine.docker(&["rm", "nbd-builder"]).ok();
        Self { dir }
    }

    /// Builds one of its targets under a name, and gives that.
    ///
    /// # Panics
    /// Where that fails; with the build's output.
    #[track_caller]
    pub fn target(&self, engine: &Engine, target: &str) -> String {
        let name = format!("lab-{target}");
        build(engine, &name, &["--target", target]);
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

#[track_caller]
fn build(engine: &Engine, name: &str, args: &[&str]) {
    let mut build = engine.client();
    // There is no network but the host's in this engine.
    build.current_dir(repository()).args(["build", "--network=host", "-t", name]).args(args).arg(".");
    run(&mut build).ok();
}

fn dockerfile() -> String {
    let path = repository().join("Dockerfile");
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The images that it takes from elsewhere: the defaults of its arguments.
fn images_of(dockerfile: &str) -> Vec<String> {
    let names = dockerfile.lines().filter_map(|line| line.strip_prefix("ARG ")?.split_once("_IMAGE="));
    let names: Vec<String> = names.map(|(_, name)| name.trim().to_owned()).collect();
    assert!(!names.is_empty(), "the Dockerfile names no base image");
    names
}
