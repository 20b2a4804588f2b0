// Sums over sketches, by the instructions that multiply bytes: those of AVX-512 that sum the products, too, or those of AVX2.
//
// Rows lie in groups of sixteen: for each eight dimensions four bytes of each row, of which the lower halves are the first four
// dimensions, the upper halves the others. So a register of AVX-512 holds these dimensions of all rows, one of AVX2 of half of
// them, and each of its lanes one row.
#include "shim.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <utility>

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
// The most dimensions that are scanned.
constexpr size_t DIMS_MAX = 128;
// What is read so many bytes later is asked for: a fifteenth of the time where all comes from beyond the second cache.
constexpr size_t AHEAD = 24 * CHUNK;
// The rows and the groups that a word of a mask tells of.
constexpr size_t WORD = 64;
constexpr size_t PARTS = WORD / GROUP;
// The rows that there is room for at least: those of the words that are looked at together.
constexpr size_t ROOM = 4 * WORD;

// The ways to scan, as `vdb_sketches` has them.
constexpr int NARROW = 1;
constexpr int WHOLE = 2;

int32_t four_of(const int8_t* weights) {
    int32_t four = 0;
    std::memcpy(&four, weights, sizeof(four));
    return four;
}

// Where rows are written.
struct Out {
    float* scores;
    uint32_t* rows;
    size_t found;
};

// AVX-512: two instructions for eight dimensions of a group.
class Whole {
  public:
    // The words of the mask that are looked at together.
    static constexpr size_t WORDS = 1;

    // Finds rows whose scores are not less than `floor`.
    Whole(const vdb_sketches& sketches, float floor) : sketches_(sketches), floor_(floor) {}

    // Adds those that words of the mask want.
    VDB_WHOLE void add_words(size_t word, Out& out) const {
        for (size_t part = 0; part < PARTS; ++part) {
            const unsigned wanted = sketches_.mask[word] >> (part * GROUP) & 0xFFFF;
            if (wanted != 0) {
                add(word * PARTS + part, wanted, out);
            }
        }
    }

  private:
    const vdb_sketches& sketches_;
    float floor_;

    VDB_WHOLE void add(size_t group, unsigned wanted, Out& out) const {
        const size_t first = group * GROUP;
        const __m512 all = scores_of(sketches_.codes + first * sketches_.dims / 2, first);
        // What is no number is not less.
        unsigned good = wanted & _mm512_cmp_ps_mask(all, _mm512_set1_ps(floor_), _CMP_NLT_UQ);
        _mm512_mask_compressstoreu_ps(out.scores + out.found, static_cast<__mmask16>(good), all);
        for (; good != 0; good &= good - 1) {
            out.rows[out.found++] = static_cast<uint32_t>(first) + static_cast<uint32_t>(__builtin_ctz(good));
        }
    }

    VDB_WHOLE __m512 scores_of(const uint8_t* codes, size_t first) const {
        const __m512i lower = _mm512_set1_epi8(0x0F);
        __m512i low = _mm512_setzero_si512();
        __m512i high = low;
        for (size_t at = 0; at * STEP < sketches_.dims; ++at) {
            const __m512i chunk = _mm512_loadu_si512(codes + at * CHUNK);
            _mm_prefetch(reinterpret_cast<const char*>(codes + at * CHUNK + AHEAD), _MM_HINT_T0);
            const __m512i upper = _mm512_and_si512(_mm512_srli_epi16(chunk, 4), lower);
            const int8_t* weights = sketches_.weights + at * STEP;
            low = _mm512_dpbusd_epi32(low, _mm512_and_si512(chunk, lower), _mm512_set1_epi32(four_of(weights)));
            high = _mm512_dpbusd_epi32(high, upper, _mm512_set1_epi32(four_of(weights + STEP / 2)));
        }
        const __m512 sums = _mm512_maskz_cvtepi32_ps(ALL, _mm512_add_epi32(low, high));
        const __m512 scores = _mm512_mul_ps(sums, _mm512_set1_ps(sketches_.unit));
        if (sketches_.biases_len == 0) {
            return scores;
        }
        const size_t biases = first < sketches_.biases_len ? std::min(GROUP, sketches_.biases_len - first) : 0;
        const auto some = static_cast<__mmask16>(ALL >> (GROUP - biases));
        return _mm512_sub_ps(scores, _mm512_maskz_loadu_ps(some, sketches_.biases + first));
    }
};

