//! The oldest option and its answer, which has no header and no way to refuse. Spec: `NBD_OPT_EXPORT_NAME`.

use alloc::vec::Vec;

use crate::bytes::{Append, Reader};
use crate::{Malformed, TransmissionFlags};

/// The data of EXPORT_NAME: all of it is the name; no bytes mean the default export. Spec: `NBD_OPT_EXPORT_NAME`.
///
/// # Errors
/// [`Malformed::TooLong`] above [`crate::NAME_LEN_MAX`].
pub fn decode_export_name(data: &[u8]) -> Result<&[u8], Malformed> {
    Reader::new(data).string_to_end()
}

/// What the client of EXPORT_NAME hears when its wish is granted; transmission follows.
///
/// Shape: big-endian: size 8, transmission flags 2, then 124 zero bytes unless both sides agreed on NO_ZEROES.
/// Spec: "Newstyle negotiation".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportNameReply {
    /// Bytes in the export.
    pub size: u64,
    /// What the export can do.
    pub flags: TransmissionFlags,
}

impl ExportNameReply {
    /// Reserved bytes at the end, left out with NO_ZEROES.
    pub const ZEROES: usize = 124;

    /// Bytes on the wire: 10 or 134.
    #[must_use]
    pub const fn size(no_zeroes: bool) -> usize {
        if no_zeroes { 10 } else { 10 + Self::ZEROES }
    }

    /// What the reserved bytes hold is not looked at.
    ///
    /// # Errors
    /// [`Malformed::Short`] and [`Malformed::Leftover`] for a number of bytes that was not agreed.
    pub fn decode(bytes: &[u8], no_zeroes: bool) -> Result<Self, Malformed> {
        let mut from = Reader::new(bytes);
        let reply = Self { size: from.u64()?, flags: TransmissionFlags(from.u16()?) };
        if !no_zeroes {
            from.take(Self::ZEROES as u64)?;
        }
        from.end()?;
        Ok(reply)
    }
}

/// Appends the answer to EXPORT_NAME: 10 bytes with `no_zeroes`, 134 without. Spec: "Newstyle negotiation".
pub fn append_export_name_reply(out: &mut Vec<u8>, size: u64, flags: TransmissionFlags, no_zeroes: bool) {
    out.u64(size);
    out.u16(flags.0);
    if !no_zeroes {
        out.extend_from_slice(&[0; ExportNameReply::ZEROES]);
    }
}
