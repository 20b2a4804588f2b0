//! Numbered commits whose content follows from their number, and the state that a store must be in after each.

use std::collections::BTreeMap;

use vdb::{CheckLevel, Control, Document, Metadata, Query, Result, Snapshot, Store};

use crate::util::Random;

/// Values of a vector: some two thousand vectors fill a segment.
pub(super) const DIM: usize = 1024;
/// The document that tells the number of the last commit.
const MARKER: &str = "marker";
/// Its index in a commit, which no other document has: from it follow its text and its vector.
const MARKER_INDEX: u64 = 1 << 19;

/// One change of a commit.
enum Change {
    Put { id: String, index: u64 },
    Patch { id: String },
    Delete { id: String },
}

/// The changes of the commit `number`, in order.
fn changes(number: u64) -> Vec<Change> {
    let mut random = Random(number);
    let mut all = vec![Change::Put { id: MARKER.into(), index: MARKER_INDEX }];
    if number % 20 == 5 {
        let count = 2100 + random.below(200);
        all.extend((0..count).map(|n| Change::Put { id: format!("bulk_{n}"), index: n }));
        return all;
    }
    let any = |random: &mut Random| match random.below(3) {
        0 => format!("bulk_{}", random.below(2300)),
        _ => format!("doc_{}", random.below(300)),
    };
    for index in 1..=random.below(25) {
        all.push(match random.below(10) {
            0..6 => Change::Put { id: any(&mut random), index },
            6..8 => Change::Patch { id: any(&mut random) },
            _ => Change::Delete { id: any(&mut random) },
        });
    }
    all
}

/// Where a document was put, and patched since.
#[derive(Clone, Copy, Debug)]
struct Kept {
    number: u64,
    index: u64,
    patched: Option<u64>,
}

impl Kept {
    fn document(self, id: &str) -> Document {
        let Kept { number, index, patched } = self;
        let mut random = Random(number << 20 | index);
        let words = usize::try_from(1 + random.below(40)).unwrap();
        let patch = patched.map_or(String::new(), |patched| format!(",\"patched\":{patched}"));
        Document::new(format!("말뭉치 {number}/{index} ").repeat(words))
            .id(id)
            .metadata_json(&format!("{{\"number\":{number},\"index\":{index}{patch}}}"))
            .unwrap()
            .vector(random.vector(DIM))
    }
}

/// Makes the commit `number`.
pub(super) fn commit(store: &Store, number: u64) -> Result<()> {
    let mut txn = store.write()?;
    for change in changes(number) {
        match change {
            Change::Put { id, index } => {
                txn.add([Kept { number, index, patched: None }.document(&id)])?;
            }
            Change::Patch { id } => {
                let patch = Metadata::from_json(&format!("{{\"patched\":{number}}}")).unwrap();
                match txn.update_metadata(&id, &patch) {
                    Ok(_) | Err(vdb::Error::NotFound { .. }) => {}
                    Err(other) => return Err(other),
                }
            }
            Change::Delete { id } => drop(txn.delete([id])?),
        }
    }
    txn.commit().map(drop)
}

/// The number of the last commit that a snapshot sees; 0 before the first.
pub(super) fn number_of(snapshot: &Snapshot) -> Result<u64> {
    #[derive(serde::Deserialize)]
    struct Marker {
        number: u64,
    }
    Ok(match snapshot.get(MARKER)? {
        Some(document) => document.metadata_as::<Marker>()?.number,
        None => 0,
    })
}

/// The state after some commit.
#[derive(Clone, Default)]
pub(super) struct Model {
    number: u64,
    documents: BTreeMap<String, Kept>,
}

impl Model {
    /// The state after the commit `number`.
    pub(super) fn at(number: u64) -> Self {
        let mut model = Model::default();
        model.advance(number);
        model
    }

    /// Goes on to the state after the commit `number`.
    pub(super) fn advance(&mut self, number: u64) {
        while self.number < number {
            self.number += 1;
            for change in changes(self.number) {
                match change {
                    Change::Put { id, index } => {
                        let kept = Kept { number: self.number, index, patched: None };
                        self.documents.insert(id, kept);
                    }
                    Change::Patch { id } => {
                        if let Some(kept) = self.documents.get_mut(&id) {
                            kept.patched = Some(self.number);
                        }
                    }
                    Change::Delete { id } => drop(self.documents.remove(&id)),
                }
            }
        }
    }

    /// Compares everything that a snapshot can read.
    pub(super) fn compare(&self, snapshot: &Snapshot) {
        assert_eq!(snapshot.count(), u64::try_from(self.documents.len()).unwrap());
        let mut found = 0;
        for document in snapshot.documents().with_vectors() {
            let document = document.unwrap();
            let id = document.id_ref().unwrap();
            let kept = self.documents.get(id).unwrap_or_else(|| panic!("{id} is not in {}", self.number));
            assert_eq!(document, kept.document(id), "after commit {}", self.number);
            found += 1;
        }
        assert_eq!(found, self.documents.len());
        let mut random = Random(self.number);
        if let Some((id, kept)) = self.documents.iter().nth(usize::try_from(random.below(50)).unwrap()) {
            let document = kept.document(id);
            let hits =
                snapshot.search(&Query::vector(document.parts()[0].vector.clone().unwrap()).k(3)).unwrap();
            assert_eq!((&hits[0].id, hits[0].text.as_deref()), (id, document.text()));
            assert_eq!(snapshot.get(id).unwrap().unwrap().metadata_ref(), document.metadata_ref());
        }
    }
}

/// Every byte of the store must be sound.
pub(super) fn assert_sound(store: &Store) {
    let report = store.check(CheckLevel::Deep, &Control::new()).unwrap();
    assert!(report.is_ok(), "{:#?}", report.damage);
}
