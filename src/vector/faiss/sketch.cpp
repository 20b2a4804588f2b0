// Sums over sketches, by the instructions of AVX-512 that sum products of bytes.
//
// Rows lie in groups of sixteen: for each eight dimensions four bytes of each row, of which the lower halves are the first four
// dimensions, the upper halves the others. So a register holds these dimensions of all rows, and each of its lanes one row.
#include "shim.h"

#include <algorithm>
#include <cstring>

#include "guard.h"
#include "whole.h"

#if defined(__x86_64__) && defined(__GNUC__)

namespace {

using vdb::ALL;
using vdb::require;

// The rows of a group, the dimensions of a step, and the bytes of both.
constexpr size_t GROUP = 16;
constexpr size_t STEP = 8;
constexpr size_t CHUNK = GROUP * STEP / 2;
// What is read so many bytes later is asked for: a fifteenth of the time where all comes from beyond the second cache.
constexpr size_t AHEAD = 24 * CHUNK;
// The groups that a word of a mask tells of.
constexpr size_t PARTS = 64 / GROUP;

// Four weights, again and again.
VDB_WHOLE __m512i four_of(const int8_t* weights) {
    int32_t four = 0;
    std::memcpy(&four, weights, sizeof(four));
    return _mm512_set1_epi32(four);
}

// The scores of a group.
VDB_WHOLE __m512 scores_of(const vdb_sketches& sketches, const uint8_t* group, size_t first) {
    const __m512i lower = _mm512_set1_epi8(0x0F);
    __m512i low = _mm512_setzero_si512();
    __m512i high = low;
    for (size_t at = 0; at * STEP < sketches.dims; ++at) {
        const __m512i chunk = _mm512_loadu_si512(group + at * CHUNK);
        _mm_prefetch(reinterpret_cast<const char*>(group + at * CHUNK + AHEAD), _MM_HINT_T0);
        const __m512i upper = _mm512_and_si512(_mm512_srli_epi16(chunk, 4), lower);
        low = _mm512_dpbusd_epi32(low, _mm512_and_si512(chunk, lower), four_of(sketches.weights + at * STEP));
        high = _mm512_dpbusd_epi32(high, upper, four_of(sketches.weights + at * STEP + STEP / 2));
    }
    const __m512 sums = _mm512_maskz_cvtepi32_ps(ALL, _mm512_add_epi32(low, high));
    const __m512 scores = _mm512_mul_ps(sums, _mm512_set1_ps(sketches.unit));
    if (sketches.biases_len == 0) {
        return scores;
    }
    const size_t left = first < sketches.biases_len ? std::min(GROUP, sketches.biases_len - first) : 0;
    const auto some = static_cast<__mmask16>(ALL >> (GROUP - left));
    return _mm512_sub_ps(scores, _mm512_maskz_loadu_ps(some, sketches.biases + first));
}

VDB_WHOLE size_t scan(const vdb_sketches& sketches, float floor, size_t* word, float* scores, uint32_t* rows, size_t len) {
    const size_t bytes = GROUP * sketches.dims / 2;
    const __m512 least = _mm512_set1_ps(floor);
    size_t found = 0;
    for (; *word < sketches.mask_len && found + 64 <= len; ++*word) {
        const uint64_t mask = sketches.mask[*word];
        for (size_t part = 0; part < PARTS && mask >> (part * GROUP) != 0; ++part) {
            const auto wanted = static_cast<__mmask16>(mask >> (part * GROUP));
            if (wanted == 0) {
                continue;
            }
            const size_t group = *word * PARTS + part;
            const __m512 all = scores_of(sketches, sketches.codes + group * bytes, group * GROUP);
            // What is no number is not less.
            unsigned good = wanted & _mm512_cmp_ps_mask(all, least, _CMP_NLT_UQ);
            _mm512_mask_compressstoreu_ps(scores + found, static_cast<__mmask16>(good), all);
            for (; good != 0; good &= good - 1) {
                rows[found] = static_cast<uint32_t>(group * GROUP) + static_cast<uint32_t>(__builtin_ctz(good));
                ++found;
            }
        }
    }
    return found;
}

} // namespace

int vdb_sketch_scan(
        const vdb_sketches* sketches,
        float floor,
        size_t* word,
        float* scores,
        uint32_t* rows,
        size_t len,
        size_t* found,
        char* message,
        size_t message_len) noexcept {
    return vdb::guarded(message, message_len, [&] {
        const size_t groups = sketches->mask_len * PARTS;
        require(vdb::has_whole(), "the processor cannot sum products of bytes");
        require(sketches->dims > 0 && sketches->dims % STEP == 0, "dimensions are no multiple of 8");
        require(sketches->weights_len == sketches->dims, "weights are not one for each dimension");
        require(sketches->codes_len / (GROUP * sketches->dims / 2) >= groups, "sketches are fewer than the mask tells of");
        require(groups * GROUP <= UINT32_MAX, "the mask is too long");
        require(len >= 64, "there is no room for what is found");
        *found = scan(*sketches, floor, word, scores, rows, len);
    });
}

int vdb_sketch_able() noexcept {
    return vdb::has_whole() ? 1 : 0;
}

#else

int vdb_sketch_scan(
        const vdb_sketches*,
        float,
        size_t*,
        float*,
        uint32_t*,
        size_t,
        size_t*,
        char* message,
        size_t message_len) noexcept {
    return vdb::guarded(message, message_len, [] { vdb::require(false, "the processor cannot sum products of bytes"); });
}

int vdb_sketch_able() noexcept {
    return 0;
}

#endif
