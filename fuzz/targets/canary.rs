//! Fails on one input that must be found. If it is not, the fuzzing is blind: flags lost, coverage not counted.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let [b'N', b'B', b'D', ..] = data {
        panic!("the canary sings");
    }
});
