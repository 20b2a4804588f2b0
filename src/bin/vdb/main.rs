//! The command `vdb`.
fn main() {}
