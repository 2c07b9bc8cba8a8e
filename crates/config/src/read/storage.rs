//! Where an export's bytes are: keys that say one thing together.

use super::client;
use super::reader::Reader;
use crate::settings::{Changes, Layout, Storage, Virtstyle, WantedIdentity};
use crate::value;
use std::path::PathBuf;

pub(super) fn storage(reader: &mut Reader<'_>) -> Storage {
    let (path, client) = path(reader);
    let filesize = size(reader);
    let asked = Asked::read(reader);
    asked.refuse_mixtures(reader);
    let layout = asked.layout();
    let changes = asked.changes(layout);
    asked.say_what_has_no_effect(reader, layout, &changes);
    if client.is_some() && matches!(changes, Changes::Overlay(_)) {
        let what = "an overlay is for one disk, and here each client has its own";
        reader.error("overlay", what, "name one path in exportname");
    }
    if matches!(&changes, Changes::Overlay(overlay) if overlay.as_os_str() == path.as_str()) {
        reader.error("overlay", "the overlay is the disk itself", "name another file");
    }
    if filesize.is_none() {
        for key in asked.of_no_size_of_their_own(layout, &changes) {
            reader.warn(key, &format!("{key} has no size of its own, so the disk is empty: give filesize"));
        }
    }
    Storage { path, client, filesize, identity: reader.understood("identity", identity), layout, changes }
}

/// `exportname`. By default it is a template, so a percent sign is written twice; `virtstyle = none` takes it as it
/// stands (C-160).
fn path(reader: &mut Reader<'_>) -> (String, Option<Virtstyle>) {
    if !reader.says("exportname") {
        let what = format!("Could not find required value exportname in group {}", reader.shown());
        reader.error("exportname", &what, "every group but [generic] is an export and needs one");
    }
    let style = virtstyle(reader);
    let Some(text) = reader.text("exportname") else { return (String::new(), None) };
    let Some(style) = style else { return (text, None) };
    match client::template(&text) {
        Ok((path, names_client)) => (path, names_client.then_some(style)),
        Err(hint) => {
            reader.invalid("exportname", &text, &hint);
            (text, None)
        }
    }
}

fn virtstyle(reader: &mut Reader<'_>) -> Option<Virtstyle> {
    let text = reader.text("virtstyle").unwrap_or_else(|| "ipliteral".into());
    // The original looks at the length alone: a blank is part of it, and `cidrhash8` has none to spare.
    if text.starts_with("cidrhash") && text.len() < "cidrhash N".len() {
        let group = reader.shown();
        let what = format!("Invalid value {text} for parameter virtstyle in group {group}: missing length");
        reader.error("virtstyle", &what, "write cidrhash 16");
        return None;
    }
    let style = client::virtstyle(&text);
    style.unwrap_or_else(|hint| {
        reader.invalid("virtstyle", &text, &hint);
        None
    })
}

fn size(reader: &mut Reader<'_>) -> Option<u64> {
    let size = reader.parse("filesize", value::int64)?;
    if size < 0 {
        let what = format!("filesize {size} is negative");
        reader.error("filesize", &what, "leave it out for all of the file");
    }
    u64::try_from(size).ok().filter(|&size| size > 0)
}

/// One that is empty is no wish to write to the disk itself.
fn overlay(reader: &mut Reader<'_>) -> Option<PathBuf> {
    let text = reader.text("overlay")?;
    if text.is_empty() {
        reader.invalid("overlay", "(empty)", "write a path; leave it out to write to the disk itself");
    }
    Some(text.into())
}

fn identity(text: &str) -> Result<WantedIdentity, String> {
    let wanted = match text.split_once(':') {
        Some(("serial", serial)) if !serial.is_empty() => Some(WantedIdentity::Serial(serial.into())),
        Some(("wwid", wwid)) if !wwid.is_empty() => Some(WantedIdentity::Wwid(wwid.into())),
        Some(("diskseq", number)) => number.parse().ok().map(WantedIdentity::Diskseq),
        _ => None,
    };
    wanted.ok_or_else(|| "write serial:…, wwid:… or diskseq:NUMBER".into())
}

