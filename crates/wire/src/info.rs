//! Questions about an export and their answers. Spec: `NBD_OPT_INFO`, `NBD_OPT_GO` and `NBD_REP_INFO`.

use alloc::vec::Vec;

use crate::bytes::{Append, Reader, length_u32};
use crate::{Malformed, TransmissionFlags};

numbers! {
    /// What kind of information. Shape: 2 bytes, big-endian. Spec: `NBD_REP_INFO`.
    InfoType(u16) {
        /// Size and transmission flags; always sent on success.
        EXPORT = 0, "NBD_INFO_EXPORT";
        /// The name the server itself uses.
        NAME = 1, "NBD_INFO_NAME";
        /// A text for people.
        DESCRIPTION = 2, "NBD_INFO_DESCRIPTION";
        /// The sizes the client has to keep to.
        BLOCK_SIZE = 3, "NBD_INFO_BLOCK_SIZE";
    }
}

/// The data of INFO and GO.
///
/// Shape: big-endian: name length 4, name, number of wishes 2, then 2 bytes each.
/// Spec: `NBD_OPT_INFO`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InfoRequest<'a> {
    /// The export's name as it came; no bytes mean the default export.
    pub name: &'a [u8],
    /// In the order sent. A server ignores those it does not know.
    pub wanted: Vec<InfoType>,
}

impl<'a> InfoRequest<'a> {
    /// # Errors
    /// [`Malformed::Short`], [`Malformed::Leftover`], or [`Malformed::TooLong`] for the name.
    pub fn decode(data: &'a [u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(data);
        let length = from.u32()?;
        let name = from.string(length)?;
        let count = from.u16()?;
        let mut list = from.part(2 * u64::from(count))?;
        from.end()?;
        let mut wanted = Vec::with_capacity(usize::from(count));
        while list.left() > 0 {
            wanted.push(InfoType(list.u16()?));
        }
        Ok(Self { name, wanted })
    }

    /// The data, without the option's header.
    ///
    /// # Panics
    /// With more than 65,535 wishes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(6 + self.name.len() + 2 * self.wanted.len());
        out.u32(length_u32(self.name.len()));
        out.extend_from_slice(self.name);
        out.u16(u16::try_from(self.wanted.len()).expect("there are not that many kinds of information"));
        for kind in &self.wanted {
            out.u16(kind.0);
        }
        out
    }
}

/// The payload of one INFO reply.
///
/// Shape: big-endian: kind 2, then what the variant says. Spec: `NBD_REP_INFO`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Info<'a> {
    /// 12 bytes in all.
    Export {
        /// Bytes in the export.
        size: u64,
        /// What the export can do.
        flags: TransmissionFlags,
    },
    /// All the rest is the name.
    Name(&'a [u8]),
    /// All the rest is the text.
    Description(&'a [u8]),
    /// 14 bytes in all. What the three may be is in "Size constraints", and not looked at here.
    BlockSize {
        /// Offsets and lengths are multiples of this many bytes.
        min: u32,
        /// Aligned requests of this many bytes are efficient.
        preferred: u32,
        /// The largest payload of one request or reply in bytes.
        max: u32,
    },
    /// A kind without a name, which a client ignores.
    Unknown {
        /// The kind.
        kind: InfoType,
        /// Everything behind it.
        payload: &'a [u8],
    },
}

impl<'a> Info<'a> {
    /// # Errors
    /// [`Malformed::Short`], [`Malformed::Leftover`], or [`Malformed::TooLong`] for a string.
    pub fn decode(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(payload);
        let info = match InfoType(from.u16()?) {
            InfoType::EXPORT => Self::Export { size: from.u64()?, flags: TransmissionFlags(from.u16()?) },
            InfoType::NAME => Self::Name(from.string_to_end()?),
            InfoType::DESCRIPTION => Self::Description(from.string_to_end()?),
            InfoType::BLOCK_SIZE => {
                Self::BlockSize { min: from.u32()?, preferred: from.u32()?, max: from.u32()? }
            }
            kind => return Ok(Self::Unknown { kind, payload: from.rest() }),
        };
        from.end()?;
        Ok(info)
    }

    /// The payload, without the reply's header.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.u16(self.kind().0);
        match *self {
            Self::Export { size, flags } => {
                out.u64(size);
                out.u16(flags.0);
            }
            Self::Name(text) | Self::Description(text) => out.extend_from_slice(text),
            Self::BlockSize { min, preferred, max } => {
                out.u32(min);
                out.u32(preferred);
                out.u32(max);
            }
            Self::Unknown { payload, .. } => out.extend_from_slice(payload),
        }
        out
    }

    /// The number that says which variant this is.
    #[must_use]
    pub const fn kind(&self) -> InfoType {
        match self {
            Self::Export { .. } => InfoType::EXPORT,
            Self::Name(_) => InfoType::NAME,
            Self::Description(_) => InfoType::DESCRIPTION,
            Self::BlockSize { .. } => InfoType::BLOCK_SIZE,
            Self::Unknown { kind, .. } => *kind,
        }
    }
}
