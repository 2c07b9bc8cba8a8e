//! The manual says what the parser takes and how the program ends, no more and no less.

use clap::{Arg, Command};
use nbdctl::Exit;
use std::collections::BTreeSet;
use std::path::Path;

fn manual() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/man/nbdctl.1.md");
    std::fs::read_to_string(page).expect("the manual is there")
}

/// Rows of the table under a heading, cell by cell.
fn table(heading: &str) -> Vec<Vec<String>> {
    let page = manual();
    let (_, below) = page.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("{heading}"));
    let rows = below.lines().skip(1).take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells = row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned());
        cells.collect()
    })
    .collect()
}

/// Words as they are typed. They are built first, so that options of all words are in each.
fn words() -> Vec<Command> {
    let mut command = nbdctl::command();
    command.build();
    command.get_subcommands().filter(|word| word.get_name() != "help").cloned().collect()
}

/// `exports [NAME]`
fn typed(word: &Command) -> String {
    let mut typed = word.get_name().to_owned();
    for argument in word.get_positionals() {
        let name = value(argument);
        let more =
            if argument.get_num_args().is_some_and(|range| range.max_values() > 1) { "..." } else { "" };
        typed +=
            &if argument.is_required_set() { format!(" {name}{more}") } else { format!(" [{name}{more}]") };
    }
    typed
}

fn value(argument: &Arg) -> &str {
    argument.get_value_names().and_then(|names| names.first()).map_or("", |name| name.as_str())
}

fn own_options(word: &Command) -> impl Iterator<Item = &Arg> {
    word.get_opts_and_flags()
        .into_iter()
        .filter(|option| !option.is_global_set() && !["help", "version"].contains(&option.get_id().as_str()))
}

trait Options {
    fn get_opts_and_flags(&self) -> Vec<&Arg>;
}

impl Options for Command {
    fn get_opts_and_flags(&self) -> Vec<&Arg> {
        self.get_arguments().filter(|argument| !argument.is_positional()).collect()
    }
}

/// `-n`, `--count COUNT`
fn option(option: &Arg) -> String {
    let short = option.get_short().map(|short| format!("`-{short}`, ")).unwrap_or_default();
    let value =
        if option.get_action().takes_values() { format!(" {}", value(option)) } else { String::new() };
    format!("{short}`--{}{value}`", option.get_long().expect("each has a long name"))
}

#[test]
fn every_word_is_in_the_manual_with_its_arguments_and_options() {
    let mut told = table("| word | options | |");
    told.iter_mut().for_each(|row| row.truncate(2));
    let wanted: Vec<Vec<String>> = words()
        .iter()
        .map(|word| {
            let options = own_options(word).filter_map(Arg::get_long).map(|long| format!("`--{long}`"));
            vec![format!("`{}`", typed(word)), options.collect::<Vec<_>>().join(", ")]
        })
        .collect();
    let sorted = |rows: Vec<Vec<String>>| -> Vec<Vec<String>> {
        rows.into_iter()
            .map(|row| {
                let mut options: Vec<String> = row[1].split(", ").map(str::to_owned).collect();
                options.sort();
                vec![row[0].clone(), options.join(", ")]
            })
            .collect()
    };
    assert!(wanted.len() >= 18, "the words were not found: {wanted:?}");
    assert_eq!(sorted(told), sorted(wanted));
}

#[test]
fn every_option_is_in_the_manual_with_its_letter_and_value() {
    let told: BTreeSet<String> = table("| option | of | |").into_iter().map(|row| row[0].clone()).collect();
    let all = words();
    let global = all[0].get_arguments().filter(|argument| argument.is_global_set());
    let wanted: BTreeSet<String> = all.iter().flat_map(own_options).chain(global).map(option).collect();
    assert_eq!(told, wanted);
    for row in table("| option | of | |") {
        let long =
            row[0].split("--").nth(1).and_then(|long| long.split([' ', '`']).next()).unwrap_or_default();
        let takers = all.iter().filter(|word| own_options(word).any(|one| one.get_long() == Some(long)));
        let takers: Vec<String> = takers.map(|word| format!("`{}`", word.get_name())).collect();
        if row[1].starts_with('`') {
            assert_eq!(row[1], takers.join(", "), "{long}");
        }
    }
}

#[test]
fn every_exit_code_is_in_the_manual_and_in_the_help() {
    let told = table("| code | |");
    assert_eq!(told.len(), Exit::ALL.len());
    let help = nbdctl::command().render_help().to_string();
    for (row, exit) in told.iter().zip(Exit::ALL) {
        assert_eq!(row[0], exit.code().to_string());
        // The manual may say more, behind a semicolon.
        let more = row[1].strip_prefix(exit.about());
        assert!(more.is_some_and(|more| more.is_empty() || more.starts_with(';')), "{}: {}", row[0], row[1]);
        assert!(help.contains(&format!("{:<3} {}", exit.code(), exit.about())), "{help}");
    }
}

#[test]
fn the_manual_opens_with_three_examples_that_the_parser_takes() {
    let page = manual();
    let block = page.split("```").nth(1).expect("a block of examples");
    let lines: Vec<&str> = block.lines().filter(|line| line.starts_with("nbdctl")).collect();
    assert_eq!(lines.len(), 3);
    for line in page.lines().filter(|line| line.starts_with("nbdctl ")) {
        let line = line.split('#').next().unwrap_or_default();
        for part in line.split("&&").filter(|part| part.trim().starts_with("nbdctl")) {
            let part = part.split(['|', '>']).next().unwrap_or_default();
            let taken = nbdctl::command().try_get_matches_from(part.split_whitespace());
            assert!(taken.is_ok(), "{part}");
        }
    }
}
