#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| engineio::fuzz::short_path(input));
