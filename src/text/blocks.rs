//! What the rows of each block of a list are worth at most: read from what tantivy keeps in front of the list.
//!
//! A list of at least a block's rows begins with the bytes of an index of its whole blocks, as a number (seven bits a byte, the low ones
//! first, the last byte marked by its high bit), and that index. Of each block it has, little-endian: the last row, u32; the bits of a
//! row and of a count, u8 each; the sum of the counts, u32; a length as it is stored, and a count, u8 each, which no row of the
//! block is worth more than.
//! Source: `SkipSerializer` of tantivy 0.27, for fields with counts and positions.

use std::ops::Range;

use tantivy::DocId;

use crate::codec::{to_usize, u32_at};

/// The rows of a whole block.
const BLOCK_ROWS: usize = 128;
const ENTRY_BYTES: usize = 12;
const LENGTH_AT: usize = 10;
const COUNT_AT: usize = 11;

/// The whole blocks of a list, from some row on.
pub(super) struct Blocks<'a> {
    /// None for those that were passed.
    rest: &'a [u8],
    /// Whether rows follow them.
    is_all: bool,
}

impl<'a> Blocks<'a> {
    /// Those of a list of so many rows; `None` if it has no such index.
    pub(super) fn of(list: &'a [u8], rows: u32) -> Option<Self> {
        let rows = to_usize(rows.into());
        let blocks = rows / BLOCK_ROWS;
        let (mut bytes, mut at) = (0, 0);
        loop {
            let byte = *list.get(at).filter(|_| at < size_of::<u32>())?;
            bytes |= usize::from(byte & 0x7F) << (7 * at);
            at += 1;
            if byte & 0x80 != 0 {
                break;
            }
        }
        let rest = list.get(at..)?.get(..bytes)?;
        let fits = blocks > 0 && bytes == blocks * ENTRY_BYTES;
        fits.then_some(Blocks { rest, is_all: rows.is_multiple_of(BLOCK_ROWS) })
    }

    /// The most that `worth`, of a length and a count, is in the blocks that `docs` lie in; `None` if it is not known. Rows before
    /// these may not be asked for after.
    pub(super) fn most(&mut self, docs: &Range<DocId>, worth: impl Fn(u8, u32) -> f32) -> Option<f32> {
        let mut most = 0.0_f32;
        let mut passed = 0;
        let mut entries = self.rest.chunks_exact(ENTRY_BYTES);
        for entry in entries.by_ref() {
            let last = u32_at(entry, 0)?;
            if last < docs.start {
                passed += ENTRY_BYTES;
                continue;
            }
            let (&length, &count) = (entry.get(LENGTH_AT)?, entry.get(COUNT_AT)?);
            // The largest stands for all that are larger.
            let count = if count == u8::MAX { u32::MAX } else { count.into() };
            most = most.max(worth(length, count));
            if last >= docs.end.saturating_sub(1) {
                self.rest = &self.rest[passed..];
                return Some(most);
            }
        }
        self.rest = &self.rest[passed..];
        self.is_all.then_some(most)
    }
}

#[cfg(test)]
mod tests {
    use tantivy::directory::CompositeFile;
    use tantivy::index::SegmentComponent;
    use tantivy::query::Bm25Weight;
    use tantivy::schema::IndexRecordOption;
    use tantivy::{Index, TantivyDocument, Term};

    use super::*;
    use crate::text::shape::Shape;

    /// As many texts of `often` as are asked for, each with another length, some with a word more than once.
    fn lists(rows: u32) -> (Index, Bm25Weight) {
        let shape = Shape::get().unwrap();
        let index = Index::create_in_ram(shape.schema.clone());
        let mut writer = index.writer_with_num_threads::<TantivyDocument>(1, 15_000_000).unwrap();
        for n in 0..rows {
            let mut document = TantivyDocument::new();
            let times = to_usize(u64::from(n * n % 300 / 50 + if n == 200 { 260 } else { 1 }));
            let others = to_usize(u64::from(n % 37));
            document.add_text(shape.text, "often ".repeat(times) + &"else ".repeat(others));
            writer.add_document(document).unwrap();
        }
        writer.commit().unwrap();
        (index, Bm25Weight::for_one_term_without_explain(rows.into(), rows.into(), 20.0))
    }

    #[test]
    fn blocks_are_worth_what_tantivy_says() {
        for rows in [127, 128, 129, 1000, 1024] {
            let (index, bm25) = lists(rows);
            let shape = Shape::get().unwrap();
            let searcher = index.reader().unwrap().searcher();
            let reader = searcher.segment_reader(0);
            let inverted = reader.inverted_index(shape.text).unwrap();
            let norms = reader.get_fieldnorms_reader(shape.text).unwrap();
            let term = inverted.get_term_info(&Term::from_field_text(shape.text, "often")).unwrap().unwrap();
            let metas = index.searchable_segment_metas().unwrap();
            let file = index.segment(metas[0].clone()).open_read(SegmentComponent::Postings).unwrap();
            let bytes =
                CompositeFile::open(&file).unwrap().open_read(shape.text).unwrap().read_bytes().unwrap();
            let list = &bytes[8..][term.postings_range.clone()];
            let blocks = || Blocks::of(list, term.doc_freq);
            assert_eq!(blocks().is_some(), rows >= 128, "{rows}");
            let Some(mut one_by_one) = blocks() else { continue };
            let worth = |norm, count| bm25.score(norm, count);
            let mut postings =
                inverted.read_block_postings_from_terminfo(&term, IndexRecordOption::WithFreqs).unwrap();
            let mut most_of_all = 0.0_f32;
            while postings.docs().len() == BLOCK_ROWS {
                let docs = postings.docs()[0]..postings.docs()[BLOCK_ROWS - 1] + 1;
                let most = postings.block_max_score(&norms, &bm25);
                assert_eq!(one_by_one.most(&docs, worth), Some(most), "{docs:?} of {rows}");
                most_of_all = most_of_all.max(most);
                postings.advance();
            }
            let rest = one_by_one.most(&(rows - rows % 128..u32::MAX), worth);
            assert_eq!(rest, (rows % 128 == 0).then_some(0.0));
            let whole = rows - rows % 128;
            assert_eq!(blocks().unwrap().most(&(0..whole), worth), Some(most_of_all));
        }
    }

    #[test]
    fn what_is_no_such_index_is_not_read() {
        let mut list = vec![0x80 + 24];
        list.extend([0; 24]);
        assert!(Blocks::of(&list, 256).is_some());
        for rows in [0, 100, 128, 384] {
            assert!(Blocks::of(&list, rows).is_none(), "{rows}");
        }
        for len in 0..list.len() {
            assert!(Blocks::of(&list[..len], 256).is_none(), "{len}");
        }
        assert!(Blocks::of(&[0x7F; 40], 256).is_none());
    }
}
