//! The program `nbdctl`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    nbdctl::main(std::env::args_os()).into()
}
