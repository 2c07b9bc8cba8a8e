//! The one error of this crate: the peer's bytes do not have the shape that the specification gives them.

use core::fmt;

/// Why some bytes are not the value they were taken for. All lengths are in bytes.
///
/// In a header this means that the stream is out of step and the session is over. In the data of an option it
/// concerns that option alone, because the option's header has told where the next one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Another magic number stands where one is fixed. Magics of 32 bits are shown in the low half.
    Magic {
        /// The number the specification puts there.
        expected: u64,
        /// The number that was there.
        found: u64,
    },
    /// A field, or a part whose length was declared, goes beyond the end of the data.
    Short {
        /// Bytes that the field or the declared length asks for.
        wanted: u64,
        /// Bytes that were left.
        left: u64,
    },
    /// The value ends before its data does.
    Leftover {
        /// Bytes behind the end of the value.
        left: u64,
    },
    /// A string above the limit of the specification ([`crate::STRING_LEN_MAX`]).
    TooLong {
        /// Bytes in the string.
        length: u64,
        /// Bytes allowed.
        max: u64,
    },
    /// A field is zero that the specification demands to be non-zero.
    Zero {
        /// The field, in the words of the specification.
        field: &'static str,
    },
}

impl fmt::Display for Malformed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Magic { expected, found } => {
                write!(out, "magic number {found:#x} instead of {expected:#x}")
            }
            Self::Short { wanted, left } => write!(out, "{wanted} bytes wanted where {left} are left"),
            Self::Leftover { left } => write!(out, "{left} bytes too many"),
            Self::TooLong { length, max } => {
                write!(out, "a string of {length} bytes where {max} are allowed")
            }
            Self::Zero { field } => write!(out, "the {field} is zero"),
        }
    }
}

impl core::error::Error for Malformed {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn each_reason_reads_as_a_sentence_part() {
        let said = |reason: Malformed| reason.to_string();
        assert_eq!(
            said(Malformed::Magic { expected: 0x10, found: 0x20 }),
            "magic number 0x20 instead of 0x10"
        );
        assert_eq!(said(Malformed::Short { wanted: 4, left: 3 }), "4 bytes wanted where 3 are left");
        assert_eq!(said(Malformed::Leftover { left: 2 }), "2 bytes too many");
        assert_eq!(
            said(Malformed::TooLong { length: 5000, max: 4096 }),
            "a string of 5000 bytes where 4096 are allowed"
        );
        assert_eq!(said(Malformed::Zero { field: "error" }), "the error is zero");
    }
}
