//! Processes that create one file at the same moment.

use std::path::Path;

use vdb::{Document, Error, OpenOptions, Store};

use super::child::{self, Child};
use super::workload::assert_sound;

const PROCESSES: usize = 8;
const ROUNDS: usize = 8;
/// How often to try to write; each attempt lasts as long as another takes to write one document.
const ATTEMPTS: usize = 20_000;

/// Child: does in each round what it is told, and says how it went.
pub(super) fn create() {
    let me = format!("{}", std::process::id());
    child::say("ready");
    while let Some(order) = child::hear() {
        let (verb, name) = order.split_once(' ').unwrap();
        let path = child::store_path().join(name);
        let answer = match verb {
            "create" => match Store::create(&path) {
                Ok(store) => store.add([Document::new("winner").id(&*me)]).map(|_| "created"),
                Err(Error::Exists { what: "file", name }) if Path::new(&name) == path => Ok("exists"),
                Err(Error::Locked { .. }) => Ok("locked"),
                Err(other) => Err(other),
            },
            _ => join(&path, &me).map(|()| "joined"),
        };
        match answer {
            Ok(answer) => child::say(answer),
            Err(error) => child::say(&format!("{error:?}")),
        }
    }
}

/// Opens or creates the store, as soon as no other writes, and adds a document.
fn join(path: &Path, me: &str) -> vdb::Result<()> {
    for _ in 0..ATTEMPTS {
        match Store::open_or_create(path) {
            Ok(store) => {
                store.add([Document::new("joined").id(me)])?;
                return store.close();
            }
            Err(Error::Locked { .. }) => std::thread::sleep(std::time::Duration::from_millis(1)),
            Err(other) => return Err(other),
        }
    }
    panic!("never the only writer in {ATTEMPTS} attempts")
}

/// Looks at the file while it is being created: there is none, or a whole one.
fn watch(path: &Path) {
    match OpenOptions::new().read_only(true).open(path) {
        Ok(store) => {
            assert!(store.count().unwrap() <= u64::try_from(PROCESSES).unwrap());
            assert_sound(&store);
        }
        Err(Error::NotFound { .. }) => {}
        Err(other) => panic!("{other:?}"),
    }
}

/// Lets all children do the same at once; returns their answers, sorted.
fn race(children: &mut [Child], verb: &str, directory: &Path, name: &str) -> Vec<String> {
    for child in children.iter_mut() {
        child.tell(&format!("{verb} {name}"));
    }
    let done = std::sync::atomic::AtomicBool::new(false);
    let mut answers: Vec<String> = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Acquire) {
                watch(&directory.join(name));
            }
        });
        let answers = children.iter_mut().map(|child| child.hear().unwrap_or_default()).collect();
        done.store(true, std::sync::atomic::Ordering::Release);
        answers
    });
    answers.sort();
    answers
}

#[test]
fn of_many_creators_one_wins_and_nobody_sees_half_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let mut children: Vec<Child> = (0..PROCESSES).map(|_| Child::new("create", path)).collect();
    for child in &mut children {
        child.expect("ready");
    }
    let mut names = Vec::new();
    for round in 0..ROUNDS {
        let name = format!("created_{round}.vdb");
        let answers = race(&mut children, "create", path, &name);
        assert_eq!(answers.iter().filter(|a| *a == "created").count(), 1, "{answers:?}");
        assert_eq!(answers.iter().filter(|a| *a == "exists").count(), PROCESSES - 1, "{answers:?}");
        let store = Store::open(path.join(&name)).unwrap();
        assert_eq!(store.count().unwrap(), 1);
        assert_sound(&store);
        names.push(name);
    }
    for round in 0..ROUNDS {
        let name = format!("joined_{round}.vdb");
        let answers = race(&mut children, "join", path, &name);
        assert!(answers.iter().all(|a| a == "joined"), "{answers:?}");
        let store = Store::open(path.join(&name)).unwrap();
        assert_eq!(store.count().unwrap(), u64::try_from(PROCESSES).unwrap());
        assert_sound(&store);
        names.push(name);
    }
    for child in children {
        child.finish();
    }
    let mut left: Vec<String> =
        path.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    left.sort();
    assert_eq!(left, names);
}
