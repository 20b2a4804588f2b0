//! Where the structures of a file lie, as `docs/format.md` has them.

use std::ops::Range;

pub(super) const PAGE: usize = 4096;
/// The writer notice, then two pages of zeros.
pub(super) const UNUSED: Range<usize> = PAGE..4 * PAGE;
const SLOTS: [usize; 2] = [4 * PAGE, 20 * PAGE];
const SLOT_LEN: usize = 16 * PAGE;
/// The end of the head.
pub(super) const DATA_OFFSET: usize = 36 * PAGE;
const GENERATION_OFFSET: usize = 8;
const EXTENT_COUNT_OFFSET: usize = 72;
const EXTENTS_OFFSET: usize = 80;
const EXTENT_LEN: usize = 12;
/// The stream page from which on there are checksums.
const SUMS_BASE: u32 = 1 << 31;
/// The stream page at which the log begins.
const LOG_BASE: u32 = 3 << 30;
/// Where the log says how far it goes.
const PUBLISHED_OFFSET: usize = 16;

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn generation(bytes: &[u8], slot: usize) -> u64 {
    let at = slot + GENERATION_OFFSET;
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// The superblock slot in force, then the other.
pub(super) fn slots(bytes: &[u8]) -> [Range<usize>; 2] {
    let [a, b] = SLOTS.map(|slot| slot..slot + SLOT_LEN);
    if generation(bytes, a.start) > generation(bytes, b.start) { [a, b] } else { [b, a] }
}

/// The extents of a slot: stream page, place in the file, length.
fn extents(bytes: &[u8], slot: usize) -> Vec<(u32, usize, usize)> {
    let count = usize::try_from(number(bytes, slot + EXTENT_COUNT_OFFSET)).unwrap();
    let extent = |n: usize| {
        let at = slot + EXTENTS_OFFSET + n * EXTENT_LEN;
        let pages = |at: usize| PAGE * usize::try_from(number(bytes, at)).unwrap();
        (number(bytes, at), pages(at + 4), pages(at + 8))
    };
    (0..count).map(extent).collect()
}

/// The log: what is in use of it, and what is not.
pub(super) fn log(bytes: &[u8]) -> [Range<usize>; 2] {
    let extents = extents(bytes, slots(bytes)[0].start);
    let (_, start, len) = *extents.iter().find(|&&(logical, ..)| logical == LOG_BASE).unwrap();
    let published = usize::try_from(number(bytes, start + PUBLISHED_OFFSET)).unwrap();
    let used = start..start + published.next_multiple_of(PAGE);
    [used.clone(), used.end..start + len]
}

/// The bytes of which each is worth a case of its own.
pub(super) fn dense(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut ranges = vec![0..48, PAGE - 4..PAGE, PAGE..PAGE + 320];
    for slot in SLOTS {
        let used = EXTENTS_OFFSET + EXTENT_LEN * extents(bytes, slot).len();
        ranges.push(slot..slot + used);
        ranges.push(slot + SLOT_LEN - 4..slot + SLOT_LEN);
    }
    for (logical, start, len) in extents(bytes, slots(bytes)[0].start) {
        if logical == 0 {
            // redb's header, in its sector, and the first page after it.
            ranges.push(start..start + 512);
            ranges.push(start + PAGE..start + 2 * PAGE);
        } else if logical == LOG_BASE {
            // The head of the log, and of its first record, with the row that it begins with.
            ranges.push(start..start + 32);
            ranges.push(start + PAGE..start + PAGE + 64);
        } else if logical >= SUMS_BASE {
            ranges.push(start..start + PAGE.min(len));
        }
    }
    ranges
}
