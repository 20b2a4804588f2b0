//! Bulk import from files.

use std::path::PathBuf;

use vdb::{
    CancelToken, ConflictPolicy, Control, Error, ErrorKind, ExtraKeys, Import, JsonFields, OnError,
    OpenOptions, Query, Store,
};

struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        Files { dir: tempfile::tempdir().unwrap() }
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }
}

fn lines(count: u32) -> String {
    let line = |n| format!("{{\"text\": \"문서 {n}\", \"vector\": [{n}, 1.5]}}\n");
    (0..count).map(line).collect::<Vec<_>>().concat()
}

#[test]
fn a_second_run_adds_nothing_even_without_ids() {
    let files = Files::new();
    let path = files.write("a.jsonl", lines(3000));
    let store = Store::in_memory().unwrap();
    let mut steps = Vec::new();
    let first = Import::new().run(&store, &[&path], |step| steps.push(step)).unwrap();
    assert_eq!((first.added, first.parts), (3000, 3000));
    assert_eq!(steps.last().unwrap().documents, 3000);
    let second = Import::new().run(&store, &[&path], |_| {}).unwrap();
    assert_eq!((second.added, second.updated, second.skipped), (0, 0, 3000));
    assert_eq!(store.count().unwrap(), 3000);
}

#[test]
fn a_changed_document_is_updated_and_a_kept_one_is_not() {
    let files = Files::new();
    let old = files.write("old.jsonl", "{\"id\": 1, \"text\": \"one\"}\n{\"id\": 2, \"text\": \"two\"}\n");
    let new = files.write("new.jsonl", "{\"id\": 1, \"text\": \"ONE\"}\n\n{\"id\": 2, \"text\": \"two\"}");
    let store = Store::in_memory().unwrap();
    Import::new().run(&store, &[&old], |_| {}).unwrap();
    let kept = Import::new().on_conflict(ConflictPolicy::Keep).run(&store, &[&new], |_| {}).unwrap();
    assert_eq!((kept.updated, kept.skipped), (0, 2));
    assert_eq!(store.get("1").unwrap().unwrap().text(), Some("one"));
    let error = Import::new().on_conflict(ConflictPolicy::Fail).run(&store, &[&new], |_| {}).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exists);
    let replaced = Import::new().run(&store, &[&new], |_| {}).unwrap();
    assert_eq!((replaced.updated, replaced.skipped), (1, 1));
    assert_eq!(store.get("1").unwrap().unwrap().text(), Some("ONE"));
}

#[test]
fn of_an_id_given_twice_the_last_wins_in_every_run() {
    let files = Files::new();
    let line = |id: u32, text: &str| format!("{{\"id\": {id}, \"text\": \"{text}\"}}\n");
    let between: String = (100..1700).map(|id| line(id, "between")).collect();
    let path = files.write("a.jsonl", line(1, "first") + &between + &line(1, "last") + &line(2, "same"));
    for every in [1, 10, 5000] {
        let store = Store::in_memory().unwrap();
        for run in 0..3 {
            let summary = Import::new().commit_every(every).run(&store, &[&path], |_| {}).unwrap();
            assert_eq!(store.get("1").unwrap().unwrap().text(), Some("last"), "{summary:?}");
            assert_eq!((summary.added > 0, store.count().unwrap()), (run == 0, 1602));
        }
    }
}

#[test]
fn commits_come_as_often_as_asked() {
    let files = Files::new();
    let path = files.write("a.jsonl", lines(1000));
    for (every, commits) in [(0, 1000), (1, 1000), (300, 4), (1000, 1), (5000, 1)] {
        let (store, mut steps) = (Store::in_memory().unwrap(), Vec::new());
        Import::new().commit_every(every).run(&store, &[&path], |step| steps.push(step.documents)).unwrap();
        assert!(steps.len() >= commits, "{} commits", steps.len());
        assert!(every == 0 || steps.windows(2).all(|two| two[1] - two[0] <= every), "{steps:?}");
        assert_eq!(steps.last(), Some(&1000));
    }
}

/// The fault of every kind of bad line, and what is there afterwards.
#[test]
fn a_bad_line_is_named_and_the_good_ones_before_it_stay() {
    let bad: [(&[u8], &str); 6] = [
        (b"{\"text\": ", "document"),
        (b"{\"text\": \"a\", \"colour\": 1}", "unknown key \"colour\""),
        (b"{\"text\": \"\xff\"}", "not UTF-8"),
        (b"{\"text\": \"\"}", "empty"),
        (b"{\"text\": \"a\", \"vector\": [1]}", "expected 2"),
        (b"{\"text\": \"a\", \"vector\": [1, \"x\"]}", "vector[1]"),
    ];
    for (line, reason) in bad {
        let files = Files::new();
        let content =
            [lines(700).as_bytes(), line, b"\n{\"id\": \"last\", \"text\": \"z\", \"vector\": [1, 1]}\n"]
                .concat();
        let path = files.write("a.jsonl", content);
        let store = Store::in_memory().unwrap();
        let error = Import::new().run(&store, &[&path], |_| {}).unwrap_err();
        let Error::Row { path: at, line, source } = &error else { panic!("{error:?}") };
        assert_eq!((at, *line), (&path, 701));
        assert!(source.to_string().contains(reason), "{source}");
        assert_eq!(store.count().unwrap(), 700);

        let skipped = Import::new().on_error(OnError::Skip).run(&store, &[&path], |_| {}).unwrap();
        assert_eq!((skipped.added, skipped.failed, skipped.skipped), (1, 1, 700));

        let collected = files.dir.path().join("bad.jsonl");
        let again = Import::new().on_error(OnError::Collect(collected.clone()));
        assert_eq!(again.run(&store, &[&path], |_| {}).unwrap().failed, 1);
        let fault: serde_json::Value = serde_json::from_slice(&std::fs::read(collected).unwrap()).unwrap();
        assert_eq!(fault["line"], 701);
    }
}

