// Distances from a query to the rows of a graph, and between rows: smaller is nearer.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

// Compiles one function for AVX2, whatever the rest is compiled for.
#define VDB_NARROW __attribute__((target("avx2,fma,f16c")))
#endif

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include <faiss/impl/DistanceComputer.h>
#include <faiss/impl/ScalarQuantizer.h>
#include <faiss/utils/distances.h>

namespace vdb {

using faiss::ScalarQuantizer;

// Bytes of a cache line.
constexpr size_t LINE = 64;

// Tells the processor that `bytes` from `address` on will be read soon.
inline void fetch(const uint8_t* address, size_t bytes) {
    for (size_t at = 0; at < bytes; at += LINE) {
        __builtin_prefetch(address + at);
    }
}

// The values of bytes: `start + step * byte` in each dimension.
struct ByteScale {
    explicit ByteScale(const ScalarQuantizer& quantizer) : start(quantizer.d), step(quantizer.d) {
        for (size_t at = 0; at < quantizer.d; ++at) {
            step[at] = quantizer.trained[quantizer.d + at] / 255.F;
            start[at] = quantizer.trained[at] + 0.5F * step[at];
        }
    }

    std::vector<float> start;
    std::vector<float> step;
};

#if defined(__x86_64__) && defined(__GNUC__)

VDB_NARROW inline float total(__m256 sum) {
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps(sum, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

#endif

// NaN as infinitely far: the heap of a search gives -1 for a node at the distance NaN, and then reads outside its links.
inline float sound(float distance) {
    return std::isnan(distance) ? std::numeric_limits<float>::infinity() : distance;
}

// Distances from a query to rows, and between rows.
struct Distances : faiss::DistanceComputer {
    // Writes the distances from the query to each of some rows. While some are compared, the next are fetched.
    virtual void many(const int32_t* rows, size_t count, float* out) {
        constexpr size_t GROUP = 4;
        fetch_rows(rows, count < GROUP ? count : GROUP);
        size_t at = 0;
        for (; at + GROUP <= count; at += GROUP) {
            const size_t next = at + GROUP;
            fetch_rows(rows + next, count - next < GROUP ? count - next : GROUP);
            distances_batch_4(
                    rows[at], rows[at + 1], rows[at + 2], rows[at + 3], out[at], out[at + 1], out[at + 2], out[at + 3]);
        }
        for (; at < count; ++at) {
            out[at] = (*this)(rows[at]);
        }
    }

    // Tells the processor that some rows will be read soon.
    virtual void fetch_rows(const int32_t* rows, size_t count) const = 0;

    // Takes a row to compare others with, about so many. The query stays as it is.
    virtual void set_row(int32_t row, size_t) {
        compared_ = row;
    }

    // Writes the distances from that row to each of some others.
    virtual void many_of_row(const int32_t* rows, size_t count, float* out) {
        for (size_t at = 0; at < count; ++at) {
            out[at] = symmetric_dis(rows[at], compared_);
        }
    }

  protected:
    int32_t compared_ = 0;
};

// Distances to rows that are vectors of f32.
struct FlatDistances final : Distances {
    FlatDistances(const float* rows, size_t dim, bool similar) : rows_(rows), dim_(dim), similar_(similar) {}

    void set_query(const float* query) override {
        query_ = query;
    }

    float operator()(faiss::idx_t i) override {
        return between(query_, row(i));
    }

    void distances_batch_4(
            const faiss::idx_t i0,
            const faiss::idx_t i1,
            const faiss::idx_t i2,
            const faiss::idx_t i3,
            float& d0,
            float& d1,
            float& d2,
            float& d3) override {
        const std::array<const float*, 4> rows = {row(i0), row(i1), row(i2), row(i3)};
        if (similar_) {
            faiss::fvec_inner_product_batch_4(query_, rows[0], rows[1], rows[2], rows[3], dim_, d0, d1, d2, d3);
            d0 = -d0, d1 = -d1, d2 = -d2, d3 = -d3;
        } else {
            faiss::fvec_L2sqr_batch_4(query_, rows[0], rows[1], rows[2], rows[3], dim_, d0, d1, d2, d3);
        }
        d0 = sound(d0), d1 = sound(d1), d2 = sound(d2), d3 = sound(d3);
    }

    float symmetric_dis(faiss::idx_t i, faiss::idx_t j) override {
        return between(row(i), row(j));
    }

    void fetch_rows(const int32_t* rows, size_t count) const override {
        for (size_t at = 0; at < count; ++at) {
            fetch(reinterpret_cast<const uint8_t*>(row(rows[at])), dim_ * sizeof(float));
        }
    }

  private:
    const float* row(faiss::idx_t i) const {
        return rows_ + static_cast<size_t>(i) * dim_;
    }

    float between(const float* a, const float* b) const {
        return sound(similar_ ? -faiss::fvec_inner_product(a, b, dim_) : faiss::fvec_L2sqr(a, b, dim_));
    }

    const float* rows_;
    size_t dim_;
    bool similar_;
    const float* query_ = nullptr;
};

// Distances to rows that are codes of a quantiser.
struct CodeDistances : Distances {
    CodeDistances(const ScalarQuantizer& quantizer, const uint8_t* codes, bool similar)
            : base_(quantizer.get_distance_computer(similar ? faiss::METRIC_INNER_PRODUCT : faiss::METRIC_L2)),
              sign_(similar ? -1.0F : 1.0F) {
        base_->codes = codes;
        base_->code_size = quantizer.code_size;
    }

    void set_query(const float* query) override {
        base_->set_query(query);
    }

    float operator()(faiss::idx_t i) override {
        return sound(sign_ * base_->query_to_code(code(i)));
    }

    void distances_batch_4(
            const faiss::idx_t i0,
            const faiss::idx_t i1,
            const faiss::idx_t i2,
            const faiss::idx_t i3,
            float& d0,
            float& d1,
            float& d2,
            float& d3) override {
        const std::array<const uint8_t*, 4> rows = {code(i0), code(i1), code(i2), code(i3)};
        const std::array<float, 4> found = four(rows);
        d0 = sound(sign_ * found[0]), d1 = sound(sign_ * found[1]);
        d2 = sound(sign_ * found[2]), d3 = sound(sign_ * found[3]);
    }

    float symmetric_dis(faiss::idx_t i, faiss::idx_t j) override {
        return sound(sign_ * base_->symmetric_dis(i, j));
    }

    void fetch_rows(const int32_t* rows, size_t count) const override {
        for (size_t at = 0; at < count; ++at) {
            fetch(code(rows[at]), base_->code_size);
        }
    }

  protected:
    // FAISS's distances from the query to four codes.
    virtual std::array<float, 4> four(const std::array<const uint8_t*, 4>& rows) const {
        std::array<float, 4> found{};
        for (size_t row = 0; row < rows.size(); ++row) {
            found[row] = base_->query_to_code(rows[row]);
        }
        return found;
    }

    const uint8_t* code(faiss::idx_t i) const {
        return base_->codes + static_cast<size_t>(i) * base_->code_size;
    }

    std::unique_ptr<ScalarQuantizer::SQDistanceComputer> base_;
    float sign_;
};

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)

// Eight values of a code of half precision.
struct HalfValues {
    explicit HalfValues(const ScalarQuantizer&) {}

    __m256 operator()(const uint8_t* code, size_t at) const {
        return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(code + 2 * at)));
    }
};

