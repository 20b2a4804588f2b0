//! Declares the C functions of `shim.h` behind safe Rust functions of the same names.
#![expect(unsafe_code, reason = "the only caller of the C++ shim")]

use std::ffi::{CStr, c_char, c_int};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use super::graph::{Nearest, Opener, Parts, SketchParts, parts};
use crate::error::{Error, Result};
use crate::storage::Bytes;
use crate::vector::hnsw::{Sections, Shape};

// Nothing of its Rust interface is used: naming it makes Cargo link the FAISS that it builds.
#[cfg(feature = "faiss-bundled")]
use faiss_sys as _;

/// Room for a message or a short text of the shim, in bytes.
const TEXT_BYTES: usize = 512;

/// `VDB_HNSW_LEVELS_MAX` of the shim.
const LEVELS_MAX: usize = 64;

unsafe extern "C" {
    fn vdb_faiss_init(message: *mut c_char, message_len: usize) -> c_int;
    fn vdb_faiss_version(out: *mut c_char, out_len: usize, message: *mut c_char, message_len: usize)
    -> c_int;
    fn vdb_faiss_compile_options(
        out: *mut c_char,
        out_len: usize,
        message: *mut c_char,
        message_len: usize,
    ) -> c_int;
    fn vdb_hnsw_plan(
        m: i32,
        chances: *mut f64,
        chances_len: usize,
        levels: *mut u8,
        levels_len: usize,
        order: *mut i32,
        order_len: usize,
        message: *mut c_char,
        message_len: usize,
    ) -> c_int;
    fn vdb_codes_encode(
        kind: i32,
        dim: usize,
        trained: *const f32,
        trained_len: usize,
        vectors: *const f32,
        vectors_len: usize,
        codes: *mut u8,
        codes_len: usize,
        message: *mut c_char,
        message_len: usize,
    ) -> c_int;
    fn vdb_hnsw_open(
        parts: *const Parts,
        out: *mut *mut Native,
        message: *mut c_char,
        message_len: usize,
    ) -> c_int;
    fn vdb_hnsw_close(graph: *mut Native);
    fn vdb_hnsw_add(
        graph: *mut Native,
        rows: *const i32,
        rows_len: usize,
        vectors: *const f32,
        vectors_len: usize,
        message: *mut c_char,
        message_len: usize,
    ) -> c_int;
    fn vdb_hnsw_search(
        graph: *mut Native,
        query: *const f32,
        query_len: usize,
        starts: usize,
        effort: usize,
        distances: *mut f32,
        distances_len: usize,
        rows: *mut i64,
        rows_len: usize,
        computed: *mut u64,
        message: *mut c_char,
        message_len: usize,
    ) -> c_int;
    fn vdb_sketch_ways() -> c_int;
    fn vdb_sketch_scan(
        sketches: *const SketchParts<'_>,
        floor: f32,
        word: *mut usize,
        scores: *mut f32,
        rows: *mut u32,
        len: usize,
        found: *mut usize,
        message: *mut c_char,
        message_len: usize,
    ) -> c_int;
    #[cfg(test)]
    fn vdb_oracle_write(
        fd: c_int,
        metric: c_int,
        dim: usize,
        m: i32,
        codes: i32,
        vectors: *const f32,
        vectors_len: usize,
        ids: *const i64,
        ids_len: usize,
        message: *mut c_char,
        message_len: usize,
    ) -> c_int;
}

/// The C type `vdb_hnsw`, only ever behind a pointer.
#[repr(C)]
struct Native {
    _opaque: [u8; 0],
}

/// Checks the processor before any C++ constructor runs. Those of FAISS use its instructions, so on a processor without
/// them the process would die there, long before `main` could say why (seen under emulation). The functions listed in
/// this section run in the order of its number; C++ constructors have none and come last.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[used]
// SAFETY: the section holds pointers to functions of the C convention, which this is; the function touches nothing that
// a constructor would have to prepare: it asks the processor, and on failure writes to standard error and exits.
#[unsafe(link_section = ".init_array.00098")]
static CPU_GUARD: extern "C" fn() = super::cpu::exit_if_unfit;

/// A buffer that the shim writes text into.
struct Text([c_char; TEXT_BYTES]);

impl Text {
    fn new() -> Self {
        Text([0; TEXT_BYTES])
    }

    fn as_mut_ptr(&mut self) -> *mut c_char {
        self.0.as_mut_ptr()
    }

    fn into_string(mut self) -> String {
        if let Some(last) = self.0.last_mut() {
            *last = 0;
        }
        // SAFETY: the buffer is initialised in full and its last byte is zero, so the text ends inside it.
        let text = unsafe { CStr::from_ptr(self.0.as_ptr()) };
        text.to_string_lossy().into_owned()
    }
}

