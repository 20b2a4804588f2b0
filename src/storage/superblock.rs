//! The superblock: which pages of the file make up redb's stream, at one generation.

use uuid::Uuid;

use super::layout::SUPERBLOCK_LEN;
use crate::checksum::crc32;
use crate::codec::{Reader, to_u64, u32_at};
use crate::error::{Error, Result};

const MAGIC: [u8; 8] = *b"vdbsuper";
pub(crate) const GENERATION_OFFSET: usize = MAGIC.len();
const UUID_OFFSET: usize = GENERATION_OFFSET + size_of::<u64>();
const STREAM_LEN_OFFSET: usize = UUID_OFFSET + size_of::<Uuid>();
const TXN_FLOOR_OFFSET: usize = STREAM_LEN_OFFSET + size_of::<u64>();
const FEATURES_OFFSET: usize = TXN_FLOOR_OFFSET + size_of::<u64>();
const EXTENT_COUNT_OFFSET: usize = FEATURES_OFFSET + 3 * size_of::<u64>();
const EXTENTS_OFFSET: usize = EXTENT_COUNT_OFFSET + 2 * size_of::<u32>();
const EXTENT_LEN: usize = 3 * size_of::<u32>();
const CRC_OFFSET: usize = SUPERBLOCK_LEN - size_of::<u32>();

/// The most extents that fit into a slot.
pub(crate) const EXTENTS_MAX: usize = (CRC_OFFSET - EXTENTS_OFFSET) / EXTENT_LEN;

/// A run of stream pages: `pages` pages from `logical` on lie at `physical` and after. Units: pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The first page in the stream.
    pub(crate) logical: u32,
    /// The first page in the file.
    pub(crate) physical: u32,
    /// How many.
    pub(crate) pages: u32,
}

/// What a file uses that not every version knows; a bit is set when the feature is first used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Features {
    /// May be ignored.
    pub(crate) compatible: u64,
    /// Unknown: may be read, not written.
    pub(crate) read_only_compatible: u64,
    /// Unknown: must not be opened.
    pub(crate) incompatible: u64,
}

impl Features {
    /// There is a write-ahead log, whose rows lie over those of redb.
    pub(crate) const WAL: u64 = 1;
    /// The features that this version knows.
    pub(crate) const KNOWN: Features =
        Features { compatible: 0, read_only_compatible: 0, incompatible: Features::WAL };

    /// Refuses what must not be opened; `Ok(true)` when the file may be written, too.
    pub(crate) fn writable(&self) -> Result<bool> {
        let unknown = self.incompatible & !Self::KNOWN.incompatible;
        if unknown != 0 {
            let (oldest, newest) = (super::FORMAT_OLDEST, super::FORMAT_NEWEST);
            return Err(Error::Version {
                found: format!("with unknown features {unknown:#x}"),
                oldest,
                newest,
            });
        }
        Ok(self.read_only_compatible & !Self::KNOWN.read_only_compatible == 0)
    }
}

/// One superblock, decoded and whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Superblock {
    /// Rises by one with every superblock written.
    pub(crate) generation: u64,
    /// The file's uuid, as in the preamble.
    pub(crate) uuid: Uuid,
    /// The length of the stream in bytes.
    pub(crate) stream_len: u64,
    /// A redb transaction that was durable when this was written.
    pub(crate) txn_floor: u64,
    /// The feature words.
    pub(crate) features: Features,
    /// Ascending by `logical`, disjoint.
    pub(crate) extents: Vec<Extent>,
}

impl Superblock {
    /// The slot as stored.
    ///
    /// # Errors
    /// `Limit` when the extents do not fit.
    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        let (found, max) = (to_u64(self.extents.len()), to_u64(EXTENTS_MAX));
        if found > max {
            return Err(Error::Limit { what: "number of stream extents".into(), found, max });
        }
        let mut out = Vec::with_capacity(SUPERBLOCK_LEN);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(self.uuid.as_bytes());
        out.extend_from_slice(&self.stream_len.to_le_bytes());
        out.extend_from_slice(&self.txn_floor.to_le_bytes());
        for word in [self.features.compatible, self.features.read_only_compatible, self.features.incompatible]
        {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&u32::try_from(found).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(&0_u32.to_le_bytes());
        for extent in &self.extents {
            for number in [extent.logical, extent.physical, extent.pages] {
                out.extend_from_slice(&number.to_le_bytes());
            }
        }
        out.resize(CRC_OFFSET, 0);
        let crc = crc32(&[&out]);
        out.extend_from_slice(&crc.to_le_bytes());
        Ok(out)
    }

