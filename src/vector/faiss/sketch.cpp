// Sums over sketches, by the instructions that multiply bytes: those of AVX-512 that sum the products, too, or those of AVX2.
//
// Rows lie in groups of sixteen: for each eight dimensions four bytes of each row, of which the lower halves are the first four
// dimensions, the upper halves the others. So a register of AVX-512 holds these dimensions of all rows, one of AVX2 of half of
// them, and each of its lanes one row.
#include "shim.h"

#include <algorithm>
#include <cstring>

#include "guard.h"
#include "narrow.h"
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

// The ways to scan, as `vdb_sketches` has them.
constexpr int NARROW = 1;
constexpr int WHOLE = 2;

int32_t four_of(const int8_t* weights) {
    int32_t four = 0;
    std::memcpy(&four, weights, sizeof(four));
    return four;
}

// How many rows of the group that begins with `first` have a bias.
size_t biases_of(const vdb_sketches& sketches, size_t first) {
    return first < sketches.biases_len ? std::min(GROUP, sketches.biases_len - first) : 0;
}

// Where rows are written.
struct Out {
    float* scores;
    uint32_t* rows;
    size_t found;
};

// AVX-512: two instructions for eight dimensions of a group.
struct Whole {
    // Adds what a word of the mask wants of the rows whose scores are not less than `floor`.
    VDB_WHOLE static void add_word(const vdb_sketches& sketches, size_t word, float floor, Out& out) {
        for (size_t part = 0; part < PARTS; ++part) {
            const unsigned wanted = sketches.mask[word] >> (part * GROUP) & 0xFFFF;
            if (wanted != 0) {
                add(sketches, word * PARTS + part, wanted, floor, out);
            }
        }
    }

  private:
    VDB_WHOLE static void add(const vdb_sketches& sketches, size_t group, unsigned wanted, float floor, Out& out) {
        const size_t first = group * GROUP;
        const __m512 all = scores_of(sketches, sketches.codes + first * sketches.dims / 2, first);
        // What is no number is not less.
        unsigned good = wanted & _mm512_cmp_ps_mask(all, _mm512_set1_ps(floor), _CMP_NLT_UQ);
        _mm512_mask_compressstoreu_ps(out.scores + out.found, static_cast<__mmask16>(good), all);
        for (; good != 0; good &= good - 1) {
            out.rows[out.found++] = static_cast<uint32_t>(first) + static_cast<uint32_t>(__builtin_ctz(good));
        }
    }

    VDB_WHOLE static __m512 scores_of(const vdb_sketches& sketches, const uint8_t* codes, size_t first) {
        const __m512i lower = _mm512_set1_epi8(0x0F);
        __m512i low = _mm512_setzero_si512();
        __m512i high = low;
        for (size_t at = 0; at * STEP < sketches.dims; ++at) {
            const __m512i chunk = _mm512_loadu_si512(codes + at * CHUNK);
            _mm_prefetch(reinterpret_cast<const char*>(codes + at * CHUNK + AHEAD), _MM_HINT_T0);
            const __m512i upper = _mm512_and_si512(_mm512_srli_epi16(chunk, 4), lower);
            const int8_t* weights = sketches.weights + at * STEP;
            low = _mm512_dpbusd_epi32(low, _mm512_and_si512(chunk, lower), _mm512_set1_epi32(four_of(weights)));
            high = _mm512_dpbusd_epi32(high, upper, _mm512_set1_epi32(four_of(weights + STEP / 2)));
        }
        const __m512 sums = _mm512_maskz_cvtepi32_ps(ALL, _mm512_add_epi32(low, high));
        const __m512 scores = _mm512_mul_ps(sums, _mm512_set1_ps(sketches.unit));
        if (sketches.biases_len == 0) {
            return scores;
        }
        const auto some = static_cast<__mmask16>(ALL >> (GROUP - biases_of(sketches, first)));
        return _mm512_sub_ps(scores, _mm512_maskz_loadu_ps(some, sketches.biases + first));
    }
};

// AVX2: pairs of products are summed in 16 bits, which hold those of some steps, and those then in 32.
struct Narrow {
    // Adds what a word of the mask wants of the rows whose scores are not less than `floor`.
    VDB_NARROW static void add_word(const vdb_sketches& sketches, size_t word, float floor, Out& out) {
        for (size_t part = 0; part < PARTS; ++part) {
            const unsigned wanted = sketches.mask[word] >> (part * GROUP) & 0xFFFF;
            if (wanted != 0) {
                add(sketches, word * PARTS + part, wanted, floor, out);
            }
        }
    }

