//! Compiles the C++ shim against the headers of FAISS.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The macros by which FAISS decides at compile time whether it is optimised and which vector instructions it uses.
/// `faiss::get_compile_options` reports the same two.
const WANTED_MACROS: [&str; 2] = ["__OPTIMIZE__", "__AVX2__"];

fn main() {
    for name in [
        "shim.cpp",
        "shim.h",
        "guard.h",
        "bytes.h",
        "distances.h",
        "narrow.h",
        "walk.h",
        "whole.h",
        "wide.h",
        "hnsw.cpp",
        "sketch.cpp",
        "oracle.cpp",
    ] {
        println!("cargo:rerun-if-changed=src/vector/faiss/{name}");
    }
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=VDB_FAISS_DIR");
    println!("cargo:rerun-if-env-changed=VDB_SANITIZE");

    let mut shim = cc::Build::new();
    shim.cpp(true).std("c++17").warnings(true).extra_warnings(true).flag("-Wconversion").flag("-Wshadow");
    // Set by `scripts/fuzz.sh`, which links what belongs to it.
    if let Ok(sanitizer) = env::var("VDB_SANITIZE") {
        shim.flag(format!("-fsanitize={sanitizer}")).flag("-fno-omit-frame-pointer");
        shim.define("_GLIBCXX_ASSERTIONS", None);
    }
    let faiss = faiss_dir();
    if let Some(dir) = &faiss {
        // FAISS's own headers are not ours to warn about.
        shim.flag("-isystem").flag(dir.join("include"));
    }
    if let Some(cache) = faiss.as_deref().and_then(cmake_flags) {
        warn_of_slow_faiss(&shim.get_compiler(), &cache);
    }
    for source in ["shim.cpp", "hnsw.cpp", "sketch.cpp", "oracle.cpp"] {
        shim.file(Path::new("src/vector/faiss").join(source));
    }
    shim.compile("vdb_shim");
}

/// Returns the directory with FAISS's `include` and `lib`, or `None` when the compiler finds an installed one by itself.
fn faiss_dir() -> Option<PathBuf> {
    if env::var_os("CARGO_FEATURE_FAISS_BUNDLED").is_some() {
        let root = env::var_os("DEP_FAISS_C_ROOT").expect("faiss-sys with feature static exports its root");
        return Some(root.into());
    }
    println!("cargo:rustc-link-lib=dylib=faiss");
    let dir = PathBuf::from(env::var_os("VDB_FAISS_DIR")?);
    println!("cargo:rustc-link-search=native={}", dir.join("lib").display());
    Some(dir)
}

/// Returns the C++ flags with which the bundled FAISS in `dir` was built, from the cache that CMake leaves behind.
fn cmake_flags(dir: &Path) -> Option<String> {
    let path = dir.join("build").join("CMakeCache.txt");
    println!("cargo:rerun-if-changed={}", path.display());
    let cache = std::fs::read_to_string(path).ok()?;
    let value = |key: &str| cache.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(":STRING="));
    Some(format!("{} {}", value("CMAKE_CXX_FLAGS")?, value("CMAKE_CXX_FLAGS_RELEASE")?))
}

/// Warns if `flags`, with which FAISS was built, leave out optimisation or AVX2 on x86-64: it then runs several times
/// slower. The compiler itself is asked, because `-march=native` and the like name no instruction set.
fn warn_of_slow_faiss(compiler: &cc::Tool, flags: &str) {
    if env::var("CARGO_CFG_TARGET_ARCH").as_deref() != Ok("x86_64") {
        return;
    }
    let mut command = Command::new(compiler.path());
    command.args(flags.split_whitespace()).args(["-dM", "-E", "-x", "c++", "/dev/null"]);
    let Ok(output) = command.output() else { return };
    let macros = String::from_utf8_lossy(&output.stdout);
    for wanted in WANTED_MACROS {
        if output.status.success() && !macros.contains(&format!("#define {wanted} ")) {
            println!(
                "cargo:warning=FAISS was built without {wanted} (flags: {}) and is slow; set \
                 CXXFLAGS_x86_64_unknown_linux_gnu=\"-O3 -mavx2 -mfma -mf16c -mpopcnt\" in [env] of .cargo/config.toml \
                 and rebuild faiss-sys",
                flags.trim()
            );
        }
    }
}
