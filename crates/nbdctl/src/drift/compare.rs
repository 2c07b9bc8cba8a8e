//! Who disagrees with whom. A pure comparison: what was seen comes in, disagreements come out, each once.

mod memory;

use super::claims::{Claim, Claims};
use super::finding::{Finding, Party};
use super::look::{Files, Look};
use super::node::{Nodes, same};

/// All disagreements about exports whose name begins with the prefix, and those about all of them.
pub fn compare(look: &Look, prefix: &str, nodes: Nodes<'_>) -> Vec<Finding> {
    let files = Files::of(look);
    let mut findings = Vec::new();
    if let Some(rows) = &look.rows {
        let claims = Claims::of(rows, prefix, nodes);
        findings.extend(within(&claims, nodes));
        findings.extend(with_files(&claims, &files, prefix, nodes));
    }
    findings.extend(memory::with_files(look, prefix));
    findings.extend(memory::with_devices(look, prefix));
    findings
}

/// The database and itself.
fn within(claims: &Claims, nodes: Nodes<'_>) -> Vec<Finding> {
    let both = [Party::Database, Party::Database];
    let torn = claims.iter().filter_map(|(name, claim)| match claim {
        Claim::Torn(paths) => Some((name, paths)),
        _ => None,
    });
    let torn = torn.map(|(name, paths)| {
        let what = format!("the database disagrees with itself: {}", paths.join(" and "));
        Finding::of(name, both, what)
    });
    let none = claims.iter().filter(|(_, claim)| **claim == Claim::NoPath);
    let none = none.map(|(name, _)| Finding::of(name, both, "the database has no path for it"));
    let doubtful = claims.iter().filter_map(|(name, claim)| match claim {
        Claim::Doubtful(_, why) => Some((name, why)),
        _ => None,
    });
    let doubtful = doubtful
        .map(|(name, why)| Finding::of(name, both, format!("the database disagrees with itself: {why}")));
    let shared = claims.shared(nodes).into_iter().map(|(disk, names)| {
        let whom = if names.len() == 2 { "both" } else { "all of them" };
        Finding::about(names, both, format!("the database gives {disk} to {whom}"))
            .with(Party::Database, &disk)
    });
    torn.chain(none).chain(doubtful).chain(shared).collect()
}

/// The database and the files. Where the files cannot be followed, what runs stands for them.
fn with_files(claims: &Claims, files: &Files, prefix: &str, nodes: Nodes<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, claim) in claims.iter() {
        let (party, say, have) = speaker(files, name);
        let path = match claim {
            Claim::Path(path) => path,
            Claim::Failed(_) => {
                let failed = files.get(name).map(|at| {
                    let what = format!("{say} {}, the database has it as failed", at.path);
                    Finding::of(name, [Party::Database, party], what).with(party, &at.path)
                });
                findings.extend(failed);
                continue;
            }
            // What disagrees with itself has no word that could be compared.
            Claim::NoPath | Claim::Torn(_) | Claim::Doubtful(..) => continue,
        };
        let finding =
            |what: String| Finding::of(name, [Party::Database, party], what).with(Party::Database, path);
        match files.get(name) {
            None => findings.push(finding(format!("the database says {path}, {have} not have it"))),
            Some(at) if !same(path, &at.path, nodes) => {
                let what = format!("the database says {path}, {say} {}", at.path);
                findings.push(finding(what).with(party, &at.path));
            }
            Some(_) => {}
        }
    }
    let ours = files.iter().filter(|(name, at)| name.starts_with(prefix) && files.is_included(at));
    for (name, at) in ours.filter(|(name, _)| claims.get(name).is_none()) {
        let (party, say, _) = speaker(files, name);
        let what = format!("{say} {}, the database does not have it", at.path);
        findings.push(Finding::of(name, [Party::Database, party], what).with(party, &at.path));
    }
    findings
}

fn speaker(files: &Files, name: &str) -> (Party, &'static str, &'static str) {
    if files.is_unclear(name) {
        (Party::Memory, "the server has", "the server does")
    } else {
        (Party::Files, "the files say", "the files do")
    }
}

#[cfg(test)]
mod tests;
