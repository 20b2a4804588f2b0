//! The subspace in which vectors differ most.

use std::num::NonZero;
use std::sync::Mutex;

use super::{GREATEST, Sketches};
use crate::error::Result;
use crate::metric::Metric;
use crate::storage::hold;
use crate::vector::exact::Block;
use crate::vector::kernel::{Kernel, Sum, narrow};
use crate::vector::pieces;

/// The vectors that the subspace is learned from, at most: some dozens for each dimension of it.
const SAMPLE_MAX: usize = 4096;
/// How often directions are turned towards those in which vectors differ.
const TURNS: usize = 3;
/// The directions that a thread takes at a time.
const PIECE: usize = 8;
/// So much of the variance is enough.
const ENOUGH: f64 = 0.98;
/// The number of dimensions is a multiple of this.
const STEP: usize = 16;
/// Values so many standard deviations from the mean, or further, have the least or the greatest code: with sixteen codes, the
/// error is least about there (Max, "Quantizing for minimum distortion", 1960).
const REACH: f64 = 2.7;
/// What is left of a direction that lies in those before it.
const NOTHING: f64 = 1e-6;

/// An orthonormal basis of a subspace, and how a place in it is rounded: the code `c` of a dimension stands for
/// `centre + step (c - 7.5)`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Basis {
    pub(super) dim: usize,
    pub(super) dims: usize,
    pub(super) step: f32,
    /// The centre of each dimension, then the directions, row-major `[dims, dim]`.
    pub(super) values: Vec<f32>,
}

impl Basis {
    /// Learns the subspace for the vectors of a block, as indexes have them: of as few dimensions as hold nearly all of the
    /// variance, and at most `most`.
    ///
    /// The same for the same vectors, whatever the number of threads. Cost: `3 * 4096 * most` sums and as many additions of
    /// vectors: some 0.1 s for 96 of 384.
    /// # Errors
    /// What `step` returned.
    pub(crate) fn learn(
        block: &Block<'_>,
        metric: Metric,
        most: usize,
        threads: NonZero<usize>,
        step: &(dyn Fn() -> Result<()> + Sync),
    ) -> Result<Self> {
        let sample = Sample::new(block, metric);
        let mut random = Random(1);
        let mut directions: Vec<f32> = (0..most * block.dim()).map(|_| random.next()).collect();
        orthonormalise(&mut directions, block.dim());
        for _ in 0..TURNS {
            directions = sample.turn(&directions, threads, step)?;
            orthonormalise(&mut directions, block.dim());
        }
        Ok(sample.basis(&directions, &mut random))
    }

    /// The dimensions of the subspace.
    pub(crate) fn dims(&self) -> usize {
        self.dims
    }

    /// What is stored of it besides the step.
    pub(crate) fn values(&self) -> &[f32] {
        &self.values
    }

    /// The distance between two codes.
    pub(crate) fn step(&self) -> f32 {
        self.step
    }

    /// The sketches of so many rows, made with this basis.
    pub(crate) fn sketches<'a>(&'a self, rows: usize, codes: &'a [u8], biases: &'a [f32]) -> Sketches<'a> {
        let directions = self.values.get(self.dims..).unwrap_or_default();
        Sketches { dim: self.dim, dims: self.dims, step: self.step, directions, codes, biases, count: rows }
    }

    /// The centres.
    pub(super) fn centres(&self) -> &[f32] {
        self.values.get(..self.dims).unwrap_or_default()
    }

    /// The directions, made ready to be summed with vectors.
    pub(super) fn kernels(&self) -> Vec<Kernel> {
        kernels(self.values.get(self.dims..).unwrap_or_default(), self.dim)
    }
}

fn kernels(directions: &[f32], dim: usize) -> Vec<Kernel> {
    directions.chunks_exact(dim).map(|direction| Kernel::new(Sum::Products, direction)).collect()
}

/// Some vectors of a block, evenly spread.
struct Sample<'a> {
    block: &'a Block<'a>,
    metric: Metric,
    mean: Vec<f32>,
    /// The sum of the variances of all values.
    variance: f64,
}

impl<'a> Sample<'a> {
    fn new(block: &'a Block<'a>, metric: Metric) -> Self {
        let mut sample = Sample { block, metric, mean: vec![0.0; block.dim()], variance: 0.0 };
        block.fetch(sample.positions());
        let (mut sums, mut square) = (vec![0.0_f64; block.dim()], 0.0);
        sample.each(|vector| {
            for (sum, &value) in sums.iter_mut().zip(vector) {
                *sum += f64::from(value);
                square += f64::from(value) * f64::from(value);
            }
        });
        let count = sample.count();
        let means = sums.iter().map(|sum| sum / count);
        sample.variance = square / count - means.clone().map(|mean| mean * mean).sum::<f64>();
        sample.mean = means.map(narrow).collect();
        sample
    }

    fn positions(&self) -> impl Iterator<Item = usize> + use<> {
        let rows = self.block.len();
        let count = rows.min(SAMPLE_MAX);
        (0..count).map(move |n| n * rows / count)
    }

    #[expect(clippy::cast_precision_loss, reason = "some thousand")]
    fn count(&self) -> f64 {
        self.block.len().min(SAMPLE_MAX) as f64
    }

