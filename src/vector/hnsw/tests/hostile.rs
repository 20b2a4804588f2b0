//! Tests of blobs whose bytes are wrong.

use super::*;
use crate::error::Error;
use crate::vector::hnsw::hostile::{attempt, many};

const DIM: usize = 4;
const ROWS: usize = 40;

fn small(codes: Codes) -> Vec<u8> {
    let data = Data::clustered(21, ROWS, DIM);
    data.build(Metric::L2, Params { m: 2, ef_construction: 8, ..Params::new(codes) }, 1).unwrap().to_vec()
}

/// Opens and searches; what is found must at least look like an answer.
fn try_search(bytes: &[u8]) -> Result<usize> {
    let index = Index::open(blob(bytes))?;
    let query = Query::new(index.shape().metric, &numbers(22, index.shape().dim))?;
    let (near, _) = index.near(&query, Wanted { candidates: 10, effort: 20 })?;
    assert!(near.len() <= 10 && near.iter().all(|near| near.position < index.shape().rows));
    assert!(near.iter().all(|near| !near.score.is_nan()));
    let mut positions: Vec<usize> = near.iter().map(|near| near.position).collect();
    positions.sort_unstable();
    positions.dedup();
    assert_eq!(positions.len(), near.len());
    Ok(near.len())
}

#[test]
fn any_flipped_byte_is_an_error_or_gives_an_answer_of_the_right_shape() {
    for codes in Codes::ALL {
        let whole = small(codes);
        assert_eq!(try_search(&whole).unwrap(), 10);
        let (mut refused, mut answered) = (0, 0);
        for at in 0..whole.len() {
            for mask in [0x01, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= mask;
                match try_search(&bytes) {
                    Ok(_) => answered += 1,
                    Err(Error::Corrupt { .. } | Error::Version { .. }) => refused += 1,
                    Err(other) => panic!("byte {at}, mask {mask:#x}: {other:?}"),
                }
            }
        }
        assert!(refused > 500 && answered > 500, "{refused} refused, {answered} answered");
    }
}

#[test]
fn a_blob_cut_short_is_refused() {
    let whole = small(Codes::Sq8);
    for len in 0..whole.len() {
        let opened = Index::open(blob(&whole[..len]));
        assert!(matches!(opened, Err(Error::Corrupt { .. })), "{len}");
    }
}

/// Codes and ranges are numbers of any kind, and FAISS's heap of candidates does not stand NaN.
#[test]
fn codes_that_are_no_numbers_are_far_away() {
    for codes in [Codes::F32, Codes::F16] {
        let whole = small(codes);
        let sections = Sections::open(&whole).unwrap();
        let own = sections.codes(&whole).unwrap();
        let start = own.as_ptr().addr() - whole.as_ptr().addr();
        for step in [1, 2, 3] {
            let mut bytes = whole.clone();
            for row in (0..ROWS).step_by(step) {
                let width = codes.bytes(DIM);
                bytes[start + row * width..][..width].fill(0xff);
            }
            assert!(try_search(&bytes).unwrap() <= 10);
        }
    }
    let mut bytes = small(Codes::Sq8);
    let sections = Sections::open(&bytes).unwrap();
    let start = sections.ranges(&bytes).unwrap().as_ptr().addr() - bytes.as_ptr().addr();
    bytes[start..start + 8 * DIM].fill(0xff);
    assert_eq!(try_search(&bytes).unwrap(), 0);
}

#[test]
fn links_to_levels_that_a_row_has_not_are_refused() {
    let whole = small(Codes::Sq8);
    let sections = Sections::open(&whole).unwrap();
    let levels = sections.levels(&whole).unwrap().to_vec();
    let links = sections.links(&whole).unwrap().to_vec();
    assert!(sections.check_links(&levels, &links).is_ok());
    let low = i32::try_from(levels.iter().position(|&count| count == 1).unwrap()).unwrap();
    let first_high = levels.iter().position(|&count| count > 1).unwrap();
    let before: usize = levels[..first_high].iter().map(|&count| 2 * (usize::from(count) + 1)).sum();
    let refused = |at: usize, link: i32| {
        let mut links = links.clone();
        links[at] = link;
        sections.check_links(&levels, &links).unwrap_err().to_string()
    };
    let row = format!("row {first_high} has a link to row {low} in level 1, which that row has not");
    assert!(refused(before + 4, low).contains(&row));
    assert!(refused(0, 40).contains("links go from -1 to 40, expected -1 to 39"));
    assert!(refused(0, -2).contains("links go from -2"));
}

/// The same as the fuzz target, from words that are the same in every run.
#[test]
fn whatever_the_sections_hold_a_search_answers_or_refuses() {
    many(23, attempt);
}
