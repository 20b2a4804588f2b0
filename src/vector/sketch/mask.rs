//! Which rows are wanted, as bits by position.

use std::io::{self, Write};
use std::ops::Range;

use roaring::{RoaringBitmap, RoaringTreemap};

use super::WORD;
use crate::codec::to_usize;
use crate::vector::exact::Selection;
use crate::vector::rows::Rows;

/// The ids that share what is above the lowest sixteen bits of an id: a container of a bitmap, as bits.
const CONTAINER: usize = 1 << 16;
/// A container that has more ids is kept as bits.
const ARRAY_MAX: u64 = 4096;
/// Of a bitmap of more containers the one that is wanted is taken out, because to pass by all others takes longer.
const PASSED_MAX: u32 = 64;
/// Where fewer than one position in so many is wanted, ids are looked up one by one.
const SPARSE: u64 = 128;

/// Room to look ids up in.
pub(super) struct Words(Vec<u64>);

impl Words {
    /// The bytes that this and its use take.
    pub(super) const BYTES: usize = 4 * CONTAINER / 8;

    pub(super) fn new() -> Self {
        Words(vec![0; CONTAINER / WORD])
    }

    /// Takes the ids of a set that begin with `key`.
    fn load(&mut self, set: &RoaringTreemap, key: u64) {
        self.0.fill(0);
        let (high, low) = (key >> 16, u32::try_from(key & 0xffff).unwrap_or(0));
        let Some((_, bitmap)) = set.bitmaps().find(|(of, _)| u64::from(*of) == high) else { return };
        let ids = low << 16..=low << 16 | 0xffff;
        if bitmap.range_cardinality(ids.clone()) <= ARRAY_MAX {
            let (mut ids, mut some) = (bitmap.range(ids), [0; 256]);
            loop {
                let found = ids.next_many(&mut some);
                if found.is_empty() {
                    return;
                }
                for id in found {
                    let bit = usize::try_from(*id & 0xffff).unwrap_or(0);
                    self.0[bit / WORD] |= 1 << (bit % WORD);
                }
            }
        }
        // In the portable format such a container without runs is its bits. To read them there is many times as fast as to be told
        // of one id after the other.
        let mut bits = Bits::of(low, &mut self.0);
        let about = bitmap.statistics();
        let written = if about.n_run_containers == 0 && about.n_containers <= PASSED_MAX {
            bitmap.serialize_into(&mut bits)
        } else {
            let mut part = RoaringBitmap::new();
            part.insert_range(ids);
            part &= bitmap;
            part.remove_run_compression();
            part.serialize_into(&mut bits)
        };
        debug_assert!(written.is_ok() && bits.is_whole(), "{written:?}");
    }

    fn has(&self, id: u64) -> bool {
        let bit = usize::try_from(id & 0xffff).unwrap_or(0);
        self.0[bit / WORD] >> (bit % WORD) & 1 == 1
    }
}

/// Takes the bits of one container from a bitmap without runs, as that is written in the portable format, and copies nothing else.
///
/// Source: the specification of that format: a cookie, the number of containers, the key and the cardinality less one of each, where
/// each begins, and then their contents.
struct Bits<'a> {
    /// The highest bits of its ids.
    key: u32,
    words: &'a mut [u64],
    /// What comes before the contents.
    header: Vec<u8>,
    /// Where the container is, once that is known.
    place: Range<usize>,
    /// How many bytes were written.
    at: usize,
}

impl<'a> Bits<'a> {
    fn of(key: u32, words: &'a mut [u64]) -> Self {
        Bits { key, words, header: Vec::new(), place: 0..0, at: 0 }
    }

    /// Whether all bits were there.
    fn is_whole(&self) -> bool {
        !self.place.is_empty() && self.at >= self.place.end
    }

    /// The number of the format that begins at a byte of the header.
    fn number(&self, at: usize) -> Option<u32> {
        Some(u32::from_le_bytes(*self.header.get(at..)?.first_chunk()?))
    }

