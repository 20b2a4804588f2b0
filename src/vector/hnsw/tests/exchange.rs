//! Tests of indexes as streams of FAISS: the same bytes, and the same neighbours in Python.

use std::io::{Read, Seek};
use std::path::Path;

use super::*;
use crate::error::Error;
use crate::vector::faiss::oracle_write;
use crate::vector::faiss_stream::tests::{ask_python, fixture_vectors, npy};
use crate::vector::faiss_stream::write_graph;

const DIM: usize = 16;

fn exported(blob: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    write_graph(&mut out, Path::new("out.faiss"), blob).map(|()| out)
}

/// What FAISS's own index of the same vectors is, written by FAISS.
fn oracle(data: &Data, metric: i32, params: Params) -> Vec<u8> {
    let mut file = tempfile::tempfile().unwrap();
    let kind = (params.m, params.codes.number());
    oracle_write(&file, metric, data.dim, kind, &data.vectors, &[]).unwrap();
    file.rewind().unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

/// So the graph is FAISS's, too, link for link, if new rows go down as there: the loop around its steps changes nothing.
#[test]
fn our_bytes_are_those_that_faiss_builds_and_writes() {
    for (rows, dim, m) in [(1, 3, 4), (50, 7, 4), (900, 8, 2), (2000, 24, 16), (1500, 40, 32)] {
        let data = Data::clustered(31, rows, dim);
        for (metric, number) in [(Metric::InnerProduct, 0), (Metric::L2, 1)] {
            for codes in Codes::ALL {
                let params = Params { m, ways: 1, ..Params::new(codes) };
                let ours = exported(&data.build(metric, params, 1).unwrap()).unwrap();
                assert!(ours == oracle(&data, number, params), "{rows} x {dim}, m {m}, {metric}, {codes:?}");
            }
        }
    }
}

#[test]
fn the_python_wheel_of_faiss_finds_the_same_neighbours() {
    let data = Data::new(DIM, fixture_vectors());
    let queries: Vec<f32> = npy("queries.npy", "'<f4'").into_iter().map(f32::from_le_bytes).collect();
    for metric in METRICS {
        for codes in Codes::ALL {
            let blob = data.build(metric, Params::new(codes), 2).unwrap();
            let report = ask_python(&exported(&blob).unwrap());
            let index = Index::open(blob).unwrap();
            let shape = index.shape();
            assert_eq!((report.metric, report.dim, report.rows), (shape.faiss_metric(), DIM, 200));
            for (query, expected) in queries.chunks_exact(DIM).zip(report.neighbours) {
                let query = Query::new(metric, query).unwrap();
                let wanted = Wanted { candidates: 10, effort: 16 };
                let (near, _) = index.near(&query, wanted).unwrap();
                let found: Vec<i64> = near.iter().map(|near| i64::try_from(near.position).unwrap()).collect();
                assert_eq!(found, expected, "{metric}, {codes:?}");
            }
        }
    }
}

#[test]
fn a_damaged_index_is_not_exported() {
    let data = Data::clustered(32, 100, 4);
    let mut blob = data.build(Metric::L2, Params::new(Codes::F16), 1).unwrap().to_vec();
    let links = Sections::open(&blob).unwrap().links(&blob).unwrap().as_ptr().addr() - blob.as_ptr().addr();
    blob[links + 3] = 0x40;
    assert!(matches!(exported(&blob), Err(Error::Corrupt { .. })));
}
