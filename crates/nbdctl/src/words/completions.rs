//! `completions`: what a shell needs to know, from the table of words; names of exports and numbers of sessions are asked
//! for while somebody types.

use crate::args::{self, Shell, command};
use crate::exit::Exit;
use crate::output::Output;
use clap_complete::shells::{Bash, Fish, Zsh};
use clap_complete::{Generator, generate};

pub fn run(wanted: &args::Completions, output: &mut Output) -> Exit {
    let script = match wanted.shell {
        Shell::Bash => generated(Bash) + include_str!("completions/names.bash"),
        Shell::Zsh => generated(Zsh),
        Shell::Fish => generated(Fish) + include_str!("completions/names.fish"),
    };
    output.raw(script.as_bytes());
    Exit::Done
}

fn generated(shell: impl Generator) -> String {
    let mut script = Vec::new();
    generate(shell, &mut command(), "nbdctl", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}
