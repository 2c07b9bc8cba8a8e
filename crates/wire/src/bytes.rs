//! Reading and writing big-endian fields, with no way to read past an end.

use alloc::vec::Vec;

use crate::{Malformed, STRING_LEN_MAX};

/// Takes fields off the front of some bytes. Whatever it cannot take is an error; it never panics.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader over exactly these bytes.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Bytes not yet taken.
    #[must_use]
    pub const fn left(&self) -> usize {
        self.rest.len()
    }

    /// The next `length` bytes. Lengths on the wire are up to 64 bits wide, so this takes one as it comes.
    ///
    /// # Errors
    /// [`Malformed::Short`] when fewer are left.
    pub fn take(&mut self, length: impl Into<u64>) -> Result<&'a [u8], Malformed> {
        let wanted = length.into();
        let short = Malformed::Short { wanted, left: self.rest.len() as u64 };
        let length = usize::try_from(wanted).map_err(|_| short)?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(short)?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `length` bytes as a reader of their own, so that nothing in them can reach what follows.
    ///
    /// # Errors
    /// [`Malformed::Short`] when the declared length goes beyond the data.
    pub fn part(&mut self, length: impl Into<u64>) -> Result<Self, Malformed> {
        self.take(length).map(Self::new)
    }

    /// A string of a declared length, as bytes: whether they are text is not a question of shape.
    ///
    /// # Errors
    /// [`Malformed::Short`] as [`Reader::take`], then [`Malformed::TooLong`] above [`STRING_LEN_MAX`].
    pub fn string(&mut self, length: impl Into<u64>) -> Result<&'a [u8], Malformed> {
        let string = self.take(length)?;
        if string.len() > STRING_LEN_MAX {
            return Err(Malformed::TooLong { length: string.len() as u64, max: STRING_LEN_MAX as u64 });
        }
        Ok(string)
    }

    /// Everything that is left, as a string.
    ///
    /// # Errors
    /// [`Malformed::TooLong`] above [`STRING_LEN_MAX`].
    pub fn string_to_end(&mut self) -> Result<&'a [u8], Malformed> {
        self.string(self.rest.len() as u64)
    }

    /// Everything that is left.
    #[must_use]
    pub const fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// # Errors
    /// [`Malformed::Leftover`] unless every byte has been taken.
    pub const fn end(self) -> Result<(), Malformed> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(Malformed::Leftover { left: left as u64 }),
        }
    }

    /// # Errors
    /// [`Malformed::Short`] when fewer than two bytes are left.
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    /// # Errors
    /// [`Malformed::Short`] when fewer than four bytes are left.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    /// # Errors
    /// [`Malformed::Short`] when fewer than eight bytes are left.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    /// A magic number of 32 bits.
    ///
    /// # Errors
    /// [`Malformed::Short`], or [`Malformed::Magic`] when another number is there.
    pub fn magic(&mut self, expected: u32) -> Result<(), Malformed> {
        let found = self.u32()?;
        same_magic(u64::from(expected), u64::from(found))
    }

    /// A magic number of 64 bits.
    ///
    /// # Errors
    /// [`Malformed::Short`], or [`Malformed::Magic`] when another number is there.
    pub fn long_magic(&mut self, expected: u64) -> Result<(), Malformed> {
        let found = self.u64()?;
        same_magic(expected, found)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        match self.rest.split_first_chunk() {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(*taken)
            }
            None => Err(Malformed::Short { wanted: N as u64, left: self.rest.len() as u64 }),
        }
    }
}

/// A slice as an array of its exact size, for values of a fixed size that arrive in a buffer.
///
/// # Errors
/// [`Malformed::Short`] or [`Malformed::Leftover`].
pub fn exactly<const N: usize>(bytes: &[u8]) -> Result<&[u8; N], Malformed> {
    match bytes.split_first_chunk() {
        Some((value, rest)) => Reader::new(rest).end().map(|()| value),
        None => Err(Malformed::Short { wanted: N as u64, left: bytes.len() as u64 }),
    }
}

fn same_magic(expected: u64, found: u64) -> Result<(), Malformed> {
    if expected == found { Ok(()) } else { Err(Malformed::Magic { expected, found }) }
}

/// Fills an array of a fixed size field by field. Forgetting or repeating a field is our own mistake: a panic.
#[derive(Debug)]
pub(crate) struct Writer<const N: usize> {
    bytes: [u8; N],
    filled: usize,
}

