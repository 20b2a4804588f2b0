//! Tests with real processes: kills, locks, forks, readers beside a writer, disks that are full.
//!
//! Children are this test binary itself: [`child::Child`] starts it again with only [`child_process`], which plays the role
//! that an environment variable names.
#![allow(clippy::print_stdout, reason = "the numbers of a run tell how much it has shown")]

mod child;
#[cfg(feature = "cli")]
mod commands;
mod create;
mod follow;
mod fork;
mod full_disk;
#[cfg(feature = "cli")]
mod import;
mod kill;
mod kill_merge;
mod lock;
mod read_only;
mod workload;

/// What a child process does; nothing in a run of all tests.
#[test]
fn child_process() {
    let Some(role) = child::role() else { return };
    match role.as_str() {
        "write until killed" => kill::write_until_killed(),
        "compact" => kill_merge::compact(),
        "hold" => lock::hold(),
        "read" => read_only::read(),
        "follow: write" => follow::write(),
        "follow: read" => follow::read(),
        "create" => create::create(),
        "fork" => fork::fork_and_try(),
        "fill" => full_disk::fill(),
        #[cfg(feature = "cli")]
        "fill by commands" => commands::fill(),
        "count" => full_disk::count(),
        other => panic!("no such role: {other}"),
    }
    child::say("done");
}
