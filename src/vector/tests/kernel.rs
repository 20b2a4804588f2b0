//! Tests of the sums.

#![expect(clippy::float_cmp, reason = "these results are exact")]

use fearless_simd::Level;

use super::numbers;
use crate::vector::kernel::{Kernel, Sum, all_finite, first_non_finite, inverse_norm};

const DIMS: [usize; 9] = [1, 3, 63, 64, 65, 127, 384, 1000, 3072];

fn sums(kernel: &Kernel, vectors: &[f32], dim: usize) -> Vec<f32> {
    let mut sums = vec![0.0; vectors.len() / dim];
    kernel.sums(vectors.chunks_exact(dim), &mut sums);
    sums
}

#[test]
fn the_error_is_within_the_stated_bound() {
    for dim in DIMS {
        let (query, vectors) = (numbers(1, dim), numbers(2, dim * 50));
        let lanes = u16::try_from(dim.div_ceil(64)).unwrap();
        let unit = 2.0_f64.powi(-24);
        for sum in [Sum::Products, Sum::SquaredDifferences] {
            let found = sums(&Kernel::new(sum, &query), &vectors, dim);
            for (row, found) in vectors.chunks_exact(dim).zip(found) {
                let pairs = || query.iter().zip(row).map(|(&q, &v)| (f64::from(q), f64::from(v)));
                let (exact, bound): (f64, f64) = match sum {
                    Sum::Products => (
                        pairs().map(|(q, v)| q * v).sum(),
                        f64::from(lanes + 7) * unit * pairs().map(|(q, v)| (q * v).abs()).sum::<f64>(),
                    ),
                    Sum::SquaredDifferences => {
                        let exact = pairs().map(|(q, v)| (q - v).powi(2)).sum();
                        (exact, f64::from(lanes + 9) * unit * exact)
                    }
                };
                assert!(
                    (f64::from(found) - exact).abs() <= bound,
                    "{sum:?} of {dim}: {found}, exactly {exact}"
                );
            }
        }
    }
}

#[test]
fn a_sum_depends_on_row_and_query_alone() {
    for dim in DIMS {
        let (query, vectors) = (numbers(3, dim), numbers(4, dim * 20));
        for sum in [Sum::Products, Sum::SquaredDifferences] {
            let kernel = Kernel::new(sum, &query);
            let together = sums(&kernel, &vectors, dim);
            for (i, row) in vectors.chunks_exact(dim).enumerate() {
                for shift in 0..16 {
                    let mut moved = vec![f32::NAN; shift];
                    moved.extend_from_slice(row);
                    let alone = sums(&kernel, &moved[shift..], dim);
                    assert_eq!(
                        alone[0].to_bits(),
                        together[i].to_bits(),
                        "{sum:?} of {dim}, shifted by {shift}"
                    );
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn processors_with_fused_multiply_add_agree_to_the_bit() {
    let Some(avx2) = Level::new().as_avx2() else {
        return;
    };
    for dim in DIMS {
        let (query, vectors) = (numbers(5, dim), numbers(6, dim * 20));
        for sum in [Sum::Products, Sum::SquaredDifferences] {
            let best = sums(&Kernel::new(sum, &query), &vectors, dim);
            let narrow = sums(&Kernel::with_level(Level::Avx2(avx2), sum, &query), &vectors, dim);
            assert_eq!(best, narrow, "{sum:?} of {dim}");
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn old_processors_differ_in_the_last_digits_only() {
    let sse2 = Level::new().as_sse2().expect("every x86-64 processor has it");
    let (query, vectors) = (numbers(7, 384), numbers(8, 384 * 20));
    for sum in [Sum::Products, Sum::SquaredDifferences] {
        let best = sums(&Kernel::new(sum, &query), &vectors, 384);
        let old = sums(&Kernel::with_level(Level::Sse2(sse2), sum, &query), &vectors, 384);
        for (best, old) in best.into_iter().zip(old) {
            assert!((best - old).abs() <= 2e-4, "{sum:?}: {best} and {old}");
        }
    }
}

#[test]
fn whole_numbers_are_summed_exactly() {
    let query: Vec<f32> = (0_u8..200).map(f32::from).collect();
    let row: Vec<f32> = (0_u8..200).map(|i| f32::from(i) - 100.0).collect();
    assert_eq!(sums(&Kernel::new(Sum::Products, &query), &row, 200), [656_700.0]);
    assert_eq!(sums(&Kernel::new(Sum::SquaredDifferences, &query), &row, 200), [2_000_000.0]);
}

#[test]
fn inverse_norms_hold_at_the_ends_of_f32() {
    assert_eq!(inverse_norm(&[3.0, 4.0]), 0.2);
    assert_eq!(inverse_norm(&[0.0; 5]), 0.0);
    assert_eq!(inverse_norm(&[]), 0.0);
    assert_eq!(inverse_norm(&[1e-45]), f32::MAX);
    for scale in [1e-38_f32, 1e-30, 1e-10, 1.0, 1e10, 1e30, 1e38] {
        // Twenty-five times 0.2 squared is 1.
        let found = f64::from(inverse_norm(&[0.2 * scale; 25]));
        let expected = 1.0 / f64::from(scale);
        assert!((found / expected - 1.0).abs() < 2e-6, "{scale}: {found}");
    }
    let smallest = inverse_norm(&vec![f32::MAX; 65_536]);
    assert!(smallest > 0.0 && smallest < 1.2e-41, "{smallest}");
}

#[test]
fn the_first_value_that_is_not_finite_is_named() {
    let dim = 7;
    let clean = numbers(9, dim * 100);
    assert_eq!(first_non_finite(&clean, dim), None);
    assert_eq!(first_non_finite(&[], dim), None);
    assert!(all_finite(&[f32::MAX, f32::MIN, 1e-45, -0.0]));
    for at in 0..clean.len() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut vectors = clean.clone();
            vectors[at] = bad;
            if let Some(last) = vectors.last_mut() {
                *last = f32::NAN;
            }
            assert_eq!(first_non_finite(&vectors, dim), Some((at / dim, at % dim)));
        }
    }
}
