//! What an operator types: `nbdctl`, one word for each thing that the control socket can be asked.
//!
//! Follow one word: `args.rs` knows it, `words/` asks for it through `client.rs` and says the answer on `output.rs`,
//! `exit.rs` makes an exit code of it. `top.rs` goes on asking.
#![forbid(unsafe_code)]

mod args;
mod client;
mod deploy;
mod drift;
mod exit;
mod output;
mod table;
mod text;
mod top;
mod units;
mod words;

pub use args::command;
pub use exit::Exit;

use args::Cli;
use clap::FromArgMatches;
use output::Output;
use std::ffi::OsString;
use std::io::{IsTerminal, Write};

/// Runs the program: words in, an exit code out.
#[must_use]
pub fn main(args: impl IntoIterator<Item = OsString>) -> u8 {
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    let colour = out.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    run(args, &mut out, &mut err, colour).code()
}

/// The same with ends of one's own: answers to `out`, what is wrong to `err`; `colour` is for a terminal.
pub fn run(
    args: impl IntoIterator<Item = OsString>,
    out: &mut dyn Write,
    err: &mut dyn Write,
    colour: bool,
) -> Exit {
    let args: Vec<OsString> = args.into_iter().collect();
    let mut output = Output::new(out, err, colour);
    // What was typed is shown where it makes no sense, and may be a URL with a password.
    output.hide(args.iter().flat_map(|arg| drift::passwords_in(&arg.to_string_lossy())).collect());
    let cli = command().try_get_matches_from(args).and_then(|matches| Cli::from_arg_matches(&matches));
    let exit = match cli {
        Ok(cli) => words::run(&cli, &mut output),
        Err(said) => output.usage(&said),
    };
    output.end(exit)
}