    /// Reads the header on. Its length is unknown before the number of containers is.
    fn read(&mut self, bytes: &[u8]) {
        self.header.extend_from_slice(bytes);
        let Some(count) = self.number(4).map(|count| to_usize(u64::from(count))) else { return };
        if !self.place.is_empty() || self.header.len() < 8 + 8 * count {
            return;
        }
        let at = (0..count).find(|at| self.number(8 + 4 * at).is_some_and(|of| of & 0xffff == self.key));
        if let Some(begin) = at.and_then(|at| self.number(8 + 4 * count + 4 * at)) {
            let begin = to_usize(u64::from(begin));
            self.place = begin..begin + CONTAINER / 8;
        }
    }
}

impl Write for Bits<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.place.is_empty() {
            self.read(bytes);
        }
        let (from, to) = (self.at.max(self.place.start), (self.at + bytes.len()).min(self.place.end));
        if from < to {
            let all: &mut [u8] = bytemuck::cast_slice_mut(self.words);
            let some = &bytes[from - self.at..to - self.at];
            all[from - self.place.start..to - self.place.start].copy_from_slice(some);
        }
        self.at += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes the bits of the positions `within`, which begin at a multiple of a word; those beyond are zero.
///
/// `mask` has as many words as they need.
pub(super) fn fill(
    mask: &mut [u64],
    words: &mut Words,
    rows: Rows<'_>,
    within: &Range<usize>,
    selection: &Selection<'_>,
) {
    match selection {
        Selection::All => mask.fill(u64::MAX),
        Selection::Only(set) => fill_from(mask, words, rows, within, set),
        Selection::Except(dead) => {
            fill_from(mask, words, rows, within, dead);
            for word in mask.iter_mut() {
                *word = !*word;
            }
        }
    }
    let rest = within.len() % WORD;
    if let (Some(last), true) = (mask.last_mut(), rest > 0) {
        *last &= (1 << rest) - 1;
    }
}

fn fill_from(
    mask: &mut [u64],
    words: &mut Words,
    rows: Rows<'_>,
    within: &Range<usize>,
    set: &RoaringTreemap,
) {
    mask.fill(0);
    if within.is_empty() {
        return;
    }
    let (first, last) = (rows.at(within.start), rows.at(within.end - 1));
    let mut put = |at: usize| mask[at / WORD] |= 1 << (at % WORD);
    if let Rows::Listed(ids) = rows {
        if set.range_cardinality(first..=last) < within.len() as u64 / SPARSE {
            rows.positions(within.clone(), set).for_each(|position| put(position - within.start));
            return;
        }
        let mut loaded = None;
        for (at, &id) in ids[within.clone()].iter().enumerate() {
            if loaded != Some(id >> 16) {
                loaded = Some(id >> 16);
                words.load(set, id >> 16);
            }
            if words.has(id) {
                put(at);
            }
        }
        return;
    }
    for key in first >> 16..=last >> 16 {
        words.load(set, key);
        shift_in(mask, &words.0, key << 16, first);
    }
}

/// Adds the bits of the ids from `id` on, a multiple of a word, to those that begin at `first`.
fn shift_in(mask: &mut [u64], words: &[u64], id: u64, first: u64) {
    let shift = id.wrapping_sub(first) % WORD as u64;
    // The words before the first bit, and the bits of one of them that come after it.
    let before = to_usize(first.saturating_sub(id) / WORD as u64);
    let words = words.get(before..).unwrap_or_default();
    let (whole, mut at) = if id < first {
        if let (Some(to), Some(word), true) = (mask.first_mut(), words.first(), shift > 0) {
            *to |= word >> (WORD as u64 - shift);
        }
        (words.get(usize::from(shift > 0)..).unwrap_or_default(), 0)
    } else {
        (words, to_usize((id - first) / WORD as u64))
    };
    for word in whole {
        let Some(to) = mask.get_mut(at) else { return };
        *to |= word << shift;
        at += 1;
        if let (Some(to), true) = (mask.get_mut(at), shift > 0) {
            *to |= word >> (WORD as u64 - shift);
        }
    }
}