#[test]
fn a_line_without_end_is_refused_in_little_memory() {
    let files = Files::new();
    let path = files.write("a.jsonl", "{\"text\": \"first\"}\n");
    let mut content = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    let hole = 200 << 20;
    std::io::Write::write_all(&mut content, b"{\"text\": \"").unwrap();
    let len = content.metadata().unwrap().len();
    content.set_len(len + hole).unwrap();
    let store = Store::in_memory().unwrap();
    let error = Import::new().run(&store, &[&path], |_| {}).unwrap_err();
    let Error::Row { line: 2, source, .. } = error else { panic!("{error:?}") };
    assert!(matches!(*source, Error::Limit { found, .. } if found == hole + 10), "{source:?}");
    assert_eq!(store.count().unwrap(), 1);
}

#[test]
fn keys_may_have_other_names_and_others_become_metadata() {
    let files = Files::new();
    let path =
        files.write("a.jsonl", r#"{"key": 7, "body": "x", "n": 1.0, "metadata": {"a": 2}, "m": {"b": []}}"#);
    let store = Store::in_memory().unwrap();
    let fields = JsonFields { id: "key".into(), text: "body".into(), extra: ExtraKeys::Metadata };
    Import::new().fields(fields).run(&store, &[&path], |_| {}).unwrap();
    let document = store.get("7").unwrap().unwrap();
    assert_eq!(document.text(), Some("x"));
    assert_eq!(document.metadata_ref().as_json(), r#"{"a":2,"n":1.0,"m":{"b":[]}}"#);
}

#[test]
fn a_directory_is_one_document_a_text_file() {
    let files = Files::new();
    files.write("notes/b.md", "# Two");
    files.write("notes/a/메모.txt", "하나");
    files.write("notes/a/empty.txt", " \n");
    files.write("notes/image.png", [0, 1, 2]);
    files.write("notes/.git/c.txt", "hidden");
    let store = Store::in_memory().unwrap();
    let summary = Import::new().run(&store, &[files.dir.path().join("notes")], |_| {}).unwrap();
    assert_eq!(summary.added, 2);
    let document = store.get("a/메모.txt").unwrap().unwrap();
    assert_eq!(document.text(), Some("하나"));
    let metadata: serde_json::Value = document.metadata_as().unwrap();
    assert_eq!(metadata["size"], 6);
    let time: jiff::Timestamp = metadata["modified"].as_str().unwrap().parse().unwrap();
    assert!(time.as_second() > 0);
}

#[test]
fn a_cancelled_import_keeps_what_was_committed() {
    let files = Files::new();
    let path = files.write("a.jsonl", lines(5000));
    let store = Store::in_memory().unwrap();
    let token = CancelToken::new();
    let control = Control::new().cancel(&token).on_progress({
        let token = token.clone();
        move |progress| {
            if progress.done >= 1000 {
                token.cancel();
            }
        }
    });
    let error = Import::new().control(&control).run(&store, &[&path], |_| {}).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    let there = store.count().unwrap();
    assert!(there > 0 && there < 5000, "{there}");
    let rest = Import::new().run(&store, &[&path], |_| {}).unwrap();
    assert_eq!((rest.added, rest.skipped), (5000 - there, there));
    assert_eq!(store.search(&Query::vector(vec![9.0, 1.5]).k(3)).unwrap().len(), 3);
}

#[test]
fn a_rehearsal_tells_what_the_first_document_would_do_and_adds_nothing() {
    let files = Files::new();
    let good = files.write("good.jsonl", "\n{\"text\": \"a\"}\n{\"colour\": 1}\n");
    let bad = files.write("bad.jsonl", "\n{\"text\": \"a\", \"vector\": [1]}\n{\"text\": \"b\"}\n");
    let empty = files.write("empty.jsonl", "\n");
    let store = OpenOptions::new().dim(2).in_memory().unwrap();
    let import = Import::new();
    import.rehearse(&store, &[&empty, &good, &bad]).unwrap();
    import.rehearse(&store, &[&empty]).unwrap();
    let error = import.rehearse(&store, &[&empty, &bad, &good]).unwrap_err();
    let Error::Row { path, line: 2, source } = &error else { panic!("{error:?}") };
    assert_eq!((path, source.kind()), (&bad, ErrorKind::Shape));
    import.clone().on_error(OnError::Skip).rehearse(&store, &[&bad]).unwrap();
    assert_eq!(import.rehearse(&store, &["nowhere"]).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(store.count().unwrap(), 0);
}

#[test]
fn a_source_that_is_missing_is_named() {
    let store = Store::in_memory().unwrap();
    let error = Import::new().run(&store, &["nowhere.jsonl"], |_| {}).unwrap_err();
    assert_eq!(error.to_string(), "source \"nowhere.jsonl\" does not exist");
}
