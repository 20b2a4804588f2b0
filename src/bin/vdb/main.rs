//! The command `vdb`.

mod args;
mod cmd;
mod failure;
mod output;
mod progress;
mod start;

#[cfg(test)]
mod tests;

fn main() -> std::process::ExitCode {
    start::run(std::env::args_os().collect()).into()
}
