// Weights of a query for `bytes.h`, by the instructions of AVX-512 that sum products of bytes: a weight is rounded to 15 bits, and
// cut into two signed bytes.
#pragma once

#include "bytes.h"
#include "wide.h"

#if defined(__x86_64__) && defined(__GNUC__)

// As VDB_WIDE, with sums of products of bytes.
#define VDB_WHOLE __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")))

namespace vdb {

// Whether this processor has them.
inline bool has_whole() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
}

// All bytes of a register.
constexpr __mmask64 ALL_BYTES = ~UINT64_C(0);

class WholeWeights {
  public:
    explicit WholeWeights(const ScalarQuantizer& quantizer)
            : dim_(quantizer.d),
              bytes_(quantizer),
              factors_(dim_),
              high_((dim_ + LINE - 1) / LINE * LINE),
              low_(high_.size()) {}

    // Takes the weights of a vector.
    VDB_WHOLE void set_vector(const float* vector) {
        set([vector](size_t at) VDB_WHOLE { return _mm512_loadu_ps(vector + at); });
    }

    // Takes those of the vector that a code stands for.
    VDB_WHOLE void set_code(const uint8_t* code) {
        set([this, code](size_t at) VDB_WHOLE { return value(code, at); });
    }

    // Minus the product of two vectors that codes stand for.
    VDB_WHOLE float between(const uint8_t* a, const uint8_t* b) const {
        __m512 sum = _mm512_setzero_ps();
        for (size_t at = 0; at < dim_; at += WIDTH) {
            sum = _mm512_fmadd_ps(value(a, at), value(b, at), sum);
        }
        return sound(-total(sum));
    }

    // Minus the products with `N` codes, side by side.
    template <size_t N>
    VDB_WHOLE void some(const uint8_t* const* codes, float* out) const {
        __m512i high[N];
        __m512i low[N];
        for (size_t n = 0; n < N; ++n) {
            high[n] = low[n] = _mm512_setzero_si512();
        }
        size_t at = 0;
        for (; at + LINE <= dim_; at += LINE) {
            add<N>(codes, at, ALL_BYTES, high, low);
        }
        if (at < dim_) {
            add<N>(codes, at, ALL_BYTES >> (LINE - (dim_ - at)), high, low);
        }
        for (size_t n = 0; n < N; ++n) {
            const __m512 upper = _mm512_maskz_cvtepi32_ps(ALL, high[n]);
            const float sum = total(_mm512_fmadd_ps(upper, _mm512_set1_ps(PART), _mm512_maskz_cvtepi32_ps(ALL, low[n])));
            out[n] = sound(-(base_ + scale_ * sum));
        }
    }

  private:
    // A weight is its high byte times this and its low byte, which are from -127 to 127 and from -64 to 63.
    static constexpr float PART = 128;
    static constexpr float WEIGHT_MAX = 127 * PART;

    // Sixteen values of a code.
    VDB_WHOLE __m512 value(const uint8_t* code, size_t at) const {
        const __m128i narrow = _mm_loadu_si128(reinterpret_cast<const __m128i*>(code + at));
        const __m512 bytes = _mm512_maskz_cvtepi32_ps(ALL, _mm512_maskz_cvtepu8_epi32(ALL, narrow));
        return _mm512_fmadd_ps(bytes, _mm512_loadu_ps(&bytes_.step[at]), _mm512_loadu_ps(&bytes_.start[at]));
    }

    template <typename Values>
    VDB_WHOLE void set(Values values) {
        __m512 base = _mm512_setzero_ps();
        __m512 most = _mm512_setzero_ps();
        for (size_t at = 0; at < dim_; at += WIDTH) {
            const __m512 vector = values(at);
            base = _mm512_fmadd_ps(vector, _mm512_loadu_ps(&bytes_.start[at]), base);
            const __m512 factor = _mm512_mul_ps(vector, _mm512_loadu_ps(&bytes_.step[at]));
            most = _mm512_maskz_max_ps(ALL, _mm512_abs_ps(factor), most);
            _mm512_storeu_ps(&factors_[at], factor);
        }
        base_ = total(base);
        float largest = 0;
        alignas(LINE) float each[WIDTH];
        _mm512_store_ps(each, most);
        for (const float one : each) {
            largest = one > largest ? one : largest;
        }
        scale_ = largest / WEIGHT_MAX;
        const __m512 inverse = _mm512_set1_ps(largest > 0 ? WEIGHT_MAX / largest : 0);
        for (size_t at = 0; at < dim_; at += WIDTH) {
            const __m512 part = _mm512_mul_ps(_mm512_loadu_ps(&factors_[at]), inverse);
            const __m512i weight = _mm512_maskz_cvtps_epi32(ALL, part);
            const __m512i high = _mm512_maskz_srai_epi32(ALL, _mm512_add_epi32(weight, _mm512_set1_epi32(64)), 7);
            const __m512i low = _mm512_sub_epi32(weight, _mm512_maskz_slli_epi32(ALL, high, 7));
            _mm_storeu_si128(reinterpret_cast<__m128i*>(&high_[at]), _mm512_maskz_cvtepi32_epi8(ALL, high));
            _mm_storeu_si128(reinterpret_cast<__m128i*>(&low_[at]), _mm512_maskz_cvtepi32_epi8(ALL, low));
        }
    }

    template <size_t N>
    VDB_WHOLE void add(const uint8_t* const* codes, size_t at, __mmask64 mask, __m512i* high, __m512i* low) const {
        const __m512i upper = _mm512_loadu_si512(&high_[at]);
        const __m512i lower = _mm512_loadu_si512(&low_[at]);
        for (size_t n = 0; n < N; ++n) {
            const __m512i bytes = _mm512_maskz_loadu_epi8(mask, codes[n] + at);
            high[n] = _mm512_dpbusd_epi32(high[n], bytes, upper);
            low[n] = _mm512_dpbusd_epi32(low[n], bytes, lower);
        }
    }

    size_t dim_;
    ByteScale bytes_;
    std::vector<float> factors_;
    std::vector<int8_t> high_;
    std::vector<int8_t> low_;
    float base_ = 0;
    float scale_ = 0;
};

} // namespace vdb

#endif