  private:
    // The rows of a register.
    static constexpr size_t ROWS = 8;
    static constexpr size_t HALVES = GROUP / ROWS;
    // A step adds at most four products of 15 and -128 to a number of 16 bits.
    static constexpr size_t STEPS = 4;
    static_assert(STEPS * 4 * 15 * 128 <= INT16_MAX, "sums of so many steps do not fit");

    VDB_NARROW static void add(const vdb_sketches& sketches, size_t group, unsigned wanted, float floor, Out& out) {
        const size_t first = group * GROUP;
        __m256i sums[HALVES];
        sums_of(sketches, sketches.codes + first * sketches.dims / 2, sums);
        alignas(32) float scores[GROUP];
        alignas(32) float biases[GROUP] = {};
        if (const size_t some = biases_of(sketches, first); some > 0) {
            std::copy_n(sketches.biases + first, some, biases);
        }
        unsigned good = 0;
        for (size_t half = 0; half < HALVES; ++half) {
            const __m256 products = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[half]), _mm256_set1_ps(sketches.unit));
            const __m256 all = _mm256_sub_ps(products, _mm256_load_ps(biases + half * ROWS));
            _mm256_store_ps(scores + half * ROWS, all);
            // What is no number is not less.
            const __m256 is_good = _mm256_cmp_ps(all, _mm256_set1_ps(floor), _CMP_NLT_UQ);
            good |= static_cast<unsigned>(_mm256_movemask_ps(is_good)) << (half * ROWS);
        }
        for (good &= wanted; good != 0; good &= good - 1) {
            const auto row = static_cast<uint32_t>(__builtin_ctz(good));
            out.scores[out.found] = scores[row];
            out.rows[out.found++] = static_cast<uint32_t>(first) + row;
        }
    }

    VDB_NARROW static void sums_of(const vdb_sketches& sketches, const uint8_t* codes, __m256i* sums) {
        const __m256i lower = _mm256_set1_epi8(0x0F);
        const __m256i one = _mm256_set1_epi16(1);
        const size_t steps = sketches.dims / STEP;
        sums[0] = sums[1] = _mm256_setzero_si256();
        for (size_t from = 0; from < steps; from += STEPS) {
            __m256i some[HALVES] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
            for (size_t at = from; at < std::min(steps, from + STEPS); ++at) {
                const int8_t* weights = sketches.weights + at * STEP;
                const __m256i low = _mm256_set1_epi32(four_of(weights));
                const __m256i high = _mm256_set1_epi32(four_of(weights + STEP / 2));
                const auto* chunks = reinterpret_cast<const __m256i*>(codes + at * CHUNK);
                _mm_prefetch(reinterpret_cast<const char*>(chunks) + AHEAD, _MM_HINT_T0);
                for (size_t half = 0; half < HALVES; ++half) {
                    const __m256i chunk = _mm256_loadu_si256(chunks + half);
                    const __m256i upper = _mm256_and_si256(_mm256_srli_epi16(chunk, 4), lower);
                    const __m256i of_low = _mm256_maddubs_epi16(_mm256_and_si256(chunk, lower), low);
                    const __m256i of_both = _mm256_add_epi16(of_low, _mm256_maddubs_epi16(upper, high));
                    some[half] = _mm256_add_epi16(some[half], of_both);
                }
            }
            for (size_t half = 0; half < HALVES; ++half) {
                sums[half] = _mm256_add_epi32(sums[half], _mm256_madd_epi16(some[half], one));
            }
        }
    }
};

template <class Way>
size_t scan(const vdb_sketches& sketches, float floor, size_t* word, float* scores, uint32_t* rows, size_t len) {
    Out out = {scores, rows, 0};
    for (; *word < sketches.mask_len && out.found + 64 <= len; ++*word) {
        Way::add_word(sketches, *word, floor, out);
    }
    return out.found;
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
        require(sketches->way > 0 && sketches->way <= vdb_sketch_ways(), "the processor cannot scan in this way");
        require(sketches->dims > 0 && sketches->dims % STEP == 0, "dimensions are no multiple of 8");
        require(sketches->weights_len == sketches->dims, "weights are not one for each dimension");
        require(sketches->codes_len / (GROUP * sketches->dims / 2) >= groups, "sketches are fewer than the mask tells of");
        require(groups * GROUP <= UINT32_MAX, "the mask is too long");
        require(len >= 64, "there is no room for what is found");
        const auto scan_by = sketches->way == WHOLE ? scan<Whole> : scan<Narrow>;
        *found = scan_by(*sketches, floor, word, scores, rows, len);
    });
}

int vdb_sketch_ways() noexcept {
    if (vdb::has_whole()) {
        return WHOLE;
    }
    return vdb::has_narrow() ? NARROW : 0;
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
    return vdb::guarded(message, message_len, [] { vdb::require(false, "the processor cannot scan in this way"); });
}

int vdb_sketch_ways() noexcept {
    return 0;
}

#endif
