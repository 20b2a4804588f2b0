// Inner products of a query with 8-bit codes, in whole numbers, by the instructions of AVX-512 that sum products of bytes: for
// dimensions that are multiples of 16.
//
// The value of a byte is a constant and a multiple of it, so the product is a constant of the query and a sum of its bytes with
// weights. A weight is rounded to 15 bits, more than the codes can tell apart, and cut into two signed bytes. Sums of whole
// numbers are exact, in any order.
#pragma once

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

// The weights of a query.
class Weights {
  public:
    explicit Weights(const ScalarQuantizer& quantizer)
            : dim_(quantizer.d),
              start_(dim_),
              step_(dim_),
              factors_(dim_),
              high_((dim_ + LINE - 1) / LINE * LINE),
              low_(high_.size()) {
        for (size_t at = 0; at < dim_; ++at) {
            step_[at] = quantizer.trained[dim_ + at] / 255.F;
            start_[at] = quantizer.trained[at] + 0.5F * step_[at];
        }
    }

    // Takes the weights of a vector.
    VDB_WHOLE void set_vector(const float* vector) {
        set([vector](size_t at) VDB_WHOLE { return _mm512_loadu_ps(vector + at); });
    }

    // Takes those of the vector that a code stands for.
    VDB_WHOLE void set_code(const uint8_t* code) {
        set([this, code](size_t at) VDB_WHOLE { return value(code, at); });
    }

    // Sixteen values of a code.
    VDB_WHOLE __m512 value(const uint8_t* code, size_t at) const {
        const __m128i narrow = _mm_loadu_si128(reinterpret_cast<const __m128i*>(code + at));
        const __m512 bytes = _mm512_maskz_cvtepi32_ps(ALL, _mm512_maskz_cvtepu8_epi32(ALL, narrow));
        return _mm512_fmadd_ps(bytes, _mm512_loadu_ps(&step_[at]), _mm512_loadu_ps(&start_[at]));
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

    template <typename Values>
    VDB_WHOLE void set(Values values) {
        __m512 base = _mm512_setzero_ps();
        __m512 most = _mm512_setzero_ps();
        for (size_t at = 0; at < dim_; at += WIDTH) {
            const __m512 vector = values(at);
            base = _mm512_fmadd_ps(vector, _mm512_loadu_ps(&start_[at]), base);
            const __m512 factor = _mm512_mul_ps(vector, _mm512_loadu_ps(&step_[at]));
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
    std::vector<float> start_;
    std::vector<float> step_;
    std::vector<float> factors_;
    std::vector<int8_t> high_;
    std::vector<int8_t> low_;
    float base_ = 0;
    float scale_ = 0;
};

// Minus the inner products with rows of one byte a value.
class WholeDistances final : public Distances {
  public:
    WholeDistances(const ScalarQuantizer& quantizer, const uint8_t* codes)
            : query_(quantizer), compared_weights_(quantizer), codes_(codes), width_(quantizer.code_size) {}

    void set_query(const float* query) override {
        query_.set_vector(query);
    }

    float operator()(faiss::idx_t i) override {
        const uint8_t* code = row(i);
        float out = 0;
        query_.some<1>(&code, &out);
        return out;
    }

    void many(const int32_t* rows, size_t count, float* out) override {
        many_of(query_, rows, count, out);
    }

    void set_row(int32_t row_to_compare, size_t others) override {
        compared_ = row_to_compare;
        // Weights cost as much as a few products in floats.
        has_weights_ = others > 3;
        if (has_weights_) {
            compared_weights_.set_code(row(row_to_compare));
        }
    }

    void many_of_row(const int32_t* rows, size_t count, float* out) override {
        if (has_weights_) {
            many_of(compared_weights_, rows, count, out);
        } else {
            Distances::many_of_row(rows, count, out);
        }
    }

    VDB_WHOLE float symmetric_dis(faiss::idx_t i, faiss::idx_t j) override {
        const uint8_t* a = row(i);
        const uint8_t* b = row(j);
        __m512 sum = _mm512_setzero_ps();
        for (size_t at = 0; at < width_; at += WIDTH) {
            sum = _mm512_fmadd_ps(query_.value(a, at), query_.value(b, at), sum);
        }
        return sound(-total(sum));
    }

    void fetch_rows(const int32_t* rows, size_t count) const override {
        for (size_t at = 0; at < count; ++at) {
            fetch(row(rows[at]), width_);
        }
    }

  private:
    VDB_WHOLE void many_of(const Weights& weights, const int32_t* rows, size_t count, float* out) const {
        fetch_rows(rows, count < GROUP ? count : GROUP);
        size_t at = 0;
        for (; at + GROUP <= count; at += GROUP) {
            const size_t next = at + GROUP;
            fetch_rows(rows + next, count - next < GROUP ? count - next : GROUP);
            const uint8_t* const codes[GROUP] = {row(rows[at]), row(rows[at + 1]), row(rows[at + 2]), row(rows[at + 3])};
            weights.some<GROUP>(codes, out + at);
        }
        for (; at < count; ++at) {
            const uint8_t* code = row(rows[at]);
            weights.some<1>(&code, out + at);
        }
    }

    const uint8_t* row(faiss::idx_t i) const {
        return codes_ + static_cast<size_t>(i) * width_;
    }

    static constexpr size_t GROUP = 4;

    Weights query_;
    // Those of the row that others are compared with.
    Weights compared_weights_;
    bool has_weights_ = false;
    const uint8_t* codes_;
    size_t width_;
};

// Distances in whole numbers; null where they cannot be.
inline std::unique_ptr<Distances> whole_distances(
        const ScalarQuantizer& quantizer,
        const uint8_t* codes,
        bool flat,
        bool similar) {
    if (!has_whole() || flat || !similar || quantizer.qtype != ScalarQuantizer::QT_8bit || quantizer.d % WIDTH != 0) {
        return nullptr;
    }
    return std::make_unique<WholeDistances>(quantizer, codes);
}

} // namespace vdb

#else

namespace vdb {

// Elsewhere there is no AVX-512.
inline std::unique_ptr<Distances> whole_distances(const ScalarQuantizer&, const uint8_t*, bool, bool) {
    return nullptr;
}

} // namespace vdb

#endif
