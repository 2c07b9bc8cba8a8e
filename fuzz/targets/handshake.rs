//! Whatever a client sends from its flags on: the session ends by itself, and all it said is well-formed.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let said = fuzz::session(data.to_vec());
    fuzz::check_haggling(&said);
});
