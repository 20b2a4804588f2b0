//! Declares the C functions of `shim.h` behind safe Rust functions of the same names.
#![expect(unsafe_code, reason = "the only caller of the C++ shim")]

use std::ffi::{CStr, c_char, c_int};

use crate::error::{Error, Result};

// Nothing of its Rust interface is used: naming it makes Cargo link the FAISS that it builds.
#[cfg(feature = "faiss-bundled")]
use faiss_sys as _;

/// Room for a message or a short text of the shim, in bytes.
const TEXT_BYTES: usize = 512;

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
    #[cfg(test)]
    fn vdb_oracle_write_flat(
        fd: c_int,
        metric: c_int,
        dim: usize,
        vectors: *const f32,
        vectors_len: usize,
        ids: *const i64,
        ids_len: usize,
        message: *mut c_char,
        message_len: usize,
    ) -> c_int;
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

/// Wraps `vdb_oracle_write_flat`: writes what FAISS itself writes for these rows. `ids` empty: no id map.
///
/// # Errors
/// `Native` if `vectors` are no whole rows of `dim`, `ids` are not one for each row, or the write fails.
#[cfg(test)]
pub(in crate::vector) fn oracle_write_flat(
    file: &std::fs::File,
    metric: c_int,
    dim: usize,
    vectors: &[f32],
    ids: &[i64],
) -> Result<()> {
    use std::os::fd::AsRawFd;

    let mut message = Text::new();
    // SAFETY: both slices are valid for reads of their own lengths, the message buffer for writes of TEXT_BYTES bytes,
    // and `file` keeps the descriptor open, all during the call, after which the shim keeps nothing.
    let status = unsafe {
        vdb_oracle_write_flat(
            file.as_raw_fd(),
            metric,
            dim,
            vectors.as_ptr(),
            vectors.len(),
            ids.as_ptr(),
            ids.len(),
            message.as_mut_ptr(),
            TEXT_BYTES,
        )
    };
    check("vdb_oracle_write_flat", status, message)
}