/// What the keys say, one by one.
struct Asked {
    multifile: bool,
    treefiles: bool,
    copyonwrite: bool,
    temporary: bool,
    waitfile: bool,
    overlay: Option<PathBuf>,
    cowdir: Option<PathBuf>,
}

impl Asked {
    fn read(reader: &mut Reader<'_>) -> Self {
        // Ours are sparse whatever it says.
        let _ = reader.flag("sparse_cow");
        Self {
            multifile: reader.flag("multifile"),
            treefiles: reader.flag("treefiles"),
            copyonwrite: reader.flag("copyonwrite"),
            temporary: reader.flag("temporary"),
            waitfile: reader.flag("waitfile"),
            overlay: overlay(reader),
            cowdir: reader.path("cowdir"),
        }
    }

    /// The original's rule, and ours in its words: what would be served is not what one of the two says.
    fn refuse_mixtures(&self, reader: &mut Reader<'_>) {
        let splice = ("splice", reader.flag("splice"));
        reader.exclude(("copyonwrite", self.copyonwrite), splice);
        reader.exclude(("copyonwrite", self.copyonwrite), ("waitfile", self.waitfile));
        reader.exclude(("treefiles", self.treefiles), ("waitfile", self.waitfile));
        let overlay = ("overlay", self.overlay.is_some());
        reader.exclude(overlay, ("copyonwrite", self.copyonwrite));
        reader.exclude(overlay, ("temporary", self.temporary));
        reader.exclude(overlay, ("waitfile", self.waitfile));
    }

    fn layout(&self) -> Layout {
        match (self.treefiles, self.multifile) {
            (true, _) => Layout::Tree,
            // What is waited for is one file.
            (false, true) if !self.waitfile => Layout::Files,
            _ => Layout::One,
        }
    }

    fn changes(&self, layout: Layout) -> Changes {
        if let Some(overlay) = &self.overlay {
            Changes::Overlay(overlay.clone())
        } else if self.waitfile {
            Changes::UntilThere(self.cowdir.clone())
        } else if self.temporary && layout == Layout::One {
            Changes::Temporary
        } else if self.copyonwrite {
            Changes::Private(self.cowdir.clone())
        } else {
            Changes::InPlace
        }
    }

    /// The original says nothing to these.
    fn say_what_has_no_effect(&self, reader: &mut Reader<'_>, layout: Layout, changes: &Changes) {
        let temporary = *changes == Changes::Temporary;
        let cowdir = matches!(changes, Changes::Private(_) | Changes::UntilThere(_));
        let idle = [
            ("multifile", self.multifile && self.treefiles, "with treefiles"),
            ("multifile", self.multifile && self.waitfile, "with waitfile"),
            ("temporary", self.temporary && self.waitfile, "with waitfile"),
            ("temporary", self.temporary && layout == Layout::Files, "with multifile"),
            ("temporary", self.temporary && layout == Layout::Tree, "with treefiles"),
            ("copyonwrite", self.copyonwrite && temporary, "with temporary"),
            ("cowdir", self.cowdir.is_some() && !cowdir, "without copyonwrite or waitfile"),
            ("identity", reader.says("identity") && temporary, "with temporary"),
        ];
        for (key, _, why) in idle.into_iter().filter(|(_, idle, _)| *idle) {
            reader.warn(key, &format!("{key} has no effect {why}"));
        }
    }

    fn of_no_size_of_their_own(&self, layout: Layout, changes: &Changes) -> Vec<&'static str> {
        let mut keys = Vec::new();
        keys.extend((layout == Layout::Tree).then_some("treefiles"));
        keys.extend((*changes == Changes::Temporary).then_some("temporary"));
        keys.extend(matches!(changes, Changes::UntilThere(_)).then_some("waitfile"));
        keys
    }
}
