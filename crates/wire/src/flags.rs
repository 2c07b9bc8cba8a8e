//! All fields of single bits. Spec: "Flag fields" of the handshake phase and of the transmission phase.

flags! {
    /// What the server can do before options begin. Shape: 2 bytes, big-endian. Spec: "Handshake flags".
    HandshakeFlags(u16) {
        /// The server answers options one by one instead of hanging up.
        FIXED_NEWSTYLE = 1 << 0, "NBD_FLAG_FIXED_NEWSTYLE";
        /// The server can leave out the 124 zero bytes behind the answer to EXPORT_NAME.
        NO_ZEROES = 1 << 1, "NBD_FLAG_NO_ZEROES";
    }
}

flags! {
    /// The client's answer to the handshake flags. Shape: 4 bytes, big-endian. Spec: "Client flags".
    ///
    /// A server hangs up on a bit without a name (`flags.without(ClientFlags::ALL)`) and on one it did not offer.
    ClientFlags(u32) {
        /// The client knows about fixed newstyle.
        FIXED_NEWSTYLE = 1 << 0, "NBD_FLAG_C_FIXED_NEWSTYLE";
        /// The client wants the 124 zero bytes left out.
        NO_ZEROES = 1 << 1, "NBD_FLAG_C_NO_ZEROES";
    }
}

impl ClientFlags {
    /// Bytes on the wire.
    pub const SIZE: usize = 4;

    /// Every value has the right shape; whether its bits are acceptable is the server's judgement.
    #[must_use]
    pub const fn decode(bytes: [u8; Self::SIZE]) -> Self {
        Self(u32::from_be_bytes(bytes))
    }

    /// The bytes, big-endian.
    #[must_use]
    pub const fn encode(self) -> [u8; Self::SIZE] {
        self.0.to_be_bytes()
    }
}

flags! {
    /// What an export can do. Shape: 2 bytes, big-endian. Spec: "Transmission flags".
    TransmissionFlags(u16) {
        /// Always set.
        HAS_FLAGS = 1 << 0, "NBD_FLAG_HAS_FLAGS";
        /// Nothing can be written.
        READ_ONLY = 1 << 1, "NBD_FLAG_READ_ONLY";
        /// FLUSH is understood.
        SEND_FLUSH = 1 << 2, "NBD_FLAG_SEND_FLUSH";
        /// The flag FUA is understood.
        SEND_FUA = 1 << 3, "NBD_FLAG_SEND_FUA";
        /// A hint that seeks are slow.
        ROTATIONAL = 1 << 4, "NBD_FLAG_ROTATIONAL";
        /// TRIM is understood.
        SEND_TRIM = 1 << 5, "NBD_FLAG_SEND_TRIM";
        /// WRITE_ZEROES is understood, and its flag NO_HOLE.
        SEND_WRITE_ZEROES = 1 << 6, "NBD_FLAG_SEND_WRITE_ZEROES";
        /// The flag DF is understood; only with structured replies.
        SEND_DF = 1 << 7, "NBD_FLAG_SEND_DF";
        /// A flush or FUA on one connection holds for all of them.
        CAN_MULTI_CONN = 1 << 8, "NBD_FLAG_CAN_MULTI_CONN";
        /// RESIZE is understood (extension `RESIZE`).
        SEND_RESIZE = 1 << 9, "NBD_FLAG_SEND_RESIZE";
        /// CACHE is understood.
        SEND_CACHE = 1 << 10, "NBD_FLAG_SEND_CACHE";
        /// The flag FAST_ZERO is understood.
        SEND_FAST_ZERO = 1 << 11, "NBD_FLAG_SEND_FAST_ZERO";
        /// BLOCK_STATUS may name the contexts it asks about (extension `EXTENDED_HEADERS`).
        BLOCK_STATUS_PAYLOAD = 1 << 12, "NBD_FLAG_BLOCK_STATUS_PAYLOAD";
    }
}

flags! {
    /// Wishes that come with a request. Shape: 2 bytes, big-endian. Spec: "Command flags".
    CommandFlags(u16) {
        /// Answer only when what was written survives a power cut.
        FUA = 1 << 0, "NBD_CMD_FLAG_FUA";
        /// Zeroes stay allocated; with WRITE_ZEROES.
        NO_HOLE = 1 << 1, "NBD_CMD_FLAG_NO_HOLE";
        /// At most one content chunk; with READ.
        DF = 1 << 2, "NBD_CMD_FLAG_DF";
        /// Exactly one descriptor for each context; with BLOCK_STATUS.
        REQ_ONE = 1 << 3, "NBD_CMD_FLAG_REQ_ONE";
        /// Fail at once if zeroing is no faster than writing; with WRITE_ZEROES.
        FAST_ZERO = 1 << 4, "NBD_CMD_FLAG_FAST_ZERO";
        /// The length counts a payload, not an effect (extension `EXTENDED_HEADERS`).
        PAYLOAD_LEN = 1 << 5, "NBD_CMD_FLAG_PAYLOAD_LEN";
    }
}

flags! {
    /// Flags of a reply chunk. Shape: 2 bytes, big-endian. Spec: "Structured reply flags".
    ChunkFlags(u16) {
        /// The last chunk of its reply.
        DONE = 1 << 0, "NBD_REPLY_FLAG_DONE";
    }
}

impl ChunkFlags {
    /// [`ChunkFlags::DONE`] or no flag.
    #[must_use]
    pub const fn done(done: bool) -> Self {
        if done { Self::DONE } else { Self::NONE }
    }
}
