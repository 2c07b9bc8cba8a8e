//! The program `nbd-server`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    server::main(std::env::args_os()).into()
}
