// Weights of a query for `bytes.h`, by AVX2: a weight is rounded to 16 bits, or as many as its sums allow.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "bytes.h"

#if defined(__x86_64__) && defined(__GNUC__)

namespace vdb {

// Whether this processor has what VDB_NARROW is compiled for.
inline bool has_narrow() {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

class NarrowWeights {
  public:
    explicit NarrowWeights(const ScalarQuantizer& quantizer)
            : dim_(quantizer.d), most_(most(dim_)), bytes_(quantizer), factors_(dim_), weights_(dim_) {}

    // Takes the weights of a vector.
    VDB_NARROW void set_vector(const float* vector) {
        set([vector](size_t at) VDB_NARROW { return _mm256_loadu_ps(vector + at); });
    }

    // Takes those of the vector that a code stands for.
    VDB_NARROW void set_code(const uint8_t* code) {
        set([this, code](size_t at) VDB_NARROW { return value(code, at); });
    }

    // Minus the product of two vectors that codes stand for.
    VDB_NARROW float between(const uint8_t* a, const uint8_t* b) const {
        __m256 sums[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
        for (size_t at = 0; at < dim_; at += 2 * EIGHT) {
            sums[0] = _mm256_fmadd_ps(value(a, at), value(b, at), sums[0]);
            sums[1] = _mm256_fmadd_ps(value(a, at + EIGHT), value(b, at + EIGHT), sums[1]);
        }
        return sound(-total(_mm256_add_ps(sums[0], sums[1])));
    }

    // Minus the products with `N` codes, side by side.
    template <size_t N>
    VDB_NARROW void some(const uint8_t* const* codes, float* out) const {
        __m256i sums[N];
        for (size_t n = 0; n < N; ++n) {
            sums[n] = _mm256_setzero_si256();
        }
        for (size_t at = 0; at < dim_; at += 2 * EIGHT) {
            const __m256i weights = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(&weights_[at]));
            for (size_t n = 0; n < N; ++n) {
                const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(codes[n] + at));
                const __m256i pairs = _mm256_madd_epi16(_mm256_cvtepu8_epi16(bytes), weights);
                sums[n] = _mm256_add_epi32(sums[n], pairs);
            }
        }
        for (size_t n = 0; n < N; ++n) {
            out[n] = sound(-(base_ + scale_ * total(_mm256_cvtepi32_ps(sums[n]))));
        }
    }

  private:
    static constexpr size_t EIGHT = 8;

    // The greatest weight with which none of eight sums of 32 bits is exceeded, whatever the bytes are.
    static float most(size_t dim) {
        const size_t bound = INT32_MAX / (255 * std::max<size_t>(dim / EIGHT, 1));
        return static_cast<float>(std::min<size_t>(bound, INT16_MAX));
    }

    // Eight values of a code.
    VDB_NARROW __m256 value(const uint8_t* code, size_t at) const {
        const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(code + at));
        const __m256 wide = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
        return _mm256_fmadd_ps(wide, _mm256_loadu_ps(&bytes_.step[at]), _mm256_loadu_ps(&bytes_.start[at]));
    }

    template <typename Values>
    VDB_NARROW void set(Values values) {
        __m256 base = _mm256_setzero_ps();
        __m256 most = _mm256_setzero_ps();
        for (size_t at = 0; at < dim_; at += EIGHT) {
            const __m256 vector = values(at);
            base = _mm256_fmadd_ps(vector, _mm256_loadu_ps(&bytes_.start[at]), base);
            const __m256 factor = _mm256_mul_ps(vector, _mm256_loadu_ps(&bytes_.step[at]));
            most = _mm256_max_ps(_mm256_andnot_ps(_mm256_set1_ps(-0.F), factor), most);
            _mm256_storeu_ps(&factors_[at], factor);
        }
        base_ = total(base);
        alignas(32) float each[EIGHT];
        _mm256_store_ps(each, most);
        const float largest = *std::max_element(each, each + EIGHT);
        scale_ = largest / most_;
        const __m256 inverse = _mm256_set1_ps(largest > 0 ? most_ / largest : 0);
        for (size_t at = 0; at < dim_; at += EIGHT) {
            const __m256i weight = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(&factors_[at]), inverse));
            const __m128i high = _mm256_extracti128_si256(weight, 1);
            const __m128i packed = _mm_packs_epi32(_mm256_castsi256_si128(weight), high);
            _mm_storeu_si128(reinterpret_cast<__m128i*>(&weights_[at]), packed);
        }
    }

    size_t dim_;
    float most_;
    ByteScale bytes_;
    std::vector<float> factors_;
    std::vector<int16_t> weights_;
    float base_ = 0;
    float scale_ = 0;
};

} // namespace vdb

#endif
