//! `top`
use crate::args;
use crate::client::{Client, Failure};
use crate::exit::Exit;
use crate::output::Output;

pub fn run(_client: Client, _wanted: &args::Top, _output: &mut Output) -> Result<Exit, Failure> {
    Ok(Exit::Done)
}
