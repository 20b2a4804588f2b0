//! Fuzzes files whose index holds anything, under checksums that are right: opening it, planning, and searching.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vdb::fuzz::file(bytes));
