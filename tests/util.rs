//! What several test files share: pseudo-random numbers and an embedder that needs no model.

use std::ops::Range;

use vdb::{Embedder, Embeddings, ModelIdentity, Result};

/// A small generator of pseudo-random numbers (splitmix64), so that every run does the same.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below 256.
    pub(crate) fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// A vector without zeros.
    pub(crate) fn vector(&mut self, dim: usize) -> Vec<f32> {
        (0..dim).map(|_| f32::from(u16::try_from(self.next() >> 48).unwrap()) - 32_767.5).collect()
    }
}

/// The number of letters that the [`Letters`] model reads of a text.
pub(crate) const LETTERS_MAX: usize = 40;

/// A model without weights: counts the letters `a` to `h`, and cuts texts at full stops.
pub(crate) struct Letters(ModelIdentity);

impl Letters {
    pub(crate) fn new(name: &str) -> Self {
        Letters(ModelIdentity {
            name: name.into(),
            dim: 8,
            pooling: "mean".into(),
            normalised: false,
            weights_sha256: String::new(),
            tokenizer_sha256: String::new(),
        })
    }
}

impl Embedder for Letters {
    fn identity(&self) -> &ModelIdentity {
        &self.0
    }

    fn embed(&self, texts: &[&str]) -> Result<Embeddings> {
        let mut embeddings = Embeddings::default();
        for text in texts {
            let read = || text.chars().take(LETTERS_MAX);
            for letter in 'a'..='h' {
                let count = read().filter(|&c| c == letter).count();
                embeddings.vectors.push(f32::from(u8::try_from(count).unwrap()) + 0.01);
            }
            embeddings.truncated += usize::from(text.chars().count() > LETTERS_MAX);
        }
        Ok(embeddings)
    }

    fn split(&self, text: &str) -> Vec<Range<usize>> {
        let mut start = 0;
        let mut spans = Vec::new();
        for sentence in text.split_inclusive('.') {
            spans.push(start..start + sentence.len());
            start += sentence.len();
        }
        spans
    }
}
