//! What shells are given, seen in shells.

mod common;

use common::fake::{export, session};
use common::{Server, ctl};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use testkit::{TempDir, Terminal, skip_or_fail, tool};

fn script(shell: &str) -> String {
    let ran = ctl(Path::new("/nonexistent"), &["completions", shell]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    ran.out
}

/// Offered by bash where the last of the words is being typed.
fn offered(server: &Server, words: &[&str]) -> Option<Vec<String>> {
    let bash = tool("bash").or_else(|| {
        skip_or_fail("completions", "bash");
        None
    })?;
    let program = env!("CARGO_BIN_EXE_nbdctl");
    let test = r#"
        eval "$SCRIPT"
        COMP_WORDS=("$@")
        COMP_CWORD=$(($# - 1))
        eval "$(complete -p nbdctl | sed 's/.*-F \([^ ]*\).*/\1/') \"\$1\" \"\${COMP_WORDS[COMP_CWORD]}\" \"\${COMP_WORDS[COMP_CWORD - 1]}\""
        ((${#COMPREPLY[@]} == 0)) || printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let output = Command::new(bash)
        .args(["-c", test, "bash", program])
        .args(words)
        .env("SCRIPT", script("bash"))
        .env("NBDCTL_SOCKET", server.socket())
        .output()
        .expect("bash runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || said.is_empty(), "{words:?}: {said}");
    Some(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

#[test]
fn bash_accepts_the_script_and_offers_words_options_names_and_numbers() {
    let server = Server::start();
    {
        let mut says = server.fake.says();
        says.exports =
            ["vol-1", "vol-22", "my disk", "$(touch x)"].map(|name| export(name, "/dev/vdb")).to_vec();
        says.sessions = vec![session(17, "vol-1"), session(123, "vol-1")];
    }
    let Some(words) = offered(&server, &[""]) else { return };
    for word in nbdctl::command().get_subcommands() {
        assert!(words.iter().any(|offered| offered == word.get_name()), "{} in {words:?}", word.get_name());
    }
    let offers = |words: &[&str], wanted: &[&str]| {
        let offered = offered(&server, words).unwrap_or_default();
        assert_eq!(offered, wanted, "{words:?}");
    };
    offers(&["re"], &["reload", "remove"]);
    offers(&["plan", "--e"], &["--exit-code"]);
    offers(&["log-level", "n"], &["notice"]);
    offers(&["explain", "expo"], &["exportname"]);
    offers(&["completions", "z"], &["zsh"]);
    for word in ["fence", "clear", "remove", "exports"] {
        offers(&[word, "v"], &["vol-1", "vol-22"]);
    }
    offers(&["fence", ""], &["vol-1", "vol-22", "my\\ disk", "\\$\\(touch\\ x\\)"]);
    offers(&["fence", "my\\ "], &["my\\ disk"]);
    offers(&["end", "1"], &["17", "123"]);
    offers(&["sessions", "--json", "12"], &["123"]);
    offers(&["--timeout", "5", "remove", "--no-reload", "vol-2"], &["vol-22"]);
    offers(&["--socket", "/nonexistent", "fence", "v"], &[]);
    offers(&["add", "v"], &[]);
    offers(&["check", "v"], &[]);

    let mut check = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn().expect("bash runs");
    let mut stdin = check.stdin.take().expect("a pipe");
    stdin.write_all(script("bash").as_bytes()).expect("bash reads");
    drop(stdin);
    assert!(check.wait().expect("it ends").success());
}

#[test]
fn a_name_is_completed_while_it_is_typed() {
    let server = Server::start();
    server.fake.says().exports = vec![export("vol-1", "/dev/vdb"), export("my disk", "/dev/vdc")];
    let dir = TempDir::new("completions");
    std::fs::write(dir.join("script"), script("bash")).expect("a file");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_nbdctl"), dir.join("nbdctl")).expect("a link");
    let (script, socket) = (dir.join("script"), server.socket());
    let variables = [("DIR", dir.path()), ("SCRIPT", script.as_path()), ("NBDCTL_SOCKET", socket.as_path())];
    let Some(terminal) = Terminal::open("a_name_is_completed", 100, 20, &variables) else { return };
    terminal.line("exec bash --norc --noprofile");
    terminal.line("PS1='bash> '; PATH=$DIR:$PATH; . \"$SCRIPT\"");
    terminal.wait_for("bash", |screen| screen.trim_end().ends_with("\nbash>"));
    terminal.keys(&["n", "b", "d", "c", "t", "l", "Space", "c", "l", "Tab", "m", "Tab"]);
    terminal.wait_for("the whole name", |screen| screen.trim_end().ends_with("bash> nbdctl clear my\\ disk"));
    terminal.keys(&["Enter"]);
    terminal.wait_for("what it did", |screen| screen.contains("my disk: the failed sync is forgotten"));
    assert_eq!(server.fake.calls(), ["clear \"my disk\""]);
}

/// These shells may not be there; what they are given names every word.
#[test]
fn zsh_and_fish_are_given_every_word() {
    for (shell, begins) in [("zsh", "#compdef nbdctl"), ("fish", "# Print an optspec")] {
        let script = script(shell);
        assert!(script.starts_with(begins), "{shell}: {}", script.lines().next().unwrap_or_default());
        for word in nbdctl::command().get_subcommands() {
            assert!(script.contains(word.get_name()), "{shell}: {}", word.get_name());
        }
    }
}
