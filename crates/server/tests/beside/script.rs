//! A row of requests: reads at the edges, writes and what they leave, everything that must be refused.

use crate::facts::digest;
use testkit::spec::*;
use testkit::{Answer, Client};

type Ask = (&'static str, u16, u16, u64, u32, Vec<u8>);

/// The same requests for every export; they are named, so that answers compare where sizes differ. What only one server
/// knows (FAST_ZERO) changes nothing that is not so already.
fn requests(size: u64) -> Vec<Ask> {
    let piece = size.min(4096) as u32;
    let little = size.min(100) as u32;
    let bytes =
        |len: u32, seed: u8| (0..len).map(|at| (at as u8).wrapping_mul(31) ^ seed).collect::<Vec<u8>>();
    let ask = |what, command, offset, len| (what, 0, command, offset, len, Vec::new());
    let put = |what, flags, offset, data: Vec<u8>| (what, flags, CMD_WRITE, offset, data.len() as u32, data);
    let mut asks = vec![
        ask("01 read the first piece", CMD_READ, 0, piece),
        ask("02 read the last bytes", CMD_READ, size - u64::from(little), little),
        ask("03 read over the end", CMD_READ, size.saturating_sub(1), 2),
        ask("04 read behind the end", CMD_READ, size, 1),
        ask("05 read nothing at the end", CMD_READ, size, 0),
        ask("06 read at 2^63", CMD_READ, 1 << 63, 1),
        ask("07 read that wraps", CMD_READ, u64::MAX, 512),
        put("10 write the first piece", 0, 0, bytes(piece, 1)),
        ask("11 read it back", CMD_READ, 0, piece),
        put("12 write the last bytes with FUA", CMD_FLAG_FUA, size - u64::from(little), bytes(little, 2)),
        ask("13 read them back", CMD_READ, size - u64::from(little), little),
        put("14 write with NO_HOLE", CMD_FLAG_NO_HOLE, 0, bytes(little, 3)),
        put("15 write over the end", 0, size.saturating_sub(1), bytes(2, 4)),
        put("16 write nothing", 0, 0, Vec::new()),
        put("17 write with an unknown flag", 1 << 9, 0, bytes(little, 5)),
        ask("18 read after it", CMD_READ, 0, little),
    ];
    if size >= 32768 {
        asks.extend([
            ask("20 trim a page", CMD_TRIM, 8192, 4096),
            ask("21 read around it", CMD_READ, 8000, 5000),
            ask("22 zero across pages", CMD_WRITE_ZEROES, 12_100, 5000),
            ask("23 read around them", CMD_READ, 12_000, 6000),
            ("24 zero with NO_HOLE and FUA", 3, CMD_WRITE_ZEROES, 20_480, 4096, Vec::new()),
            ask("25 read around them", CMD_READ, 20_000, 6000),
            ("26 zero fast", CMD_FLAG_FAST_ZERO, CMD_WRITE_ZEROES, 12_288, 512, Vec::new()),
            put("27 write across pages", 0, 8190, bytes(10, 6)),
            ask("28 read across pages", CMD_READ, 4096, 8192),
        ]);
    }
    asks.extend([
        ask("30 trim over the end", CMD_TRIM, size, 1),
        ask("31 zero over the end", CMD_WRITE_ZEROES, size, 1),
        ask("32 flush", CMD_FLUSH, 0, 0),
        ("33 flush with FUA and a range", CMD_FLAG_FUA, CMD_FLUSH, 512, 512, Vec::new()),
        ask("34 cache", CMD_CACHE, 0, little),
        ask("35 block status", CMD_BLOCK_STATUS, 0, little),
        ask("36 resize", CMD_RESIZE, 0, 0),
        ask("37 an unknown command", 9, 0, 0),
        ask("38 the last command", 0xffff, 0, 0),
        ("39 read with DF", CMD_FLAG_DF, CMD_READ, 0, little, Vec::new()),
        ("40 leave with a flag", 1 << 3, CMD_DISC, 0, 0, Vec::new()),
        ask("41 read all", CMD_READ, 0, size.min(1 << 20) as u32),
    ]);
    asks
}

/// Sends them one after the other. Ends early where the connection does.
pub fn run(client: &mut Client, size: u64) -> Vec<(&'static str, String)> {
    let mut answers = Vec::new();
    // Nothing is known of a size that is none.
    if size == u64::MAX {
        return answers;
    }
    for (what, flags, command, offset, len, data) in requests(size) {
        let answer = client.transact(flags, command, offset, len, &data);
        let over = answer.is_err();
        answers.push((what, said(command, answer)));
        if over {
            break;
        }
    }
    answers
}

fn said(command: u16, answer: std::io::Result<Answer>) -> String {
    match answer {
        Ok(answer) if answer.error != 0 => format!("error {}", answer.error),
        Ok(answer) if command == CMD_READ => digest(&answer.data),
        Ok(_) => "done".into(),
        Err(error) => match error.kind() {
            std::io::ErrorKind::InvalidData => format!("broken: {error}"),
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => "no answer".into(),
            _ => "closed".into(),
        },
    }
}