/// Turns the status of `call` into a result; `VDB_OK` is zero.
fn check(call: &'static str, status: c_int, message: Text) -> Result<()> {
    if status == 0 { Ok(()) } else { Err(Error::Native { call, message: message.into_string() }) }
}

/// Wraps `vdb_faiss_init`. Not to be called by two threads at once.
pub(super) fn faiss_init() -> Result<()> {
    let mut message = Text::new();
    // SAFETY: the message buffer is valid for writes of TEXT_BYTES bytes during the call.
    let status = unsafe { vdb_faiss_init(message.as_mut_ptr(), TEXT_BYTES) };
    check("vdb_faiss_init", status, message)
}

/// Wraps `vdb_faiss_version`, upstream `faiss::get_version`.
pub(super) fn faiss_version() -> Result<String> {
    let (mut out, mut message) = (Text::new(), Text::new());
    // SAFETY: both buffers are distinct and valid for writes of TEXT_BYTES bytes during the call.
    let status = unsafe { vdb_faiss_version(out.as_mut_ptr(), TEXT_BYTES, message.as_mut_ptr(), TEXT_BYTES) };
    check("vdb_faiss_version", status, message)?;
    Ok(out.into_string())
}

/// Wraps `vdb_faiss_compile_options`, upstream `faiss::get_compile_options`.
pub(super) fn faiss_compile_options() -> Result<String> {
    let (mut out, mut message) = (Text::new(), Text::new());
    // SAFETY: both buffers are distinct and valid for writes of TEXT_BYTES bytes during the call.
    let status =
        unsafe { vdb_faiss_compile_options(out.as_mut_ptr(), TEXT_BYTES, message.as_mut_ptr(), TEXT_BYTES) };
    check("vdb_faiss_compile_options", status, message)?;
    Ok(out.into_string())
}

/// Wraps `vdb_hnsw_plan`: the number of levels of each row, and the order in which rows are added. Returns the chance of
/// each level.
///
/// # Errors
/// `Native` if the slices differ in length or `m` is out of range.
pub(in crate::vector) fn hnsw_plan(m: i32, levels: &mut [u8], order: &mut [i32]) -> Result<Vec<f64>> {
    let mut message = Text::new();
    let mut chances = vec![0.0; LEVELS_MAX];
    // SAFETY: the slices are valid for writes of their own lengths and do not overlap, the message buffer for writes of
    // TEXT_BYTES bytes, all during the call, after which the shim keeps nothing.
    let status = unsafe {
        vdb_hnsw_plan(
            m,
            chances.as_mut_ptr(),
            chances.len(),
            levels.as_mut_ptr(),
            levels.len(),
            order.as_mut_ptr(),
            order.len(),
            message.as_mut_ptr(),
            TEXT_BYTES,
        )
    };
    check("vdb_hnsw_plan", status, message)?;
    chances.retain(|&chance| chance > 0.0);
    Ok(chances)
}

/// Wraps `vdb_codes_encode`: the codes of whole vectors of `dim` values. `trained` is empty but for 8-bit codes.
///
/// # Errors
/// `Native` if the lengths disagree.
pub(in crate::vector) fn encode(
    kind: i32,
    dim: usize,
    trained: &[f32],
    vectors: &[f32],
    codes: &mut [u8],
) -> Result<()> {
    let mut message = Text::new();
    // SAFETY: the slices are valid for reads and writes of their own lengths and `codes`, being borrowed mutably, overlaps
    // none; the message buffer is valid for writes of TEXT_BYTES bytes; all during the call, after which nothing is kept.
    let status = unsafe {
        vdb_codes_encode(
            kind,
            dim,
            trained.as_ptr(),
            trained.len(),
            vectors.as_ptr(),
            vectors.len(),
            codes.as_mut_ptr(),
            codes.len(),
            message.as_mut_ptr(),
            TEXT_BYTES,
        )
    };
    check("vdb_codes_encode", status, message)
}

/// A graph of FAISS, closed when dropped. Whoever holds one keeps what it views alive and in place.
#[derive(Debug)]
struct Handle {
    graph: NonNull<Native>,
    opener: Opener,
}

// SAFETY: a graph has no tie to the thread that made it.
unsafe impl Send for Handle {}
// SAFETY: `shim.h` says of `vdb_hnsw_add` and `vdb_hnsw_search` that several threads may call them at once; scratch
// memory comes from a pool under a lock, and locks guard the links that are written. That nobody searches while others
// add is up to the types that hold this one.
unsafe impl Sync for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the pointer came from `vdb_hnsw_open`, is closed once, and nothing else can use it any more.
        unsafe { vdb_hnsw_close(self.graph.as_ptr()) }
    }
}

