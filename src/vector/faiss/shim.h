// The C interface to FAISS: everything that Rust may call, with the shape of each argument.
//
// Rules for every function. It never throws and never ends the process by itself. It returns VDB_OK, or another status
// after writing a message, ended by a zero byte and cut if need be, into `message[0 .. message_len)`. Every array comes
// as a pointer with its number of elements and stays owned by the caller; nothing is kept after the call returns. A
// pointer may be null only if its count is zero.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define VDB_NOEXCEPT noexcept
extern "C" {
#else
#define VDB_NOEXCEPT
#endif

enum {
    VDB_OK = 0,
    // FAISS or the operating system reported an error: see the message.
    VDB_FAILED = 1,
    // An allocation failed. The message is a fixed text, so that writing it allocates nothing.
    VDB_NO_MEMORY = 2,
};

// Makes the linear algebra library run in the calling thread only, if it is OpenBLAS; any other is left as it is.
// Safe to call more than once, from one thread at a time.
int vdb_faiss_init(char* message, size_t message_len) VDB_NOEXCEPT;

// Writes FAISS's version, such as `1.12.0`, into `out[0 .. out_len)`, ended by a zero byte.
int vdb_faiss_version(char* out, size_t out_len, char* message, size_t message_len) VDB_NOEXCEPT;

// Writes FAISS's own account of how it was compiled, such as `OPTIMIZE AVX2 `, into `out[0 .. out_len)`, ended by a
// zero byte.
int vdb_faiss_compile_options(char* out, size_t out_len, char* message, size_t message_len) VDB_NOEXCEPT;

// Oracle of the tests, in an object file of its own that no program links.
//
// Writes a flat index in FAISS's own stream, by FAISS's own writer, to the open file descriptor `fd`.
// `vectors[0 .. vectors_len)` is row-major, vectors_len / dim rows of dim values; they are viewed, not copied.
// `metric` is 0 for the inner product, 1 for squared L2. With ids_len > 0 the index is wrapped in an id map of one id
// for each row, ids_len = vectors_len / dim.
int vdb_oracle_write_flat(
        int fd,
        int metric,
        size_t dim,
        const float* vectors,
        size_t vectors_len,
        const int64_t* ids,
        size_t ids_len,
        char* message,
        size_t message_len) VDB_NOEXCEPT;

#ifdef __cplusplus
}
#endif
