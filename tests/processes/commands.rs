//! The program on a disk that is full, and where it may not write.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use vdb::Document;

use super::child::{self, Child};
use super::full_disk::{LIMIT, SPACE, in_own_mounts, make_room, may_mount};
use super::read_only::NOBODY;
use crate::scene::{Ran, Scene};
use crate::util::Random;

/// Documents of each source: what is committed first, and what does not fit beside the ballast.
const FIRST: u64 = 100;
const ALL: u64 = 4_000;
const COMMIT_EVERY: u64 = 250;
const DIM: usize = 64;
/// The directory of the sources.
const SOURCES: &str = "VDB_TEST_SOURCES";

fn document(number: u64) -> Document {
    let vector = Random(number).vector(DIM);
    Document::new("가득 찬 디스크 ".repeat(4)).id(number.to_string()).vector(vector)
}

/// A command in the scene that reads a source on standard input.
fn fed(scene: &Scene, words: &[&str], source: &Path) -> Ran {
    Ran::of(scene.command(words).stdin(File::open(source).unwrap()).output().unwrap())
}

/// A run that failed for want of space, and left `committed` documents.
#[track_caller]
fn assert_full(ran: &Ran) {
    let (cause, hint) = match std::env::var_os(LIMIT) {
        None => ("No space left on device (os error 28)", "the disk is full"),
        Some(_) => ("File too large (os error 27)", "files may not grow so large here"),
    };
    let lines: Vec<&str> = ran.stderr.lines().collect();
    let [what, why, help] = lines[..] else { panic!("{}", ran.picture()) };
    assert!(what.starts_with("vdb: cannot ") && what.ends_with(" a.vdb"), "{what}");
    assert_eq!(why, format!("  caused by: {cause}"));
    assert_eq!(help, format!("hint: {hint}: what was committed is safe"));
    assert_eq!((ran.stdout.as_str(), ran.exit), ("", Some(1)));
}

/// The store is sound and has exactly the first documents; returns how many: `least`, or those of the commit that failed, too.
#[track_caller]
fn assert_kept(scene: &Scene, least: u64, most: u64) -> u64 {
    let checked = scene.vdb(&["check", "a.vdb", "--deep"]);
    assert_eq!((checked.stderr.as_str(), checked.exit), ("", Some(0)), "{}", checked.stdout);
    let count: u64 = scene.vdb(&["count", "a.vdb"]).stdout.trim().parse().unwrap();
    assert!(count == least || count == most, "{count} documents, not {least} or {most}");
    let listed = scene.vdb(&["list", "a.vdb", "--with-vector", "--json"]).stdout;
    let wanted = (0..count).map(|number| document(number).to_json(true));
    let mut lines = listed.lines();
    for wanted in wanted {
        assert_eq!(lines.next().unwrap(), format!("{{\"type\":\"document\",\"data\":{wanted}}}"));
    }
    assert!(lines.all(|line| line.starts_with("{\"type\":\"next\"")));
    count
}

/// The last line of some type.
fn last(ran: &Ran, kind: &str) -> Value {
    let found = ran.lines().into_iter().rfind(|line| line["type"] == kind);
    found.unwrap_or_else(|| panic!("no {kind} in {}", ran.picture()))["data"].take()
}

/// Child: fills a small disk by commands, looks at what is left after each, makes room and goes on.
pub(super) fn fill() {
    let path = child::store_path();
    let scene = Scene::at(path.parent().unwrap());
    let sources = PathBuf::from(std::env::var_os(SOURCES).unwrap());
    let (first, all) = (sources.join("first.jsonl"), sources.join("all.jsonl"));
    let ballast = path.with_file_name("ballast");
    if std::env::var_os(LIMIT).is_none() {
        fs::write(&ballast, vec![7; 2 << 20]).unwrap();
    }
    let ran = fed(&scene, &["add", "a.vdb", "-", "--model", "none", "--quiet"], &first);
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    // One transaction that does not fit.
    assert_full(&fed(&scene, &["add", "a.vdb", "-"], &all));
    assert_kept(&scene, FIRST, FIRST);

    // Many, of which some fit.
    let every = COMMIT_EVERY.to_string();
    let source = all.to_str().unwrap();
    let import = ["import", "a.vdb", source, "--commit-every", &every, "--no-compact", "--quiet"];
    let ran = scene.vdb(&[&import[..], &["--json"]].concat());
    let error: Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!((&error["data"]["code"], &error["data"]["path"]), (&"io".into(), &"a.vdb".into()), "{error}");
    assert_eq!(ran.exit, Some(1));
    let committed = last(&ran, "committed")["documents"].as_u64().unwrap();
    assert!((FIRST + COMMIT_EVERY..ALL).contains(&committed), "{committed}");
    let kept = assert_kept(&scene, committed, committed + COMMIT_EVERY);
    // The next one fails as well, and says so to people.
    assert_full(&scene.vdb(&import));
    let kept = assert_kept(&scene, kept, kept + COMMIT_EVERY);

    make_room(&ballast);
    let ran = scene.vdb(&["update", "a.vdb", "1", "--meta", "{\"n\": 1}"]);
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    let ran = scene.vdb(&[&import[..], &["--json"]].concat());
    assert_eq!((ran.stderr.as_str(), ran.exit), ("", Some(0)));
    let summary = last(&ran, "summary");
    let figures = ["added", "updated", "skipped"].map(|name| summary[name].as_u64().unwrap());
    assert_eq!(figures, [ALL - kept, 1, kept - 1]);
    assert_eq!(scene.vdb(&["check", "a.vdb", "--deep"]).exit, Some(0));
    assert_eq!(scene.vdb(&["count", "a.vdb"]).stdout, format!("{ALL}\n"));
    child::say(&kept.to_string());
}

