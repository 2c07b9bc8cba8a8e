//! Any group but `[generic]`: an export.

use super::reader::Reader;
use super::{Found, client, storage};
use crate::document::Group;
use crate::keys::Place;
use crate::name::ExportName;
use crate::settings::{DeviceChanges, Export, MaxConnections, OnChange, Origin};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Any other group.
pub(crate) fn export(file: &Path, group: &Group) -> Found<Export> {
    let mut reader = Reader::new(file, group, Place::Export);
    let refuse_or_follow = [("refuse", DeviceChanges::Refuse), ("follow", DeviceChanges::Follow)];
    let fence_or_keep = [("fence", OnChange::Fence), ("keep", OnChange::Keep)];
    let storage = storage::storage(&mut reader);
    let tls_allow = reader.understood("tls_allow", client::allowed).unwrap_or_default();
    let asked_for = [reader.flag("force_tls"), reader.flag("tlsonly"), !tls_allow.is_empty()];
    let settings = Export {
        name: ExportName::from(group.name.as_slice()),
        storage,
        readonly: reader.flag("readonly"),
        flush: advertised(&mut reader, "flush"),
        fua: advertised(&mut reader, "fua"),
        trim: advertised(&mut reader, "trim"),
        rotational: reader.flag("rotational"),
        sync: reader.flag("sync"),
        maxconnections: MaxConnections(reader.number("maxconnections").unwrap_or(0).into()),
        authfile: reader.text("authfile").map(PathBuf::from),
        device_changes: reader.choice("device_changes", refuse_or_follow),
        exclusive: reader.flag("exclusive"),
        on_change: reader.choice("on_change", fence_or_keep),
        force_tls: asked_for.contains(&true),
        tls_allow,
        prerun: reader.words("prerun"),
        postrun: reader.words("postrun"),
        transactionlog: reader.path("transactionlog"),
        datalog: reader.flag("datalog"),
        timeout: timeout(&mut reader),
        origin: Origin { file: file.into(), line: group.line },
    };
    let splice = ("splice", reader.flag("splice"));
    reader.exclude(("datalog", settings.datalog), splice);
    if settings.datalog && settings.transactionlog.is_none() {
        reader.warn("datalog", "datalog has no effect without transactionlog");
    }
    // Never used, but an error in the original all the same.
    let _ = reader.text("listenaddr");
    if reader.flag("sdp") {
        let group = group.shown();
        let what = format!("This nbd-server was built without support for SDP, yet group {group} uses it");
        reader.error("sdp", &what, "remove the key");
    }
    reader.found(settings)
}

/// Said to be so or not said at all, what is advertised then is the same.
fn advertised(reader: &mut Reader<'_>, key: &str) -> Option<bool> {
    reader.said(key).filter(|&said| !said)
}

fn timeout(reader: &mut Reader<'_>) -> Option<Duration> {
    let seconds = reader.number("timeout")?;
    if seconds < 0 {
        reader.invalid("timeout", &seconds.to_string(), "write seconds, or 0 for never");
    }
    u64::try_from(seconds).ok().filter(|&seconds| seconds > 0).map(Duration::from_secs)
}