impl<const N: usize> Writer<N> {
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; N], filled: 0 }
    }

    pub(crate) fn u16(self, value: u16) -> Self {
        self.put(&value.to_be_bytes())
    }

    pub(crate) fn u32(self, value: u32) -> Self {
        self.put(&value.to_be_bytes())
    }

    pub(crate) fn u64(self, value: u64) -> Self {
        self.put(&value.to_be_bytes())
    }

    pub(crate) fn put(mut self, field: &[u8]) -> Self {
        let end = self.filled + field.len();
        self.bytes[self.filled..end].copy_from_slice(field);
        self.filled = end;
        self
    }

    pub(crate) fn end(self) -> [u8; N] {
        assert_eq!(self.filled, N, "a value of {N} bytes was written as {} bytes", self.filled);
        self.bytes
    }
}

/// Appends big-endian fields to a buffer.
pub(crate) trait Append {
    fn u16(&mut self, value: u16);
    fn u32(&mut self, value: u32);
    fn u64(&mut self, value: u64);
}

impl Append for Vec<u8> {
    fn u16(&mut self, value: u16) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_be_bytes());
    }
}

/// The length of something we are about to send. What does not fit was never bounded by its maker: a panic.
pub(crate) fn length_u32(length: usize) -> u32 {
    u32::try_from(length).expect("a message part above 4 GiB is cut up before it is encoded")
}

/// The start of a text that is a valid string on the wire: no NUL, not above the limit, cut between characters.
pub(crate) fn sendable(text: &str) -> &str {
    let text = text.split('\0').next().unwrap_or_default();
    &text[..text.floor_char_boundary(STRING_LEN_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::vec;

    #[test]
    fn a_declared_length_beyond_the_data_is_short_however_long() {
        for declared in [4_u64, 0xffff_fff0, 0xffff_ffff, u64::MAX - 1, u64::MAX] {
            let mut from = Reader::new(&[1, 2, 3]);
            assert_eq!(from.take(declared), Err(Malformed::Short { wanted: declared, left: 3 }));
            assert_eq!(from.left(), 3, "a failed take takes nothing");
        }
    }

    #[test]
    fn a_part_ends_where_its_declared_length_ends() {
        let mut from = Reader::new(&[0, 1, 2, 3, 4, 5]);
        let mut part = from.part(2_u32).unwrap();
        assert_eq!(part.u32(), Err(Malformed::Short { wanted: 4, left: 2 }));
        assert_eq!(part.u16(), Ok(1));
        assert_eq!(part.end(), Ok(()));
        assert_eq!(from.end(), Err(Malformed::Leftover { left: 4 }));
        assert_eq!(from.u32(), Ok(0x0203_0405));
    }

    #[test]
    fn a_string_has_the_specs_limit_and_not_a_byte_more() {
        let longest = vec![b'a'; STRING_LEN_MAX];
        assert_eq!(Reader::new(&longest).string_to_end(), Ok(&longest[..]));
        let longer = vec![b'a'; STRING_LEN_MAX + 1];
        assert_eq!(Reader::new(&longer).string_to_end(), Err(Malformed::TooLong { length: 4097, max: 4096 }));
    }

    #[test]
    fn a_slice_of_another_size_is_not_a_value_of_fixed_size() {
        assert_eq!(exactly::<2>(&[1, 2]), Ok(&[1, 2]));
        assert_eq!(exactly::<2>(&[1]), Err(Malformed::Short { wanted: 2, left: 1 }));
        assert_eq!(exactly::<2>(&[1, 2, 3]), Err(Malformed::Leftover { left: 1 }));
    }

    #[test]
    fn a_text_is_cut_between_characters_and_before_a_nul() {
        assert_eq!(sendable("disk\0gone"), "disk");
        let mut text = String::from("x");
        while text.len() < STRING_LEN_MAX + 10 {
            text.push('é');
        }
        assert_eq!(sendable(&text).len(), STRING_LEN_MAX - 1);
    }

    #[test]
    #[should_panic(expected = "a value of 4 bytes was written as 2 bytes")]
    fn a_forgotten_field_is_a_panic_and_not_a_zero_on_the_wire() {
        let _ = Writer::<4>::new().u16(7).end();
    }
}
