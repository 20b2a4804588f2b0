//! Fuzzes indexes whose sections hold anything: their checks, and the search of what these let pass.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vdb::fuzz::index(bytes));
