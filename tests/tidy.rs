//! Keeps the house in order: layers, sizes of files, first lines, links, and what must not be in any file.

mod format;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// No source file is longer.
const LINES_MAX: usize = 500;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the repository, by its path from the root.
fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// The files below `from` whose names end in `end`, as paths from the root.
fn files(from: &str, end: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut directories = vec![root().join(from)];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let made_here = ["target", ".git", ".local", "fixtures", "corpus", "artifacts", "seeds"]
                .contains(&name.as_str());
            if path.is_dir() && !made_here {
                directories.push(path);
            } else if path.is_file() && name.ends_with(end) {
                found.push(path.strip_prefix(root()).unwrap().to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no {end} in {from}");
    found
}

fn rust_files() -> Vec<String> {
    let directories = ["src", "tests", "benches", "examples"];
    let mut all: Vec<String> = directories.iter().flat_map(|directory| files(directory, ".rs")).collect();
    all.push("build.rs".to_owned());
    all
}

/// The names in backquotes.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// The table of layers: module -> (layer, place in its row).
fn layers() -> BTreeMap<String, (String, usize)> {
    let document = text("docs/architecture.md");
    let mut layers = BTreeMap::new();
    for line in document.lines().filter(|line| line.starts_with("| L")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let layer = cells[1].split(' ').next().unwrap();
        for (place, module) in quoted(cells[2]).enumerate() {
            layers.insert(module.to_owned(), (layer.to_owned(), place));
        }
    }
    layers
}

/// The modules that a line names from the root of the crate.
fn imports(line: &str) -> impl Iterator<Item = &str> {
    let code = if line.trim_start().starts_with("//") { "" } else { line };
    code.split("crate::").skip(1).map(|rest| {
        let end = rest.find(|c: char| !(c.is_ascii_lowercase() || c == '_')).unwrap_or(rest.len());
        &rest[..end]
    })
}

#[test]
fn modules_import_from_below_only() {
    let layers = layers();
    for path in
        files("src", ".rs").iter().filter(|path| !path.starts_with("src/bin") && *path != "src/lib.rs")
    {
        let module = path.split('/').nth(1).unwrap().trim_end_matches(".rs");
        let (layer, place) = layers.get(module).unwrap_or_else(|| panic!("{module} is in no layer"));
        for line in text(path).lines() {
            // Names such as `crate::Error` are those of the vocabulary, which all may use.
            for used in imports(line).filter(|used| !used.is_empty() && *used != module) {
                let (below, before) = layers.get(used).unwrap_or_else(|| panic!("{path} imports {used}"));
                let beside = below == layer && before < place && layer != "L3";
                assert!(below < layer || beside, "{path} ({layer}) imports {used} ({below}): {line}");
            }
        }
    }
    for module in layers.keys().filter(|module| !module.contains('/')) {
        let there = ["", "/mod"].map(|end| root().join(format!("src/{module}{end}.rs")).exists());
        assert!(there.contains(&true), "the table of layers names {module}");
    }
}

#[test]
fn a_forbidden_import_is_noticed() {
    assert_eq!(imports("use crate::store::Store;").collect::<Vec<_>>(), ["store"]);
    assert_eq!(imports("// crate::store").count(), 0);
    let layers = layers();
    assert!(layers["store"] > layers["vector"] && layers["catalog"].0 == layers["vector"].0);
}

#[test]
fn files_are_short_and_say_what_they_are() {
    for path in rust_files() {
        let text = text(&path);
        let lines = text.lines().count();
        assert!(lines <= LINES_MAX, "{path} has {lines} lines");
        let first: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("//! ")).collect();
        let first = first.join(" ");
        assert!(
            first.ends_with('.') && !first.contains(". "),
            "{path} begins with no single sentence: {first:?}"
        );
    }
}

/// Where the tests of a file begin; the whole of a test file.
fn tests_begin(path: &str, text: &str) -> usize {
    let is_test = path.starts_with("tests") || path.contains("/tests/") || path.ends_with("/tests.rs");
    if is_test { 0 } else { text.find("#[cfg(test)]").unwrap_or(text.len()) }
}

#[test]
fn sources_are_ascii() {
    for path in rust_files() {
        let text = text(&path);
        let code = &text[..tests_begin(&path, &text)];
        for (number, line) in code.lines().enumerate().filter(|(_, line)| !line.is_ascii()) {
            assert!(line.trim_start().starts_with("///"), "{path}:{}: {line}", number + 1);
        }
    }
}

/// The targets of the links of a page.
fn links(page: &str) -> Vec<&str> {
    page.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect()
}

#[test]
fn links_lead_somewhere() {
    let mut seen = 0;
    for path in files("", ".md") {
        let page = text(&path);
        for link in links(&page).into_iter().filter(|link| !link.contains("://") && !link.starts_with('#')) {
            let target = link.split('#').next().unwrap();
            let from: PathBuf = root().join(&path).parent().unwrap().join(target);
            assert!(from.exists(), "{path} links to {link}");
            seen += 1;
        }
    }
    assert!(seen > 8);
}

#[test]
fn no_file_knows_the_machine_it_was_written_on() {
    let homes = ["home", "root", "Users", "work"].map(|name| format!("/{name}/"));
    let ends =
        [".rs", ".md", ".toml", ".sh", ".py", ".txt", ".h", ".cpp", ".yml", ".json", "Makefile", "/run"];
    for path in ends.iter().flat_map(|end| every(end)) {
        let bytes = std::fs::read(root().join(&path)).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for home in &homes {
            assert!(!text.contains(home.as_str()), "{path} contains {home}");
        }
    }
    let lock = text("Cargo.lock");
    let sources: Vec<&str> = lock.lines().filter_map(|line| line.strip_prefix("source = ")).collect();
    let public = "\"registry+https://github.com/rust-lang/crates.io-index\"";
    assert!(sources.len() > 20 && sources.iter().all(|source| *source == public), "{sources:?}");
}

/// The files of the repository whose names end so; none is no fault.
fn every(end: &str) -> Vec<String> {
    files("", "").into_iter().filter(|path| path.ends_with(end)).collect()
}
