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
        Shell::Fish => generated(Fish) + include_str!("completions/names.fish") + &fish_values(),
    };
    output.raw(script.as_bytes());
    Exit::Done
}

fn generated(shell: impl Generator) -> String {
    let mut script = Vec::new();
    generate(shell, &mut command(), "nbdctl", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// Values of words, which the generated script for fish leaves out.
fn fish_values() -> String {
    let (mut script, command) = (String::new(), command());
    for word in command.get_subcommands() {
        for argument in word.get_positionals() {
            let values: Vec<_> =
                argument.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
            if !values.is_empty() {
                let when = format!("__fish_nbdctl_using_subcommand {}", word.get_name());
                script += &format!("complete -c nbdctl -n \"{when}\" -f -a \"{}\"\n", values.join(" "));
            }
        }
    }
    script
}
