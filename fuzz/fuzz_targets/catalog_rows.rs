//! Fuzzes the decoding of records of the catalog.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vdb::fuzz::catalog_rows(bytes));
