//! A workload that uses everything that writes, and the digest of a state.

use super::*;
use crate::checksum::crc32;

/// Dimension of the workload's vectors.
const DIM: usize = 16;
/// Sealing a segment takes so many bytes of vectors.
pub(super) const TAIL_BYTES: usize = 60 * 4 * DIM;

/// A text segment is written for so many bytes of texts.
pub(super) const TEXT_TAIL_BYTES: u64 = 4000;
/// A word of every text.
pub(super) const WORD: &str = "\u{b9d0}\u{bb49}\u{ce58}";

/// A small generator of pseudo-random numbers (splitmix64), so that every run does the same.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        crate::codec::to_usize(self.next()) % n
    }
}

fn document(random: &mut Random) -> Document {
    let id = random.below(150);
    let words = 1 + random.below(60);
    let vector = (0..DIM).map(|_| f32::from(u8::try_from(random.below(200)).unwrap()) - 100.5).collect();
    Document::new(format!("{WORD} ").repeat(words))
        .id(format!("doc_{id}"))
        .metadata_json(&format!("{{\"n\": {}, \"tag\": \"{words}\"}}", random.below(9)))
        .unwrap()
        .vector(vector)
}

/// One operation; commits at most once, but for merging and compaction, which change no document.
pub(super) fn operate(store: Store, random: &mut Random, reopen: &dyn Fn(Store) -> Store) -> Store {
    match random.below(100) {
        0..=54 => {
            let count = 1 + random.below(12);
            store.add((0..count).map(|_| document(random)).collect::<Vec<_>>()).unwrap();
        }
        55..=69 => {
            let ids: Vec<String> =
                (0..=random.below(8)).map(|_| format!("doc_{}", random.below(150))).collect();
            store.delete(ids).unwrap();
        }
        70..=79 => {
            let patch = Metadata::from_json(&format!("{{\"n\": {}}}", random.below(1000))).unwrap();
            match store.update_metadata(&format!("doc_{}", random.below(150)), &patch) {
                Ok(_) | Err(Error::NotFound { .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
        80..=87 => {
            let mut txn = store.write().unwrap();
            txn.add((0..30).map(|_| document(random)).collect::<Vec<_>>()).unwrap();
            drop(txn);
        }
        88..=91 => return reopen(store),
        92..=94 => drop(store.merge(&MergeLimits::default(), &Control::new()).unwrap()),
        _ => drop(store.compact(&Control::new()).unwrap()),
    }
    store
}

/// A number that two states share only if they hold the same documents, metadata and vectors.
pub(super) fn digest(store: &Store) -> Result<u32> {
    let snapshot = store.snapshot()?;
    let mut all = Vec::new();
    for document in snapshot.documents().with_vectors() {
        let document = document?;
        all.push(crc32(&[
            document.id_ref().unwrap_or_default().as_bytes(),
            document.text().unwrap_or_default().as_bytes(),
            document.metadata_ref().as_json().as_bytes(),
            bytemuck::cast_slice(document.parts()[0].vector.as_deref().unwrap_or_default()),
        ]));
        let found = snapshot.get(document.id_ref().unwrap_or_default())?;
        assert_eq!(found.as_ref().and_then(Document::text), document.text());
    }
    all.push(u32::try_from(snapshot.count()).unwrap());
    Ok(crc32(&[bytemuck::cast_slice(&all)]))
}
