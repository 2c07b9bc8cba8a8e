//! Every limit in one place, each with its unit, its origin and the answer a client gets on crossing it.

use std::time::Duration;

/// What one client may ask for. A limit refuses at once and by name; it never queues and never hangs (P7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From accept to the end of haggling, absolute, whatever trickles in meanwhile. Origin: the deadline that other
    /// servers adopted after CVE-2024-7409. Answer: the connection is closed, the log says why.
    pub handshake_deadline: Duration,
    /// Options in one handshake. Origin: a real client sends fewer than ten. Answer: ERR_TOO_BIG, then closed.
    pub options_max: u32,
    /// Bytes in one option. Origin: two names of 4096 bytes (spec, "String values"). Answer: ERR_TOO_BIG, and haggling
    /// goes on, if the option is at most `option_swallow_max` long; closed otherwise.
    pub option_len_max: u32,
    /// Bytes of an over-long option that are read and thrown away to stay in step.
    pub option_swallow_max: u32,
    /// Metadata queries in one option. Answer: ERR_TOO_BIG.
    pub meta_queries_max: usize,
    /// Largest payload advertised (NBD_INFO_BLOCK_SIZE) and handled as one piece. Larger reads and writes are served
    /// in pieces of `piece_len`, so no request is refused for its length and none costs more memory than this.
    pub payload_len_max: u32,
    /// Bytes held for one connection: payloads received but not written, replies made but not sent. Crossing it delays
    /// reading the next request until replies have left; it is no error.
    pub in_flight_bytes_max: usize,
    /// Requests of one connection that wait for or are with a worker. Crossing it delays likewise.
    pub in_flight_requests_max: usize,
    /// Piece in which requests above `payload_len_max` are served.
    pub piece_len: usize,
    /// Extents in one BLOCK_STATUS reply; the rest is for the client's next request (spec, "NBD_CMD_BLOCK_STATUS").
    pub extents_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake_deadline: Duration::from_secs(10),
            options_max: 32,
            option_len_max: 8 << 10,
            option_swallow_max: 64 << 10,
            meta_queries_max: 128,
            payload_len_max: 32 << 20,
            in_flight_bytes_max: 32 << 20,
            in_flight_requests_max: 256,
            piece_len: 1 << 20,
            extents_max: 4096,
        }
    }
}
