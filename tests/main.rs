//! Integration tests.

mod native;
