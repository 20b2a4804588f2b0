//! Tests of the vector engine against oracles in f64 and in whole numbers.

mod exact;
mod kernel;
mod outline;
mod topk;

/// Numbers in `[-1, 1)`, the same at every run.
pub(in crate::vector) fn numbers(seed: u32, n: usize) -> Vec<f32> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from(u16::try_from(state >> 16).unwrap()) / 32_768.0 - 1.0
    };
    std::iter::repeat_with(next).take(n).collect()
}