    /// Reads a slot; any byte that differs from what was written is an error.
    pub(crate) fn decode(slot: &[u8]) -> Result<Self> {
        let stored = u32_at(slot, CRC_OFFSET).filter(|_| slot.len() == SUPERBLOCK_LEN).ok_or_else(|| {
            let detail = format!("{SUPERBLOCK_LEN} bytes expected, {} found", slot.len());
            Error::corrupt("superblock", 0, detail)
        })?;
        let computed = crc32(&[slot.get(..CRC_OFFSET).unwrap_or_default()]);
        if stored != computed {
            let detail = format!("checksum {stored:#010x} expected, {computed:#010x} found");
            return Err(Error::corrupt("superblock", to_u64(CRC_OFFSET), detail));
        }
        let mut reader = Reader::new("superblock", slot);
        if reader.array::<8>()? != MAGIC {
            return Err(Error::corrupt("superblock", 0, "magic bytes differ"));
        }
        let generation = reader.u64()?;
        let uuid = Uuid::from_bytes(reader.array()?);
        let (stream_len, txn_floor) = (reader.u64()?, reader.u64()?);
        let features = Features {
            compatible: reader.u64()?,
            read_only_compatible: reader.u64()?,
            incompatible: reader.u64()?,
        };
        let count = crate::codec::to_usize(u64::from(reader.u32()?));
        reader.u32()?;
        if count > EXTENTS_MAX {
            let detail = format!("at most {EXTENTS_MAX} extents fit, {count} found");
            return Err(Error::corrupt("superblock", to_u64(EXTENT_COUNT_OFFSET), detail));
        }
        let mut extents = Vec::with_capacity(count);
        for _ in 0..count {
            extents.push(Extent { logical: reader.u32()?, physical: reader.u32()?, pages: reader.u32()? });
        }
        Ok(Superblock { generation, uuid, stream_len, txn_floor, features, extents })
    }
}

/// Decodes `bytes` as they are, and as a slot whose checksum is right; neither may panic, and what decodes is what is
/// encoded again.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz_superblock(bytes: &[u8]) {
    let _ = Superblock::decode(bytes);
    let mut slot = [&MAGIC, bytes].concat();
    slot.resize(CRC_OFFSET, 0);
    let crc = crc32(&[&slot]);
    slot.extend_from_slice(&crc.to_le_bytes());
    let Ok(block) = Superblock::decode(&slot) else { return };
    let again = block.encode().and_then(|slot| Superblock::decode(&slot));
    assert_eq!(again.ok().as_ref(), Some(&block));
    let _ = block.features.writable();
    let Ok(map) = super::pages::StreamMap::from_superblock(&block) else { return };
    // Every page that the map finds lies in one of its runs, and a new extent meets no other.
    let (runs, stream) = (map.runs(), map.extents());
    for page in stream.iter().flat_map(|e| [u64::from(e.logical), u64::from(e.logical) + u64::from(e.pages)])
    {
        if let super::pages::Place::Mapped { physical, left } = map.find(page) {
            assert!(runs.iter().any(|run| run.start <= physical && physical + left == run.end()));
        } else if page < 2 * super::pages::SUMS_BASE {
            let window = map.window(page);
            assert!(window.start <= page && page < window.end(), "{window:?} for page {page}");
            let mut larger = map.clone();
            larger.insert(
                window.start,
                super::extents::Run { start: u64::from(u32::MAX), pages: window.pages },
            );
            assert!(matches!(larger.find(page), super::pages::Place::Mapped { .. }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bytes_make_decoding_panic() {
        let mut slot = sample().encode().unwrap();
        fuzz_superblock(&slot[MAGIC.len()..]);
        for at in 0..EXTENTS_OFFSET + 20 * EXTENT_LEN {
            slot[at] ^= 0xff;
            fuzz_superblock(&slot[MAGIC.len()..]);
            fuzz_superblock(&slot[MAGIC.len()..at.max(MAGIC.len())]);
        }
    }

    fn sample() -> Superblock {
        Superblock {
            generation: 7,
            uuid: Uuid::new_v4(),
            stream_len: 9 << 20,
            txn_floor: 3,
            features: Features { compatible: 1, read_only_compatible: 0, incompatible: 0 },
            extents: (0..50).map(|i| Extent { logical: i * 16, physical: 36 + i * 20, pages: 16 }).collect(),
        }
    }

    #[test]
    fn survives_and_every_flip_is_seen() {
        let slot = sample().encode().unwrap();
        assert_eq!(slot.len(), SUPERBLOCK_LEN);
        assert_eq!(Superblock::decode(&slot).unwrap(), sample_with_uuid(&slot));
        for at in (0..slot.len()).step_by(17).chain(0..800) {
            let mut bad = slot.clone();
            bad[at] ^= 1;
            assert!(Superblock::decode(&bad).is_err(), "flip at {at}");
        }
    }

    fn sample_with_uuid(slot: &[u8]) -> Superblock {
        let uuid = Uuid::from_slice(&slot[UUID_OFFSET..STREAM_LEN_OFFSET]).unwrap();
        Superblock { uuid, ..sample() }
    }

    #[test]
    fn too_many_extents_are_refused_before_a_slot_overflows() {
        let extent = Extent { logical: 0, physical: 36, pages: 1 };
        let mut block = Superblock { extents: vec![extent; EXTENTS_MAX], ..sample() };
        assert_eq!(block.encode().unwrap().len(), SUPERBLOCK_LEN);
        block.extents.push(extent);
        assert!(matches!(block.encode(), Err(Error::Limit { .. })));
    }

    #[test]
    fn unknown_features_decide_what_may_be_done() {
        let none = Features::default();
        assert!(none.writable().unwrap());
        assert!(Features { compatible: 1 << 40, ..none }.writable().unwrap());
        assert!(!Features { read_only_compatible: 1 << 40, ..none }.writable().unwrap());
        assert!(matches!(Features { incompatible: 2, ..none }.writable(), Err(Error::Version { .. })));
    }
}
