//! What is advertised and what is admitted, from one value.

use crate::limits::Limits;
use store::{Capabilities, Geometry};
use wire::TransmissionFlags;

/// What the configuration permits on an export; the store's [`Capabilities`] decide what of it is real.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permits {
    /// Refuse every change.
    pub read_only: bool,
    /// Advertise FLUSH.
    pub flush: bool,
    /// Advertise FUA.
    pub fua: bool,
    /// Advertise TRIM.
    pub trim: bool,
    /// Say that the medium rotates.
    pub rotational: bool,
    /// Make every write durable before its reply.
    pub sync: bool,
}

/// One export as a client may see and use it: computed once when the export is opened, read by haggling (to advertise)
/// and by `admit` (to judge).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Bytes of the export.
    pub size: u64,
    /// Smallest unit for offsets and lengths.
    pub block_min: u32,
    /// Unit that works best.
    pub block_preferred: u32,
    /// Largest payload that is handled as one piece.
    pub payload_len_max: u32,
    /// Every write is durable before its reply, whether FUA was asked for or not.
    pub sync: bool,
    /// `zero` can say at once whether it is quick.
    pub fast_zero: bool,
    flags: TransmissionFlags,
}

impl Offer {
    /// What `capabilities` can do and `permits` allow.
    #[must_use]
    pub fn new(geometry: Geometry, capabilities: Capabilities, permits: Permits, limits: &Limits) -> Self {
        let writable = capabilities.write && !permits.read_only;
        let mut flags = TransmissionFlags::HAS_FLAGS
            | TransmissionFlags::SEND_WRITE_ZEROES
            | TransmissionFlags::SEND_CACHE;
        let mut add = |wanted: bool, flag: TransmissionFlags| {
            if wanted {
                flags |= flag;
            }
        };
        add(!writable, TransmissionFlags::READ_ONLY);
        add(permits.flush && capabilities.flush, TransmissionFlags::SEND_FLUSH);
        add(permits.fua && capabilities.flush, TransmissionFlags::SEND_FUA);
        add(permits.rotational, TransmissionFlags::ROTATIONAL);
        add(permits.trim && capabilities.trim, TransmissionFlags::SEND_TRIM);
        add(capabilities.fast_zero, TransmissionFlags::SEND_FAST_ZERO);
        add(capabilities.multi_conn, TransmissionFlags::CAN_MULTI_CONN);
        Self {
            size: geometry.size,
            block_min: geometry.block_min,
            block_preferred: geometry.block_preferred,
            payload_len_max: limits.payload_len_max,
            sync: permits.sync,
            fast_zero: capabilities.fast_zero,
            flags,
        }
    }

    /// The flags for one session; DF exists only with structured replies. Spec: "Transmission flags".
    #[must_use]
    pub fn transmission_flags(&self, structured: bool) -> TransmissionFlags {
        if structured { self.flags | TransmissionFlags::SEND_DF } else { self.flags }
    }

    /// Whether changes are refused.
    #[must_use]
    pub fn read_only(&self) -> bool {
        self.flags.contains(TransmissionFlags::READ_ONLY)
    }
}
