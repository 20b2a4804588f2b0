//! Fuzzes indexes of codes whose sections hold anything: their checks, and the scan of what these let pass.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vdb::fuzz::codes(bytes));