impl Handle {
    /// The parts must be valid as `shim.h` asks for, until the handle is dropped.
    fn open(parts: &Parts) -> Result<Self> {
        let mut message = Text::new();
        let mut graph = ptr::null_mut();
        // SAFETY: `parts` and `graph` are valid during the call, and the caller vouches for what `parts` points to.
        let status = unsafe { vdb_hnsw_open(parts, &raw mut graph, message.as_mut_ptr(), TEXT_BYTES) };
        check("vdb_hnsw_open", status, message)?;
        let graph = NonNull::new(graph)
            .ok_or_else(|| Error::Native { call: "vdb_hnsw_open", message: "no graph was made".into() })?;
        Ok(Handle { graph, opener: Opener::this() })
    }

    fn search(&self, query: &[f32], starts: usize, effort: usize, found: &mut Nearest) -> Result<()> {
        self.opener.check()?;
        let mut message = Text::new();
        // SAFETY: the graph is open and what it views is valid (`Handle`). The slices and `computed` are valid for reads
        // and writes of their own lengths and do not overlap, the message buffer for writes of TEXT_BYTES bytes, all
        // during the call, after which the shim keeps nothing of them.
        let status = unsafe {
            vdb_hnsw_search(
                self.graph.as_ptr(),
                query.as_ptr(),
                query.len(),
                starts,
                effort,
                found.distances.as_mut_ptr(),
                found.distances.len(),
                found.rows.as_mut_ptr(),
                found.rows.len(),
                &raw mut found.computed,
                message.as_mut_ptr(),
                TEXT_BYTES,
            )
        };
        check("vdb_hnsw_search", status, message)
    }
}

/// A graph being built over codes and links that are borrowed.
#[derive(Debug)]
pub(in crate::vector) struct GraphBuilder<'m> {
    handle: Handle,
    rows: usize,
    parts: PhantomData<(&'m mut [i32], &'m [u8])>,
}

impl<'m> GraphBuilder<'m> {
    /// Wraps `vdb_hnsw_open` for links that are all -1.
    ///
    /// # Errors
    /// `Native` if the lengths disagree or memory is short; `Invalid` for a link other than -1.
    pub(in crate::vector) fn new(
        shape: &Shape,
        levels: &[u8],
        trained: &[f32],
        links: &'m mut [i32],
        codes: &'m [u8],
        ways: i32,
    ) -> Result<Self> {
        if links.iter().any(|&link| link != -1) {
            return Err(Error::invalid("links of a new graph", "they are not all -1"));
        }
        let handle = Handle::open(&Parts {
            links: links.as_mut_ptr(),
            links_len: links.len(),
            ways,
            ..parts(shape, levels, trained, codes)
        })?;
        Ok(GraphBuilder { handle, rows: levels.len(), parts: PhantomData })
    }

    /// Wraps `vdb_hnsw_add`: links rows, given with the vectors that they were encoded from. Each row once.
    ///
    /// # Errors
    /// `Native` if the lengths disagree, a row is not there or memory is short; some rows may be linked then.
    pub(in crate::vector) fn add(&self, rows: &[i32], vectors: &[f32]) -> Result<()> {
        self.handle.opener.check()?;
        let mut message = Text::new();
        // SAFETY: the graph is open, what it views is borrowed for as long as `self` lives, and every link in it is -1 or a
        // row that has the level, because this function alone writes them. The slices are valid for reads of their own
        // lengths, the message buffer for writes of TEXT_BYTES bytes, all during the call.
        let status = unsafe {
            vdb_hnsw_add(
                self.handle.graph.as_ptr(),
                rows.as_ptr(),
                rows.len(),
                vectors.as_ptr(),
                vectors.len(),
                message.as_mut_ptr(),
                TEXT_BYTES,
            )
        };
        check("vdb_hnsw_add", status, message)
    }

    /// Wraps `vdb_hnsw_search` among the rows added so far. The borrow keeps others from adding meanwhile.
    pub(in crate::vector) fn searcher(&mut self) -> Searcher<'_> {
        Searcher { handle: &self.handle, rows: self.rows }
    }
}

/// A graph over a blob, checked before it was opened.
#[derive(Debug)]
pub(in crate::vector) struct Graph {
    // Dropped before the bytes that it views.
    handle: Handle,
    rows: usize,
    _bytes: Arc<Bytes>,
}

