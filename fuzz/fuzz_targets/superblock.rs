//! Fuzzes the decoding of superblocks.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vdb::fuzz::superblock(bytes));
