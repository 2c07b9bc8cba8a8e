//! The command line.

use crate::case::Case;

const FILE: &str = "{dir}/disk";

pub fn cases() -> Vec<Case> {
    let says = |name: &str, args: &[&str]| Case::one(name, "").args(args).fails();
    let serves = |name: &str, args: &[&str]| {
        Case::new(name).disk("disk", 1 << 20).args(&["-p", "{dir}/pid"]).arg(args).visit("")
    };
    let nowhere = ["-C", "{dir}/none"];
    vec![
        says("version", &["-V"]),
        says("version in words", &["--version"]),
        says("help", &["-h"]).differs(
            "D-22",
            "start: stdout",
            "This is nbd-server version 3.24\nUsage: *",
            "This is nbd-server version 3.24*\nUsage: *",
        ),
        says("an option of nobody", &["-w"])
            .differs("D-22", "start: stderr", "", "*invalid option -- 'w'")
            .differs(
                "D-22",
                "start: stdout",
                "This is nbd-server version 3.24\nUsage: *",
                "This is nbd-server version 3.24*\nUsage: *",
            ),
        says("an option in words of nobody", &["--none-of-these"]).differs(
            "D-22",
            "start: stdout",
            "This is nbd-server version 3.24\nUsage: *",
            "This is nbd-server version 3.24*\nUsage: *",
        ),
        says("a section", &["-o", "sec", "{port}", FILE, "-r", "-m", "-c", "-l", "{dir}/allow"]).differs(
            "D-24",
            "start: stdout",
            "*\tlistenaddr = (null)\n*",
            "[sec]\n\texportname*",
        ),
        says("a section with a size", &["{port}", "-o", "sec", FILE, "10k"]).differs(
            "D-24",
            "start: stdout",
            "*\tlistenaddr = (null)\n*",
            "[sec]\n\texportname*",
        ),
        says("a section with a size in M", &["{port}", FILE, "10M", "-o", "sec"]).differs(
            "D-24",
            "start: stdout",
            "*\tlistenaddr = (null)\n*",
            "[sec]\n\texportname*",
        ),
        says("a section with a size in G", &["{port}", FILE, "10G", "-o", "sec"]).differs(
            "D-23",
            "start: stdout",
            "*filesize = 10\n*",
            "*filesize = 10737418240\n*",
        ),
        says("a section of nothing", &["-o", "sec"]),
        says("a file that is relative", &["{port}", "disk"]),
        says("no configuration", &nowhere),
        says("a directory for a configuration", &["-C", "{dir}"]),
        serves("a file on the command line", &["127.0.0.1:{port}", FILE]).arg(&nowhere),
        serves("a file, read-only", &["127.0.0.1@{port}", FILE, "-r"]).arg(&nowhere),
        serves("a file with a size", &["-C", "{dir}/none", "localhost:{port}", FILE, "64k"]).without_tools(),
        serves("a file with a copy", &["-c", "127.0.0.1:{port}", FILE])
            .arg(&nowhere)
            .without_tools()
            .copied(),
        serves("a file of several", &["-m", "127.0.0.1:{port}", FILE])
            .arg(&nowhere)
            .disk("disk.0", 4096)
            .disk("disk.1", 100)
            .without_tools(),
        serves("a file with a list", &["-l", "{dir}/allow", "127.0.0.1:{port}", FILE])
            .kept_out("")
            .arg(&nowhere)
            .text("allow", "10.0.0.1\n")
            .without_tools(),
        serves("a file beside a configuration", &["127.0.0.1:{port}", FILE, "-C", "{dir}/config"])
            .main("[generic]\nallowlist = true\n[a]\nexportname = {dir}/disk\n")
            .visit("a"),
        Case::one("a port on the command line", "")
            .main("[generic]\nallowlist = true\nlistenaddr = 127.0.0.1\n[a]\nexportname = {dir}/disk\n")
            .arg(&["{port}"]),
        Case::one("options in words", "").args(&["--config-file", "{dir}/config", "--pid-file", "{dir}/pid"]),
        Case::one("options cut short", "").args(&["--config", "{dir}/config", "--pid={dir}/pid"]),
        Case::one("an option that is in the usage only", "")
            .arg(&["--max-connections", "3"])
            .only_ours_starts("D-25", "*unrecognized option '--max-connections'")
            .differs("D-25", "start: stdout", "*Usage*", ""),
        Case::one("a pid file nowhere", "").args(&["-C", "{dir}/config", "-p", "{dir}/none/pid"]),
    ]
}