// Eight values of a code of one byte a value.
struct ByteValues {
    explicit ByteValues(const ScalarQuantizer& quantizer)
            : least(quantizer.trained.data()), width(quantizer.trained.data() + quantizer.d) {}

    __m256 operator()(const uint8_t* code, size_t at) const {
        const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(code + at));
        const __m256 wide = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
        const __m256 part = _mm256_fmadd_ps(wide, _mm256_set1_ps(1.F / 255.F), _mm256_set1_ps(0.5F / 255.F));
        return _mm256_fmadd_ps(part, _mm256_loadu_ps(width + at), _mm256_loadu_ps(least + at));
    }

    const float* least;
    const float* width;
};

// Sums four rows side by side, so that none waits for its own additions. The same operations in the same order for each
// row as in FAISS's computer for dimensions that are multiples of eight, so the same bits.
template <class Values, bool SIMILAR>
struct FourDistances final : CodeDistances {
    FourDistances(const ScalarQuantizer& quantizer, const uint8_t* codes)
            : CodeDistances(quantizer, codes, SIMILAR), values_(quantizer), dim_(quantizer.d) {}

  protected:
    std::array<float, 4> four(const std::array<const uint8_t*, 4>& rows) const override {
        __m256 sums[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
        for (size_t at = 0; at < dim_; at += 8) {
            const __m256 query = _mm256_loadu_ps(base_->q + at);
            for (size_t row = 0; row < 4; ++row) {
                const __m256 value = values_(rows[row], at);
                if (SIMILAR) {
                    sums[row] = _mm256_fmadd_ps(query, value, sums[row]);
                } else {
                    const __m256 difference = _mm256_sub_ps(query, value);
                    sums[row] = _mm256_fmadd_ps(difference, difference, sums[row]);
                }
            }
        }
        return {total(sums[0]), total(sums[1]), total(sums[2]), total(sums[3])};
    }

  private:
    Values values_;
    size_t dim_;
};

template <class Values>
std::unique_ptr<Distances> four_distances(
        const ScalarQuantizer& quantizer,
        const uint8_t* codes,
        bool similar) {
    if (similar) {
        return std::make_unique<FourDistances<Values, true>>(quantizer, codes);
    }
    return std::make_unique<FourDistances<Values, false>>(quantizer, codes);
}

#endif

// The fastest distances to these codes.
inline std::unique_ptr<Distances> code_distances(
        const ScalarQuantizer& quantizer,
        const uint8_t* codes,
        bool similar) {
#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
    if (quantizer.d % 8 == 0) {
        return quantizer.qtype == ScalarQuantizer::QT_fp16 ? four_distances<HalfValues>(quantizer, codes, similar)
                                                           : four_distances<ByteValues>(quantizer, codes, similar);
    }
#endif
    return std::make_unique<CodeDistances>(quantizer, codes, similar);
}

} // namespace vdb
