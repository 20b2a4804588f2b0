//! Import of arrays of NumPy.

use std::path::PathBuf;

use vdb::{CancelToken, Control, Error, ErrorKind, Import, ImportFormat, OnError, Query, Store};

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Files(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

/// An array as NumPy writes it, of rows of three values.
pub(crate) fn npy(descr: &str, shape: &str, values: &[u8]) -> Vec<u8> {
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let length = u16::try_from(header.len()).unwrap().to_le_bytes();
    [b"\x93NUMPY\x01\x00", length.as_slice(), header.as_bytes(), values].concat()
}

fn values(rows: u16) -> Vec<u8> {
    (0..3 * rows).flat_map(|n| (f32::from(n) + 0.5).to_le_bytes()).collect()
}

fn single(rows: u16) -> Vec<u8> {
    npy("<f4", &format!("({rows}, 3)"), &values(rows))
}

#[test]
fn a_row_is_a_document_and_a_second_run_adds_nothing() {
    let files = Files::new();
    let path = files.write("a.npy", single(3000));
    let store = Store::in_memory().unwrap();
    let first = Import::new().run(&store, &[&path], |_| {}).unwrap();
    assert_eq!((first.added, first.parts, first.failed), (3000, 3000, 0));
    let second = Import::new().format(ImportFormat::Npy).run(&store, &[&path], |_| {}).unwrap();
    assert_eq!((second.added, second.updated, second.skipped), (0, 0, 3000));
    let hits = store.search(&Query::vector(vec![6.5, 7.5, 8.5]).k(1).exact()).unwrap();
    let found = store.snapshot().unwrap().get_with_vectors(&hits[0].id).unwrap().unwrap();
    assert_eq!(found.parts()[0].vector.as_deref(), Some([6.5, 7.5, 8.5].as_slice()));
    // Equal rows are different documents.
    let same = files.write("same.npy", npy("<f4", "(2, 3)", &[values(1), values(1)].concat()));
    assert_eq!(Import::new().run(&store, &[&same], |_| {}).unwrap().added, 1);
}

#[test]
fn a_stopped_import_goes_on_where_it_stopped() {
    let files = Files::new();
    let path = files.write("a.npy", single(5000));
    let (store, token) = (Store::in_memory().unwrap(), CancelToken::new());
    let stop = token.clone();
    let control = Control::new().cancel(&token).on_progress(move |progress| {
        if progress.done >= 1000 {
            stop.cancel();
        }
    });
    let error = Import::new().control(&control).run(&store, &[&path], |_| {}).unwrap_err();
    let there = store.count().unwrap();
    assert!(error.kind() == ErrorKind::Cancelled && there > 0 && there < 5000, "{error}, {there}");
    let rest = Import::new().run(&store, &[&path], |_| {}).unwrap();
    assert_eq!((rest.added, rest.skipped), (5000 - there, there));
}

#[test]
fn halves_and_doubles_become_singles() {
    let files = Files::new();
    let store = Store::in_memory().unwrap();
    let halves = [0x3c00_u16, 0xc000, 0x3555].map(u16::to_le_bytes).concat();
    let doubles = [1.0_f64, -2.0, 0.1].map(f64::to_le_bytes).concat();
    let paths = [
        files.write("h.npy", npy("<f2", "(1, 3)", &halves)),
        files.write("d.npy", npy("<f8", "(1, 3)", &doubles)),
    ];
    assert_eq!(Import::new().run(&store, &paths, |_| {}).unwrap().added, 2);
    let snapshot = store.snapshot().unwrap();
    let vectors: Vec<Vec<f32>> = snapshot
        .documents()
        .map(|document| {
            let id = document.unwrap().id_ref().unwrap().to_owned();
            snapshot.get_with_vectors(&id).unwrap().unwrap().parts()[0].vector.clone().unwrap()
        })
        .collect();
    assert_eq!(vectors, [vec![1.0, -2.0, 0.333_251_95], vec![1.0, -2.0, 0.1]]);
}

#[test]
fn lines_beside_an_array_give_ids_texts_and_metadata() {
    let files = Files::new();
    let path = files.write("a.npy", single(3));
    let lines =
        "{\"id\": \"a\", \"text\": \"하나\", \"metadata\": {\"n\": 1.0}}\n\n{\"metadata\": {\"n\": 2}}\n{}\n";
    files.write("a.jsonl", lines);
    let store = Store::in_memory().unwrap();
    for added in [3, 0] {
        let summary = Import::new().run(&store, &[&path], |_| {}).unwrap();
        assert_eq!((summary.added, summary.skipped), (added, 3 - added));
    }
    let first = store.snapshot().unwrap().get_with_vectors("a").unwrap().unwrap();
    assert_eq!((first.text(), first.metadata_ref().as_json()), (Some("하나"), r#"{"n":1.0}"#));
    assert_eq!(first.parts()[0].vector.as_deref(), Some([0.5, 1.5, 2.5].as_slice()));
    assert_eq!(first.parts()[0].span, 0..6);
    let second = store.search(&Query::vector(vec![3.5, 4.5, 5.5]).k(1)).unwrap();
    assert_eq!(second[0].metadata.as_json(), r#"{"n":2}"#);
}

#[test]
fn lines_that_do_not_fit_the_array_are_named() {
    let files = Files::new();
    let path = files.write("a.npy", single(3));
    let store = Store::in_memory().unwrap();
    files.write("a.jsonl", "{}\n{}\n");
    let error = Import::new().run(&store, &[&path], |_| {}).unwrap_err();
    assert!(error.to_string().contains("a.jsonl is not valid: it has 2 documents"), "{error}");
    assert!(error.to_string().contains("has 3 rows"), "{error}");
    for (line, said) in [
        ("{\"colour\": 1}", "unknown key \"colour\""),
        ("{\"vector\": [1, 2, 3]}", "it has a vector, and so has the row"),
        ("{\"id\": \"\"}", "it is empty"),
    ] {
        files.write("a.jsonl", format!("{{\"id\": \"first\"}}\n{line}\n{{\"id\": \"last\"}}\n"));
        let store = Store::in_memory().unwrap();
        let error = Import::new().run(&store, &[&path], |_| {}).unwrap_err();
        let Error::Row { line: 2, source, .. } = &error else { panic!("{error:?}") };
        let chain = std::iter::successors(Some(&**source as &dyn std::error::Error), |error| error.source());
        assert!(chain.map(ToString::to_string).any(|text| text.contains(said)), "{error:?}");
        assert_eq!(store.count().unwrap(), 1);
        let rest = Import::new().on_error(OnError::Skip).run(&store, &[&path], |_| {}).unwrap();
        assert_eq!((rest.added, rest.skipped, rest.failed), (1, 1, 1));
        assert!(store.get("last").unwrap().is_some());
    }
}

#[test]
fn an_array_that_is_cut_too_long_or_of_another_kind_is_named_and_nothing_is_added() {
    let files = Files::new();
    let whole = single(3);
    let longer = [whole.as_slice(), b"x"].concat();
    let cut = &whole[..whole.len() - 1];
    let cases: [(&[u8], &str); 7] = [
        (cut, "has 163 bytes, expected 164 for 3 rows of 3 values of 4 bytes"),
        (&longer, "has 165 bytes, expected 164"),
        (&whole[..100], "it ends within its header"),
        (b"", "it ends within its header"),
        (b"\x93NUMPX\x01\x00", "does not begin as an array"),
        (&npy(">f4", "(1, 3)", &values(1)), "big-endian (>f4)"),
        (&npy("<f4", "(3,)", &values(1)), "its shape is (3,), expected (rows, values)"),
    ];
    for (content, said) in cases {
        let path = files.write("a.npy", content);
        let store = Store::in_memory().unwrap();
        let error = Import::new().run(&store, &[&path], |_| {}).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("a.npy") && error.to_string().contains(said), "{error}");
        assert_eq!(store.count().unwrap(), 0);
    }
    // Of a header that promises more than there can be, nothing is allocated.
    let path = files.write("a.npy", npy("<f8", "(18446744073709551615, 65536)", &[]));
    let error = Import::new().run(&Store::in_memory().unwrap(), &[&path], |_| {}).unwrap_err();
    assert!(error.to_string().contains("more than there can be"), "{error}");
}

#[test]
fn a_row_that_is_no_vector_is_named_and_can_be_skipped() {
    let files = Files::new();
    let mut content = single(3);
    let end = content.len();
    content[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    let path = files.write("a.npy", content);
    let store = Store::in_memory().unwrap();
    let error = Import::new().run(&store, &[&path], |_| {}).unwrap_err();
    let Error::Row { line: 3, source, .. } = &error else { panic!("{error:?}") };
    assert!(source.to_string().contains("the value in column 2 is NaN"), "{source}");
    let collected = files.0.path().join("faults.jsonl");
    let import = Import::new().on_error(OnError::Collect(collected.clone()));
    assert_eq!(import.run(&store, &[&path], |_| {}).unwrap().failed, 1);
    assert!(std::fs::read_to_string(collected).unwrap().contains("\"line\":3"));
}