// AVX2, half a group at a time, of sketches of so many steps: then the weights of some stay in registers. Pairs of products are
// summed in 16 bits, which hold those of some steps, and those then in 32.
template <size_t STEPS>
class Narrow {
  public:
    static constexpr size_t WORDS = 4;

    Narrow(const vdb_sketches& sketches, float floor)
            : sketches_(sketches), floor_(floor), below_(below(floor, sketches.unit)) {
        for (size_t at = 0; at < 2 * STEPS * ROWS; ++at) {
            weights_[at] = four_of(sketches.weights + at / ROWS * (STEP / 2));
        }
    }

    VDB_NARROW void add_words(size_t word, Out& out) const {
        // A bit for each byte of the words that wants a row: there is no branch on each, which could not be foretold.
        uint32_t halves = 0;
        for (size_t n = 0; n < std::min(WORDS, sketches_.mask_len - word); ++n) {
            const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(sketches_.mask + word + n));
            const int empty = _mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_setzero_si128()));
            halves |= (~static_cast<uint32_t>(empty) & 0xFF) << (n * WORD / ROWS);
        }
        for (; halves != 0; halves &= halves - 1) {
            add(word * WORD / ROWS + static_cast<size_t>(__builtin_ctz(halves)), out);
        }
    }

  private:
    // The rows of a register.
    static constexpr size_t ROWS = 8;
    static_assert(WORDS * WORD / ROWS == 32, "there are more halves than bits");
    // A step adds at most four products of 15 and -128 to a number of 16 bits.
    static constexpr size_t SUMMED = 4;
    static_assert(SUMMED * 4 * 15 * 128 <= INT16_MAX, "sums of so many steps do not fit");

    const vdb_sketches& sketches_;
    float floor_;
    int32_t below_;
    // Those of half a step, once for each row of a register.
    alignas(32) int32_t weights_[2 * STEPS * ROWS];

    // What all sums exceed whose scores are not less than `floor`, whatever was lost by rounding; all do where that is no number.
    static int32_t below(float floor, float unit) {
        constexpr float MOST = 0x1p30F;
        const float sum = floor / unit;
        const float less = std::floor(sum - 1 - std::fabs(sum) * 0x1p-20F);
        return unit > 0 && less > -MOST ? static_cast<int32_t>(std::min(less, MOST)) : INT32_MIN;
    }

    VDB_NARROW void add(size_t half, Out& out) const {
        const size_t first = half * ROWS;
        const __m256i sums = sums_of(sketches_.codes + half / 2 * STEPS * CHUNK + half % 2 * (CHUNK / 2));
        unsigned good = reinterpret_cast<const uint8_t*>(sketches_.mask)[half];
        if (sketches_.biases_len == 0) {
            // Whole numbers tell sooner of nearly all.
            const __m256i is_more = _mm256_cmpgt_epi32(sums, _mm256_set1_epi32(below_));
            good &= static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(is_more)));
            if (good == 0) {
                return;
            }
        }
        const __m256 products = _mm256_mul_ps(_mm256_cvtepi32_ps(sums), _mm256_set1_ps(sketches_.unit));
        const __m256 all = _mm256_sub_ps(products, biases_of(first));
        // What is no number is not less.
        const __m256 is_good = _mm256_cmp_ps(all, _mm256_set1_ps(floor_), _CMP_NLT_UQ);
        good &= static_cast<unsigned>(_mm256_movemask_ps(is_good));
        if (good == 0) {
            return;
        }
        alignas(32) float scores[ROWS];
        _mm256_store_ps(scores, all);
        for (; good != 0; good &= good - 1) {
            const auto row = static_cast<uint32_t>(__builtin_ctz(good));
            out.scores[out.found] = scores[row];
            out.rows[out.found++] = static_cast<uint32_t>(first) + row;
        }
    }

    VDB_NARROW __m256 biases_of(size_t first) const {
        if (first + ROWS <= sketches_.biases_len) {
            return _mm256_loadu_ps(sketches_.biases + first);
        }
        alignas(32) float biases[ROWS] = {};
        if (first < sketches_.biases_len) {
            std::copy_n(sketches_.biases + first, sketches_.biases_len - first, biases);
        }
        return _mm256_load_ps(biases);
    }

    VDB_NARROW __m256i sums_of(const uint8_t* codes) const {
        const __m256i lower = _mm256_set1_epi8(0x0F);
        __m256i sums = _mm256_setzero_si256();
        __m256i some = sums;
#pragma GCC unroll 16
        for (size_t at = 0; at < STEPS; ++at) {
            const auto* chunks = reinterpret_cast<const __m256i*>(codes + at * CHUNK);
            const auto* weights = reinterpret_cast<const __m256i*>(weights_ + 2 * at * ROWS);
            _mm_prefetch(reinterpret_cast<const char*>(chunks) + AHEAD, _MM_HINT_T0);
            const __m256i chunk = _mm256_loadu_si256(chunks);
            const __m256i upper = _mm256_and_si256(_mm256_srli_epi16(chunk, 4), lower);
            const __m256i of_low = _mm256_maddubs_epi16(_mm256_and_si256(chunk, lower), weights[0]);
            const __m256i of_both = _mm256_add_epi16(of_low, _mm256_maddubs_epi16(upper, weights[1]));
            some = _mm256_add_epi16(some, of_both);
            if (at % SUMMED == SUMMED - 1 || at == STEPS - 1) {
                sums = _mm256_add_epi32(sums, _mm256_madd_epi16(some, _mm256_set1_epi16(1)));
                some = _mm256_setzero_si256();
            }
        }
        return sums;
    }
};

