#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| engineio::fuzz::payload_v3(input));
