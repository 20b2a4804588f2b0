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

// Kinds of codes of a vector of `dim` values.
enum {
    // As they are: 4 * dim bytes.
    VDB_CODES_F32 = 0,
    // Half precision: 2 * dim bytes.
    VDB_CODES_F16 = 1,
    // Eight bits each, over a range of its own for each dimension: dim bytes. Only these are trained: `trained` holds the
    // least value of each dimension, then the width of its range, 2 * dim values.
    VDB_CODES_SQ8 = 2,
};

// The most links of a row in each level above the lowest, which has twice as many.
enum { VDB_HNSW_M_MAX = 256 };

// The most levels of a row, reached by 2 links a level.
enum { VDB_HNSW_LEVELS_MAX = 64 };

// Draws the number of levels of each row, 1 or more, and the order in which rows are added: higher ones first, shuffled.
// Both are those of FAISS's `IndexHNSW`. `order[0]` becomes the entry point. Writes the chance of each level, the lowest
// first, and 0 where there is none, to `chances[0 .. chances_len)`, chances_len = VDB_HNSW_LEVELS_MAX.
int vdb_hnsw_plan(
        int32_t m,
        double* chances,
        size_t chances_len,
        uint8_t* levels,
        size_t levels_len,
        int32_t* order,
        size_t order_len,
        char* message,
        size_t message_len) VDB_NOEXCEPT;

// Writes the codes of `vectors[0 .. vectors_len)`, row-major, to `codes[0 .. codes_len)`.
int vdb_codes_encode(
        int32_t kind,
        size_t dim,
        const float* trained,
        size_t trained_len,
        const float* vectors,
        size_t vectors_len,
        uint8_t* codes,
        size_t codes_len,
        char* message,
        size_t message_len) VDB_NOEXCEPT;

// A graph of nearest neighbours over codes and links that it only views.
typedef struct vdb_hnsw vdb_hnsw;

// What a graph is made of. `links` and `codes` must stay where they are until it is closed, unchanged but for the links,
// which `vdb_hnsw_add` writes; the rest is copied. Lengths, levels and the entry point are checked here: before the first
// search the caller has checked that each link is -1 or a row that has the level in which the link is.
typedef struct vdb_hnsw_parts {
    int32_t kind;
    // 0 for the inner product, 1 for squared L2.
    int32_t metric;
    size_t dim;
    // Links of a row in each level above the lowest, which has twice as many; 2 .. VDB_HNSW_M_MAX.
    int32_t m;
    // How many candidates are looked at for the links of a new row.
    int32_t ef_construction;
    // With how many rows a search, or a new row, goes down to its level, one or more. With one alone it may end among rows that are
    // near each other and far from it, and no effort in the lowest level leads out of there.
    int32_t ways;
    // A row with the most levels, and the number of these less one.
    int32_t entry_point;
    int32_t max_level;
    // The number of levels of each row, one or more.
    const uint8_t* levels;
    size_t levels_len;
    // For each row, for each of its levels from the lowest: the rows linked to, then -1.
    int32_t* links;
    size_t links_len;
    // The quantiser's ranges; copied.
    const float* trained;
    size_t trained_len;
    // One code for each row.
    const uint8_t* codes;
    size_t codes_len;
} vdb_hnsw_parts;

// Makes a graph. On failure `*out` is null. Allocates some two bytes a row.
int vdb_hnsw_open(const vdb_hnsw_parts* parts, vdb_hnsw** out, char* message, size_t message_len) VDB_NOEXCEPT;

// Ends a graph; null is allowed. No other call may use it then.
void vdb_hnsw_close(vdb_hnsw* graph) VDB_NOEXCEPT;

// Links `rows[0 .. rows_len)`, none of which was added before, to rows added before. `vectors` holds what each was
// encoded from, row-major. Several threads may call it at once, if none searches. The entry point counts as added.
// Each thread at work takes a byte for each row of the graph, kept for the next call.
int vdb_hnsw_add(
        vdb_hnsw* graph,
        const int32_t* rows,
        size_t rows_len,
        const float* vectors,
        size_t vectors_len,
        char* message,
        size_t message_len) VDB_NOEXCEPT;

// Finds the nearest rows: writes them, nearest first, with -1 after the last, to `rows[0 .. rows_len)`, and their
// distances to `distances[0 .. distances_len)`: squared L2, or minus the inner product. `effort` candidates are followed,
// or rows_len if that is more; with none it ends above the lowest level, with the rows that it would go down with. What
// such a search has written may be given to another: the first `starts` of `rows` and `distances`, from which it goes on.
// `*computed` becomes the number of distances computed. Several threads may search at once; each at work takes a byte for each
// row of the graph, kept for the next call.
int vdb_hnsw_search(
        vdb_hnsw* graph,
        const float* query,
        size_t query_len,
        size_t starts,
        size_t effort,
        float* distances,
        size_t distances_len,
        int64_t* rows,
        size_t rows_len,
        uint64_t* computed,
        char* message,
        size_t message_len) VDB_NOEXCEPT;

// Sketches of rows, in groups of 16: for each eight dimensions four bytes of each row, of which the lower halves are the codes of
// the first four, the upper halves those of the others.
typedef struct vdb_sketches {
    // From 1 to `vdb_sketch_ways`.
    int way;
    // A multiple of 8, at most 128.
    size_t dims;
    // A weight for each dimension.
    const int8_t* weights;
    size_t weights_len;
    // What a sum of weighted codes counts, and what is taken from it for each row, or nothing.
    float unit;
    const float* biases;
    size_t biases_len;
    // As many groups as the mask has words, times four; more may follow.
    const uint8_t* codes;
    size_t codes_len;
    // A bit for each row that is wanted, the first in the lowest bit; those beyond the last row are zero.
    const uint64_t* mask;
    size_t mask_len;
} vdb_sketches;

// How many ways of `vdb_sketch_scan` this processor has the instructions for: 0, 1 (AVX2), or 2 (those of AVX-512 that sum products
// of bytes, which are faster, as well).
int vdb_sketch_ways(void) VDB_NOEXCEPT;

// Writes wanted rows whose scores are not less than `floor`, with their scores, in their order, from the word `*word` of the mask
// on. `*word` becomes the word to go on with: the end of the mask, or where there was no room for 256 more of `len` rows, len >= 256.
// `*found` becomes the number of rows written.
int vdb_sketch_scan(
        const vdb_sketches* sketches,
        float floor,
        size_t* word,
        float* scores,
        uint32_t* rows,
        size_t len,
        size_t* found,
        char* message,
        size_t message_len) VDB_NOEXCEPT;

// Oracle of the tests, in an object file of its own that no program links.
//
// Writes an index in FAISS's own stream, by FAISS's own writer, to the open file descriptor `fd`.
// `vectors[0 .. vectors_len)` is row-major, vectors_len / dim rows of dim values. `metric` is 0 for the inner product, 1 for
// squared L2. With m = 0 the index is flat and views the vectors; with ids_len > 0 it is wrapped in an id map of one id for
// each row, ids_len = vectors_len / dim. With m > 0 it is a graph over codes of this kind, built by one thread.
int vdb_oracle_write(
        int fd,
        int metric,
        size_t dim,
        int32_t m,
        int32_t codes,
        const float* vectors,
        size_t vectors_len,
        const int64_t* ids,
        size_t ids_len,
        char* message,
        size_t message_len) VDB_NOEXCEPT;

#ifdef __cplusplus
}
#endif
