//! The command `vdb`.

mod args;
mod ask;
mod change;
mod choice;
mod cmd;
mod destination;
mod failure;
mod given;
mod hits;
mod later;
mod lines;
mod making;
mod merging;
mod model;
mod open;
mod output;
mod progress;
mod resident;
mod shown;
mod source;
mod start;
mod stores;

#[cfg(test)]
mod tests;

fn main() -> std::process::ExitCode {
    start::run(&std::env::args_os().collect::<Vec<_>>()).into()
}
