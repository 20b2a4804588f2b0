//! What `make demo` and the READMEs promise, as far as it can be tested without building anew.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::scene::Scene;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap()
}

/// A place where `samples` leads to the samples.
fn scene() -> Scene {
    let scene = Scene::new();
    std::os::unix::fs::symlink(path("samples"), scene.path("samples")).unwrap();
    scene
}

/// The words of a command that has double quotes only.
fn words(command: &str) -> Vec<&str> {
    command
        .split('"')
        .enumerate()
        .flat_map(|(n, piece)| if n % 2 == 1 { vec![piece] } else { piece.split_whitespace().collect() })
        .collect()
}

/// Without times, and with numbers to two places.
fn steady(text: &str) -> String {
    text.lines()
        .map(|line| line.split(" failed in ").next().unwrap())
        .map(|line| {
            let rounded = |word: &str| match word.parse::<f64>() {
                Ok(number) if word.contains('.') => format!("{number:.2}"),
                _ => word.to_owned(),
            };
            line.split(' ').map(rounded).collect::<Vec<_>>().join(" ")
        })
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn the_shell_understands_every_script() {
    let mut seen = 0;
    for entry in std::fs::read_dir(path("scripts")).unwrap() {
        let script = entry.unwrap().path();
        if script.extension().is_some_and(|end| end == "sh") {
            let ran = Command::new("sh").arg("-n").arg(&script).output().unwrap();
            assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
            let is_program = std::fs::read_to_string(&script).unwrap().starts_with("#!/bin/sh\n");
            let mode = script.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o111 != 0, is_program, "{} has mode {mode:o}", script.display());
            seen += 1;
        }
    }
    assert!(seen >= 5);
}

#[test]
fn the_samples_are_what_their_page_says() {
    let scene = scene();
    let page = text("samples/README.md");
    for (file, documents) in [("debian", 1000), ("korean", 5)] {
        let source = format!("samples/{file}.jsonl");
        let ran = scene.vdb(&["import", "a.vdb", &source, "--model", "none", "--json"]);
        assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
        let listed = scene.vdb(&["list", "a.vdb", "--json"]);
        assert_eq!(ran.lines().last().unwrap()["data"]["added"], documents);
        for document in listed.lines().iter().filter(|line| line["type"] == "document") {
            for key in document["data"]["metadata"].as_object().unwrap().keys() {
                assert!(page.contains(&format!("`{key}`")), "samples/README.md does not name {key}");
            }
        }
        std::fs::remove_file(scene.path("a.vdb")).unwrap();
    }
}

#[test]
fn the_filters_of_the_tour_choose_among_the_samples() {
    let scene = scene();
    let ran = scene.vdb(&["import", "a.vdb", "samples/debian.jsonl", "--model", "none"]);
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    let tour = text("scripts/tour.sh");
    let mut seen = 0;
    for option in ["--where", "--filter"] {
        for rest in tour.split(&format!("{option} '")).skip(1) {
            let condition = rest.split('\'').next().unwrap();
            let ran = scene.vdb(&["count", "a.vdb", option, condition, "--json"]);
            let count = ran.lines()[0]["data"]["count"].as_u64().unwrap();
            assert!((3..900).contains(&count), "{count} match {condition}");
            seen += 1;
        }
    }
    assert!(seen >= 2);
}

#[test]
fn what_the_korean_readme_shows_is_what_vdb_prints() {
    let scene = scene();
    let page = text("README.ko.md");
    let shown = page.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    let commands: Vec<&str> = shown.split("$ vdb ").skip(1).collect();
    for command in &commands {
        let (line, printed) = command.split_once('\n').unwrap();
        let ran = scene.vdb(&words(line));
        assert_eq!(steady(ran.stdout.trim()), steady(printed.trim()), "{line}: {}", ran.stderr);
    }
    assert_eq!(commands.len(), 2);
    let query = words(commands[1].lines().next().unwrap())[2];
    let found = scene.vdb(&["search", "korean.vdb", query, "-k", "2", "--json"]);
    for (hit, expected) in found.lines().iter().zip([0.5892, 0.4567]) {
        let similarity = 1.0 - hit["data"]["distance"].as_f64().unwrap();
        assert!((similarity - expected).abs() <= 1e-4, "{similarity}");
        assert!(page.contains(&expected.to_string()));
    }
    let first = found.lines()[0]["data"]["metadata"].clone();
    assert_eq!(first, json!({"id": 2, "source": "doc_2"}));
}