/// Runs [`fill`] in an empty directory, after `before` in a shell.
fn run(before: &str, by_limit: bool) {
    let (directory, sources) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (name, count) in [("first.jsonl", FIRST), ("all.jsonl", ALL)] {
        let lines: String = (0..count).map(|number| document(number).to_json(true) + "\n").collect();
        fs::write(sources.path().join(name), lines).unwrap();
    }
    let command = child::command_after(before, "fill by commands", &directory.path().join("a.vdb"));
    let mut command = if by_limit { command } else { in_own_mounts(&command) };
    command.env(SOURCES, sources.path());
    if by_limit {
        command.env(LIMIT, "1");
    }
    println!("full after {} documents", Child::start(command).finish()[0]);
}

#[test]
fn commands_on_a_full_disk_lose_nothing_that_was_committed() {
    if !may_mount() {
        println!("mounting is not permitted here: only a limit on the length of files was tested");
        return;
    }
    run(&format!("mount -t tmpfs -o size={SPACE} tmpfs \"$(dirname \"$VDB_TEST_STORE\")\""), false);
}

#[test]
fn commands_under_a_limit_on_the_length_of_files_lose_nothing_that_was_committed() {
    // Without the trap the signal would end the process before the error.
    run(&format!("trap '' XFSZ; ulimit -S -f {}", SPACE / 2 / 512), true);
}

/// A store that cannot be written: `run` must refuse to, for this cause, and read it all the same.
fn assert_only_read(scene: &Scene, cause: &str, run: &dyn Fn(&[&str]) -> Ran) {
    let before = fs::read(scene.path("a.vdb")).unwrap();
    let hint = "commands that only read, such as `search`, `list` and `check`, need no permission to write";
    let wanted =
        format!("err| vdb: cannot write a.vdb\nerr|   caused by: {cause}\nerr| hint: {hint}\nexit 1");
    for words in [
        &["add", "a.vdb", "text"][..],
        &["import", "a.vdb", "a.jsonl"],
        &["delete", "a.vdb", "7"],
        &["delete", "a.vdb", "--all"],
        &["update", "a.vdb", "7", "--meta", "{}"],
        &["compact", "a.vdb"],
        &["repair", "a.vdb"],
    ] {
        assert_eq!(run(words).picture(), wanted, "{words:?}");
    }
    let wanted = format!("err| vdb: cannot create new.vdb\nerr|   caused by: {cause}\nexit 1");
    for words in [
        &["create", "new.vdb", "--dim", "2"][..],
        &["add", "new.vdb", "text", "--model", "none"],
        &["import", "new.vdb", "a.jsonl", "--model", "none"],
    ] {
        assert_eq!(run(words).picture(), wanted, "{words:?}");
    }
    for words in [
        &["check", "a.vdb", "--deep"][..],
        &["stats", "a.vdb"],
        &["list", "a.vdb"],
        &["get", "a.vdb", "7", "--strict"],
        &["search", "a.vdb", "디스크", "--mode", "text", "--strict"],
        &["search", "a.vdb", "--like", "7", "--strict"],
        &["delete", "a.vdb", "--all", "--dry-run"],
        &["repair", "a.vdb", "--dry-run"],
    ] {
        let ran = run(words);
        assert_eq!(ran.exit, Some(0), "{words:?}: {}", ran.stderr);
    }
    assert!(fs::read(scene.path("a.vdb")).unwrap() == before, "the file has changed");
    assert_eq!(fs::read_dir(scene.path("")).unwrap().count(), 2, "something was made beside it");
}

/// A directory with a store, a source and nothing else.
fn filled(directory: &Path) -> Scene {
    fs::create_dir(directory).unwrap();
    let scene = Scene::at(directory);
    let lines: String = (0..20).map(|number| document(number).to_json(true) + "\n").collect();
    fs::write(scene.path("a.jsonl"), lines).unwrap();
    let ran = scene.vdb(&["import", "a.vdb", "a.jsonl", "--model", "none"]);
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    scene
}

#[test]
fn commands_that_are_not_permitted_to_write_read() {
    let root = tempfile::tempdir().unwrap();
    fs::set_permissions(root.path(), Permissions::from_mode(0o755)).unwrap();
    let scene = filled(&root.path().join("read only"));
    let program = root.path().join("vdb");
    fs::copy(env!("CARGO_BIN_EXE_vdb"), &program).unwrap();
    for (name, mode) in [("a.vdb", 0o444), ("a.jsonl", 0o444), ("", 0o555)] {
        fs::set_permissions(scene.path(name), Permissions::from_mode(mode)).unwrap();
    }
    assert_only_read(&scene, "Permission denied (os error 13)", &|words| {
        let mut command = Command::new(&program);
        command.current_dir(scene.path("")).args(words).stdin(Stdio::null()).env_remove("NO_COLOR");
        if rustix::process::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        Ran::of(command.output().unwrap())
    });
    fs::set_permissions(scene.path(""), Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn commands_on_a_read_only_mount_read() {
    if !may_mount() {
        println!("mounting is not permitted here: only permissions were tested");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let scene = filled(&root.path().join("read only"));
    let mount = "mount --bind \"$PWD\" \"$PWD\"; mount -o remount,ro,bind \"$PWD\"; cd \"$PWD\"";
    let script = format!("set -e; {mount}; exec \"$0\" \"$@\"");
    assert_only_read(&scene, "Read-only file system (os error 30)", &|words| {
        let mut shell = Command::new("sh");
        shell.args(["-c", &script, env!("CARGO_BIN_EXE_vdb")]).args(words);
        let mut command = in_own_mounts(&shell);
        command.current_dir(scene.path("")).stdin(Stdio::null()).env_remove("NO_COLOR");
        Ran::of(command.output().unwrap())
    });
}
