//! Whatever a client sends in transmission, with chunks: the session ends by itself, and each reply is well-formed.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut heard = fuzz::opening();
    heard.extend_from_slice(data);
    let said = fuzz::session(heard);
    let replies = fuzz::check_haggling(&said);
    assert!(replies.is_some(), "the opening leads into transmission");
    fuzz::check_chunks(replies.unwrap_or_default());
});