    /// Calls `with` for each vector, less the mean.
    fn each(&self, mut with: impl FnMut(&[f32])) {
        let mut vector = vec![0.0; self.block.dim()];
        for position in self.positions() {
            self.block.indexed(self.metric, position, &mut vector);
            vector.iter_mut().zip(&self.mean).for_each(|(value, mean)| *value -= mean);
            with(&vector);
        }
    }

    /// Turns directions towards those in which the vectors differ most: each becomes the sum of the vectors, by how far they
    /// go in it.
    fn turn(
        &self,
        directions: &[f32],
        threads: NonZero<usize>,
        step: &(dyn Fn() -> Result<()> + Sync),
    ) -> Result<Vec<f32>> {
        let dim = self.block.dim();
        let all = Mutex::new(vec![0.0; directions.len()]);
        pieces::for_each(directions.len().div_ceil(PIECE * dim), threads, &|piece| {
            step()?;
            let some = directions.chunks(PIECE * dim).nth(piece).unwrap_or_default();
            let (kernels, mut sums) = (kernels(some, dim), vec![0.0_f32; some.len()]);
            self.each(|vector| {
                for (kernel, sum) in kernels.iter().zip(sums.chunks_exact_mut(dim)) {
                    let part = kernel.sum(vector);
                    sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += part * value);
                }
            });
            if let Some(place) = hold(&all).chunks_mut(PIECE * dim).nth(piece) {
                place.copy_from_slice(&sums);
            }
            Ok(())
        })?;
        Ok(all.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Chooses among directions those that hold enough of the variance, and mixes them.
    fn basis(&self, directions: &[f32], random: &mut Random) -> Basis {
        let dim = self.block.dim();
        let kernels = kernels(directions, dim);
        let mut variances = vec![0.0; kernels.len()];
        self.each(|vector| {
            for (kernel, variance) in kernels.iter().zip(&mut variances) {
                let place = f64::from(kernel.sum(vector));
                *variance += place * place / self.count();
            }
        });
        let mut order: Vec<usize> = (0..kernels.len()).collect();
        order.sort_by(|&a, &b| variances[b].total_cmp(&variances[a]));
        let (mut held, mut dims) = (0.0, 0);
        while dims < order.len() && (dims % STEP != 0 || held < ENOUGH * self.variance || dims == 0) {
            held += variances[order[dims]];
            dims += 1;
        }
        let chosen: Vec<f32> =
            order[..dims].iter().flat_map(|&n| &directions[n * dim..(n + 1) * dim]).copied().collect();
        let directions = mixed(&chosen, dim, dims, random);
        let mut centres = vec![0.0; dims];
        Kernel::new(Sum::Products, &self.mean).sums(directions.chunks_exact(dim), &mut centres);
        #[expect(clippy::cast_precision_loss, reason = "at most some hundred")]
        let deviation = (held / dims as f64).sqrt();
        let step = narrow(2.0 * REACH * deviation / f64::from(GREATEST));
        // Vectors too long for f32 have no sketches worth the name: they tell nothing, and the recall curve says so.
        let step = if step > 0.0 && step.is_finite() { step } else { 1.0 };
        Basis { dim, dims, step, values: [centres, directions].concat() }
    }
}

/// Makes each direction one long and orthogonal to those before it; one that lies in those, or is none, becomes zero.
fn orthonormalise(directions: &mut [f32], dim: usize) {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        let mut sums = [0.0_f64; 8];
        for (a, b) in a.chunks(8).zip(b.chunks(8)) {
            for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
                *sum += f64::from(*a) * f64::from(*b);
            }
        }
        sums.iter().sum()
    };
    for n in 0..directions.len() / dim {
        let (before, rest) = directions.split_at_mut(n * dim);
        let Some(direction) = rest.get_mut(..dim) else { return };
        let long = dot(direction, direction).sqrt();
        // Twice is enough: what rounding leaves of the first time goes.
        for _ in 0..2 {
            for other in before.chunks_exact(dim) {
                let part = narrow(dot(direction, other));
                direction.iter_mut().zip(other).for_each(|(value, other)| *value -= part * other);
            }
        }
        let left = dot(direction, direction).sqrt();
        let is_there = left.is_finite() && left > NOTHING * long;
        for value in direction {
            *value = if is_there { narrow(f64::from(*value) / left) } else { 0.0 };
        }
    }
}

/// Turns directions among each other at random, so that vectors differ about as much in each: all have as many bits.
fn mixed(directions: &[f32], dim: usize, dims: usize, random: &mut Random) -> Vec<f32> {
    let mut turn: Vec<f32> = (0..dims * dims).map(|_| random.next()).collect();
    orthonormalise(&mut turn, dims);
    let mut out = vec![0.0; directions.len()];
    for (to, parts) in out.chunks_exact_mut(dim).zip(turn.chunks_exact(dims)) {
        for (part, from) in parts.iter().zip(directions.chunks_exact(dim)) {
            to.iter_mut().zip(from).for_each(|(to, from)| *to += part * from);
        }
    }
    out
}

/// Numbers about as a normal distribution has them, the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        let mut sum = 0.0;
        for _ in 0..4 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            sum += f32::from(u16::try_from(self.0 >> 48).unwrap_or(0)) / 32_768.0 - 1.0;
        }
        sum
    }
}
