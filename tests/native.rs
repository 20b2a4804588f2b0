//! Checks what of FAISS is linked into our programs, and how it was compiled.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

/// The names of all symbols of an executable, mangled as they are.
fn symbols(executable: &Path) -> BTreeSet<String> {
    let bytes = std::fs::read(executable).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    file.symbols().filter_map(|symbol| symbol.name().ok().map(str::to_owned)).collect()
}

fn containing<'a>(symbols: &'a BTreeSet<String>, part: &str) -> Vec<&'a str> {
    symbols.iter().map(String::as_str).filter(|name| name.contains(part)).collect()
}

#[test]
fn faiss_is_the_expected_version_and_optimised() {
    let build = vdb::FaissBuild::read().unwrap();
    assert!(build.version.starts_with("1."), "{build}");
    if cfg!(feature = "faiss-bundled") {
        assert_eq!(build.version, "1.12.0");
    }
    if cfg!(target_arch = "x86_64") {
        let words: Vec<&str> = build.compile_options.split_whitespace().collect();
        assert!(words.contains(&"OPTIMIZE"), "{build}");
        assert!(words.iter().any(|word| word.starts_with("AVX")), "{build}: FAISS is built for plain x86-64");
    }
}

/// Constructors of FAISS use its instructions: the check of the processor has to be the first function that runs.
#[test]
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn the_processor_is_checked_before_any_constructor() {
    let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let constructors = file.section_by_name(".init_array").unwrap();
    let is_guard =
        |symbol: &object::Symbol<'_, '_>| symbol.name().is_ok_and(|name| name.contains("CPU_GUARD"));
    let guard = file.symbols().find(is_guard).expect("the guard is not linked");
    assert_eq!(guard.address(), constructors.address());
}

/// FAISS parses no bytes in a program of ours: its reader has no checks to speak of against hostile files. Our own
/// reader does it, and our own writer writes, so FAISS's writer, the oracle of the unit tests, is not linked either.
#[test]
#[cfg(feature = "faiss-bundled")]
fn neither_reader_nor_writer_of_faiss_is_linked() {
    let this = symbols(&std::env::current_exe().unwrap());
    // FAISS is in this program, and the search for names finds it.
    assert!(!containing(&this, "vdb_faiss_version").is_empty());
    assert!(!containing(&this, "get_compile_options").is_empty());
    for forbidden in ["read_index", "write_index", "vdb_oracle"] {
        assert_eq!(containing(&this, forbidden), Vec::<&str>::new(), "in this test");
    }
}

#[test]
#[cfg(all(feature = "cli", feature = "faiss-bundled"))]
fn the_program_links_neither_reader_nor_writer_of_faiss() {
    let program = symbols(Path::new(env!("CARGO_BIN_EXE_vdb")));
    assert!(program.contains("main"), "no symbols can be read");
    for forbidden in ["read_index", "write_index", "vdb_oracle"] {
        assert_eq!(containing(&program, forbidden), Vec::<&str>::new(), "in the program");
    }
}

/// Two OpenMP runtimes in one process are a known cause of crashes. FAISS and scikit-learn bring one each; we enter none.
#[test]
fn a_process_with_other_native_libraries_lives_and_answers_right() {
    let python = std::env::var_os("VDB_TEST_PYTHON").expect("VDB_TEST_PYTHON is not set: run make test");
    let program = std::env::current_exe().unwrap();
    let library = program.parent().unwrap().with_file_name("examples").join("libin_python.so");
    assert!(library.exists(), "{}: run `cargo build --release --examples`", library.display());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/beside_others.py");
    for first in ["vdb", "others"] {
        let mut command = Command::new(&python);
        // As it is where nobody has set it: libraries may start their pools.
        command.arg(&script).arg(&library).arg(first).env_remove("OPENBLAS_NUM_THREADS");
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{first} first: {}: {said}", output.status);
        assert_eq!(output.stdout, b"1000 additions, 5000 searches\n", "{first} first");
        // One line for each of the three calls of the forked child, and nothing from anyone else.
        assert_eq!((said.matches("opened before fork").count(), said.lines().count()), (3, 3), "{said}");
    }
}
