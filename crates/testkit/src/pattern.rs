//! Patterns that say of every block whose it is: which volume, which block, which round of writing.
//!
//! A wrong byte is then not only noticed but named: "block 7 of volume 2 holds block 7 of volume 1, round 4".

/// Bytes at the start of each block that tell its origin.
const TAG: usize = 24;

/// Fills a block. Blocks of any length of at least 32 bytes can be told apart later.
pub fn fill(volume: u64, block: u64, round: u64, buf: &mut [u8]) {
    let mut state = mix(mix(mix(volume) ^ block) ^ round);
    for word in buf.chunks_mut(8) {
        state = mix(state);
        word.copy_from_slice(&state.to_le_bytes()[..word.len()]);
    }
    if buf.len() >= TAG + 8 {
        for (slot, value) in buf.chunks_mut(8).zip([volume, block, round]) {
            slot.copy_from_slice(&value.to_le_bytes());
        }
    }
}

/// A filled block of its own.
pub fn block(volume: u64, block: u64, round: u64, len: usize) -> Vec<u8> {
    let mut buf = vec![0; len];
    fill(volume, block, round, &mut buf);
    buf
}

/// Compares a block with what [`fill`] made.
///
/// # Errors
/// A sentence that names the first wrong byte and, if it can be told, whose block is there instead.
pub fn verify(volume: u64, block: u64, round: u64, buf: &[u8]) -> Result<(), String> {
    let wanted = self::block(volume, block, round, buf.len());
    let Some(at) = wanted.iter().zip(buf).position(|(wanted, got)| wanted != got) else { return Ok(()) };
    let instead = match identify(buf) {
        Some((volume, block, round)) => format!("it holds volume {volume} block {block} round {round}"),
        None if buf.iter().all(|byte| *byte == 0) => "it holds zeros".to_owned(),
        None => "it holds something unknown or torn".to_owned(),
    };
    Err(format!("volume {volume} block {block} round {round}: byte {at} is wrong; {instead}"))
}

/// Whose block this is: volume, block, round. `None` where it is not, wholly, one of ours.
pub fn identify(buf: &[u8]) -> Option<(u64, u64, u64)> {
    if buf.len() < TAG + 8 {
        return None;
    }
    let value =
        |n: usize| buf[n * 8..n * 8 + 8].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let (volume, block, round) = (value(0), value(1), value(2));
    (self::block(volume, block, round, buf.len()) == buf).then_some((volume, block, round))
}

/// A cheap checksum of some bytes; for comparing copies, not for security.
pub fn checksum(bytes: &[u8]) -> u64 {
    let mut words = bytes.chunks_exact(8);
    let sum = words.by_ref().fold(mix(bytes.len() as u64), |sum, word| mix(sum ^ little(word)));
    mix(sum ^ little(words.remainder()))
}

/// The next number after `state`: a small random generator for tests that log their seed.
pub fn mix(state: u64) -> u64 {
    let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

fn little(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_says_whose_it_is() {
        let block = block(2, 7, 4, 4096);
        assert_eq!(identify(&block), Some((2, 7, 4)));
        assert_eq!(verify(2, 7, 4, &block), Ok(()));
        let wrong = verify(1, 7, 4, &block).unwrap_err();
        assert!(wrong.ends_with("it holds volume 2 block 7 round 4"), "{wrong}");
    }

    #[test]
    fn a_torn_block_belongs_to_nobody() {
        let mut torn = block(2, 7, 4, 4096);
        torn[4095] ^= 1;
        assert_eq!(identify(&torn), None);
        assert!(verify(2, 7, 4, &torn).unwrap_err().contains("byte 4095"));
        assert!(verify(2, 7, 4, &[0; 4096]).unwrap_err().contains("zeros"));
    }

    #[test]
    fn a_checksum_sees_order_length_and_the_last_odd_byte() {
        let sums = [&b"abcdefgh12345678"[..], b"12345678abcdefgh", b"abcdefgh1234567", b"abcdefgh1234567\0"];
        let sums: std::collections::HashSet<u64> = sums.into_iter().map(checksum).collect();
        assert_eq!(sums.len(), 4);
    }
}