impl Graph {
    /// Checks levels, links and entry point, then wraps `vdb_hnsw_open`.
    ///
    /// # Errors
    /// `Corrupt` for links that lead nowhere; `Native` if memory is short.
    pub(in crate::vector) fn open(bytes: &Arc<Bytes>, sections: &Sections) -> Result<Self> {
        let (levels, links) = (sections.levels(bytes)?, sections.links(bytes)?);
        sections.check_links(levels, links)?;
        let shape = sections.shape();
        let handle = Handle::open(&Parts {
            // Never written: only a builder adds.
            links: links.as_ptr().cast_mut(),
            links_len: links.len(),
            ..parts(shape, levels, sections.ranges(bytes)?, sections.codes(bytes)?)
        })?;
        Ok(Graph { handle, rows: levels.len(), _bytes: Arc::clone(bytes) })
    }

    /// Wraps `vdb_hnsw_search`.
    pub(in crate::vector) fn searcher(&self) -> Searcher<'_> {
        Searcher { handle: &self.handle, rows: self.rows }
    }
}

/// A graph that nobody changes. Threads may share it.
#[derive(Clone, Copy, Debug)]
pub(in crate::vector) struct Searcher<'g> {
    handle: &'g Handle,
    rows: usize,
}

impl Searcher<'_> {
    /// Finds up to `k` rows near `query`. Without effort it goes down, no more, and what it finds is `above` for another.
    ///
    /// # Errors
    /// `Native` for a query of another dimension and when memory is short; `Unavailable` after a fork.
    pub(in crate::vector) fn search(
        &self,
        query: &[f32],
        above: Option<&Nearest>,
        k: usize,
        effort: usize,
    ) -> Result<Nearest> {
        let (mut found, starts) = Nearest::begin(k.min(self.rows), above);
        if k > 0 {
            self.handle.search(query, starts, effort.min(self.rows), &mut found)?;
        }
        Ok(found)
    }
}

/// Wraps `vdb_sketch_ways`: how many ways of [`sketch_scan`] this processor has, the last the fastest.
pub(in crate::vector) fn sketch_ways() -> c_int {
    // SAFETY: the function takes nothing and asks the processor alone.
    unsafe { vdb_sketch_ways() }
}

/// Wraps `vdb_sketch_scan`: writes wanted rows with their scores, from a word of the mask on, which becomes the word to go on with.
/// Returns how many.
///
/// # Errors
/// `Native` if the lengths disagree, or the processor does not have the way.
pub(in crate::vector) fn sketch_scan(
    sketches: &SketchParts<'_>,
    floor: f32,
    word: &mut usize,
    scores: &mut [f32],
    rows: &mut [u32],
) -> Result<usize> {
    let (mut message, mut found) = (Text::new(), 0);
    // SAFETY: the slices that `sketches` was made of are borrowed for as long as it lives; the others and `word` are valid for writes of
    // their own lengths, of which the lesser is given, and overlap nothing; the message buffer is valid for writes of TEXT_BYTES
    // bytes; all during the call, after which nothing is kept.
    let status = unsafe {
        vdb_sketch_scan(
            sketches,
            floor,
            word,
            scores.as_mut_ptr(),
            rows.as_mut_ptr(),
            scores.len().min(rows.len()),
            &raw mut found,
            message.as_mut_ptr(),
            TEXT_BYTES,
        )
    };
    check("vdb_sketch_scan", status, message)?;
    Ok(found)
}

/// Wraps `vdb_oracle_write`: writes what FAISS itself writes for these rows. `ids` empty: no id map; `m` 0: no graph.
///
/// # Errors
/// `Native` if `vectors` are no whole rows of `dim`, `ids` are not one for each row, or the write fails.
#[cfg(test)]
pub(in crate::vector) fn oracle_write(
    file: &std::fs::File,
    metric: c_int,
    dim: usize,
    (m, codes): (i32, i32),
    vectors: &[f32],
    ids: &[i64],
) -> Result<()> {
    use std::os::fd::AsRawFd;

    let mut message = Text::new();
    // SAFETY: both slices are valid for reads of their own lengths, the message buffer for writes of TEXT_BYTES bytes,
    // and `file` keeps the descriptor open, all during the call, after which the shim keeps nothing.
    let status = unsafe {
        vdb_oracle_write(
            file.as_raw_fd(),
            metric,
            dim,
            m,
            codes,
            vectors.as_ptr(),
            vectors.len(),
            ids.as_ptr(),
            ids.len(),
            message.as_mut_ptr(),
            TEXT_BYTES,
        )
    };
    check("vdb_oracle_write", status, message)
}
