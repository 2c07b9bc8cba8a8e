//! Requests made from an OpenAPI document by somebody else: schemathesis, on the control socket.

use crate::need::tool;
use crate::temp::TempDir;
use std::fs;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

/// Another version may find more; it shall not do that on a day on which nothing was changed.
const VERSION: &str = "4.32.5";
/// Cases for each operation and phase: less than a minute in all.
const EXAMPLES: &str = "60";
/// So that a run that found something finds it again.
const SEED: &str = "4";

/// What is not the default. A document cannot say which settings make sense together, so that a body that fits it may be
/// unprocessable all the same; a limit may be reached, and a time may be too short (`timeout_ms=1`), which the document
/// says. The stream of events never ends, and schemathesis waits for ends.
const CONFIGURATION: &str = r#"
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "403", "404", "409", "422", "503", "504"]
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", "503", "504"]
[[operations]]
include-path = "/v1/events"
enabled = false
"#;

/// Whether schemathesis with all its checks found nothing on a control socket, and what it reports. It is kept below
/// `target`, and installed there with Python's own installer when it is not there yet.
///
/// # Errors
/// What is missing on this machine.
///
/// # Panics
/// Where a port or a temporary file cannot be had.
pub fn schemathesis(target: &Path, socket: &Path) -> Result<(bool, String), String> {
    let python = tool("python3").ok_or("python3")?;
    let modules = installed(target, &python)?;
    let dir = TempDir::new("schemathesis");
    fs::write(dir.join("schemathesis.toml"), CONFIGURATION).expect("a temporary file can be written");
    let address = forward(socket).expect("a port can be had");
    let output = Command::new(python)
        .args(["-m", "schemathesis.cli", "run", &format!("http://{address}/v1/openapi.json")])
        .args(["--checks", "all", "--mode", "all", "--seed", SEED, "--max-examples", EXAMPLES])
        .args(["--request-timeout", "60", "--continue-on-failure", "--no-color"])
        .env("PYTHONPATH", modules)
        .current_dir(dir.path())
        .output()
        .map_err(|error| format!("python3: {error}"))?;
    let [report, complaints] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    Ok((output.status.success(), format!("{report}{complaints}")))
}

/// The directory of its modules, which are those of one version of Python too.
fn installed(target: &Path, python: &Path) -> Result<PathBuf, String> {
    let tag = run(Command::new(python).args(["-c", "import sys; print(sys.implementation.cache_tag)"]))?;
    let modules = target.join(format!("schemathesis-{VERSION}-{}", tag.trim()));
    if modules.is_dir() {
        return Ok(modules);
    }
    let begun = modules.with_extension("begun");
    let _ = fs::remove_dir_all(&begun);
    // From the index that this machine is set up for.
    let install = ["-m", "pip", "install", "--quiet", "--retries", "1", &format!("schemathesis=={VERSION}")];
    run(Command::new(python).args(install).arg("--target").arg(&begun))?;
    fs::rename(&begun, &modules).map_err(|error| format!("{}: {error}", modules.display()))?;
    Ok(modules)
}

fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// A port that leads to a Unix socket, for clients that speak TCP alone. It is there until the test's process ends.
fn forward(socket: &Path) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let socket = socket.to_path_buf();
    thread::spawn(move || {
        for client in listener.incoming() {
            let Some((client, server)) = client.ok().zip(UnixStream::connect(&socket).ok()) else { continue };
            // A pair that cannot be joined is closed, which the client reports.
            let _ = join(client, server);
        }
    });
    Ok(address)
}

fn join(client: TcpStream, server: UnixStream) -> io::Result<()> {
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    let (mut from_server, mut to_client) = (server, client);
    thread::spawn(move || {
        let _ = io::copy(&mut from_server, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Both);
    });
    Ok(())
}
