//! Tells whether this processor can run the code that FAISS was compiled to.

use crate::error::{Error, Result};

/// Ends the process with a message and status 1 if [`require_cpu`] fails. For use before `main`: see `ffi::CPU_GUARD`.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(super) extern "C" fn exit_if_unfit() {
    use std::io::Write as _;

    if let Err(error) = require_cpu() {
        // Without a standard error there is nobody to tell.
        let _ = writeln!(std::io::stderr(), "error: {error}");
        std::process::exit(1);
    }
}

/// Checks that the processor has every instruction set of the flags in `.cargo/config.toml`.
///
/// Cost: none after the first call; the standard library keeps what it detected.
/// # Errors
/// `Unavailable` naming the missing instruction sets.
pub(super) fn require_cpu() -> Result<()> {
    require(&detected())
}

/// The instruction sets that FAISS is compiled for, each with whether this processor has it.
#[cfg(target_arch = "x86_64")]
fn detected() -> [(&'static str, bool); 4] {
    [
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("f16c", is_x86_feature_detected!("f16c")),
        ("popcnt", is_x86_feature_detected!("popcnt")),
    ]
}

/// Elsewhere FAISS is compiled for the architecture's baseline.
#[cfg(not(target_arch = "x86_64"))]
fn detected() -> [(&'static str, bool); 0] {
    []
}

fn require(features: &[(&'static str, bool)]) -> Result<()> {
    let missing: Vec<&str> = features.iter().filter(|(_, present)| !present).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::Unavailable {
        feature: "vector search",
        reason: format!("this processor lacks {}, which FAISS was compiled to use", missing.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_missing_instruction_set_is_named() {
        let error = require(&[("avx2", false), ("fma", true), ("f16c", false)]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "vector search is not available: this processor lacks avx2, f16c, which FAISS was compiled to use"
        );
    }

    #[test]
    fn a_complete_processor_passes() {
        assert!(require(&[("avx2", true), ("fma", true)]).is_ok());
        assert!(require(&[]).is_ok());
    }
}