using Scan = size_t (*)(const vdb_sketches&, float, size_t*, Out, size_t);

template <class Way>
size_t scan(const vdb_sketches& sketches, float floor, size_t* word, Out out, size_t len) {
    static_assert(Way::WORDS * WORD <= ROOM, "there is no room for what is found");
    const Way way(sketches, floor);
    while (*word < sketches.mask_len && out.found + Way::WORDS * WORD <= len) {
        way.add_words(*word, out);
        *word = std::min(*word + Way::WORDS, sketches.mask_len);
    }
    return out.found;
}

template <size_t... N>
constexpr std::array<Scan, sizeof...(N)> narrow_scans(std::index_sequence<N...>) {
    return {scan<Narrow<N + 1>>...};
}

// By the steps of a sketch, from one on.
constexpr auto NARROW_SCANS = narrow_scans(std::make_index_sequence<DIMS_MAX / STEP>());

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
        require(sketches->dims <= DIMS_MAX, "dimensions are more than 128");
        require(sketches->weights_len == sketches->dims, "weights are not one for each dimension");
        require(sketches->codes_len / (GROUP * sketches->dims / 2) >= groups, "sketches are fewer than the mask tells of");
        require(groups * GROUP <= UINT32_MAX, "the mask is too long");
        require(len >= ROOM, "there is no room for what is found");
        const Scan scan_by = sketches->way == WHOLE ? scan<Whole> : NARROW_SCANS[sketches->dims / STEP - 1];
        *found = scan_by(*sketches, floor, word, Out{scores, rows, 0}, len);
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
