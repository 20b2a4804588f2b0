// Distances by AVX-512, sixteen values at a time, where the processor has it: for dimensions that are multiples of 16.
//
// Sums are added up in another order than FAISS's, so that their last bits differ from those of `distances.h`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "distances.h"

#if defined(__x86_64__) && defined(__GNUC__)

// Compiles one function for processors that have it, whatever the rest is compiled for.
#define VDB_WIDE __attribute__((target("avx512f,avx512bw,avx512vl,avx2,fma,f16c")))

namespace vdb {

// Values that take part in one step of a sum.
constexpr size_t WIDTH = 16;
// All of them. GCC 12 warns wrongly of the intrinsics that take no mask.
constexpr __mmask16 ALL = 0xFFFF;

VDB_WIDE inline float total(__m512 sum) {
    const __m512d pairs = _mm512_castps_pd(sum);
    const __m256 low = _mm256_castpd_ps(_mm512_maskz_extractf64x4_pd(0xF, pairs, 0));
    const __m256 high = _mm256_castpd_ps(_mm512_maskz_extractf64x4_pd(0xF, pairs, 1));
    return total(_mm256_add_ps(low, high));
}

template <bool SIMILAR>
VDB_WIDE inline __m512 add_product(__m512 a, __m512 b, __m512 sum) {
    if (SIMILAR) {
        return _mm512_fmadd_ps(a, b, sum);
    }
    const __m512 difference = _mm512_sub_ps(a, b);
    return _mm512_fmadd_ps(difference, difference, sum);
}

// Values of rows of f32.
struct WideFloats {
    VDB_WIDE static __m512 of(const uint8_t* code, size_t at) {
        return _mm512_loadu_ps(code + sizeof(float) * at);
    }
};

// Values of rows of half precision.
struct WideHalves {
    VDB_WIDE static __m512 of(const uint8_t* code, size_t at) {
        return _mm512_maskz_cvtph_ps(ALL, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(code + 2 * at)));
    }
};

// Rows whose values need no more than to be read.
template <class Values, bool SIMILAR>
class PlainRows {
  public:
    explicit PlainRows(const ScalarQuantizer&) {}

    void set_query(const float* query) {
        query_ = query;
    }

    VDB_WIDE static __m512 value(const uint8_t* code, size_t at) {
        return Values::of(code, at);
    }

    // Adds the products of the query with some values of `N` rows to their sums, or the squared differences.
    template <size_t N>
    VDB_WIDE void add(const uint8_t* const* codes, size_t at, __m512* sums) const {
        const __m512 query = _mm512_loadu_ps(query_ + at);
        for (size_t n = 0; n < N; ++n) {
            sums[n] = add_product<SIMILAR>(query, value(codes[n], at), sums[n]);
        }
    }

    // What belongs to every sum.
    float base() const {
        return 0;
    }

  private:
    const float* query_ = nullptr;
};

// Rows of one byte a value: `least + width * (byte + 0.5) / 255`. What does not depend on the byte is computed once.
template <bool SIMILAR>
class ByteRows {
  public:
    explicit ByteRows(const ScalarQuantizer& quantizer)
            : dim_(quantizer.d), bytes_(quantizer), factor_(dim_), offset_(dim_) {}

    void set_query(const float* query) {
        base_ = 0;
        for (size_t at = 0; at < dim_; ++at) {
            base_ += query[at] * bytes_.start[at];
            factor_[at] = SIMILAR ? query[at] * bytes_.step[at] : bytes_.step[at];
            offset_[at] = query[at] - bytes_.start[at];
        }
    }

    VDB_WIDE __m512 value(const uint8_t* code, size_t at) const {
        return _mm512_fmadd_ps(bytes(code, at), _mm512_loadu_ps(&bytes_.step[at]), _mm512_loadu_ps(&bytes_.start[at]));
    }

    template <size_t N>
    VDB_WIDE void add(const uint8_t* const* codes, size_t at, __m512* sums) const {
        const __m512 factor = _mm512_loadu_ps(&factor_[at]);
        const __m512 offset = SIMILAR ? _mm512_setzero_ps() : _mm512_loadu_ps(&offset_[at]);
        for (size_t n = 0; n < N; ++n) {
            if (SIMILAR) {
                sums[n] = _mm512_fmadd_ps(factor, bytes(codes[n], at), sums[n]);
            } else {
                const __m512 difference = _mm512_fnmadd_ps(factor, bytes(codes[n], at), offset);
                sums[n] = _mm512_fmadd_ps(difference, difference, sums[n]);
            }
        }
    }

    float base() const {
        return SIMILAR ? base_ : 0;
    }

  private:
    VDB_WIDE static __m512 bytes(const uint8_t* code, size_t at) {
        const __m128i narrow = _mm_loadu_si128(reinterpret_cast<const __m128i*>(code + at));
        return _mm512_maskz_cvtepi32_ps(ALL, _mm512_maskz_cvtepu8_epi32(ALL, narrow));
    }

    size_t dim_;
    ByteScale bytes_;
    std::vector<float> factor_;
    std::vector<float> offset_;
    float base_ = 0;
};

template <class Rows, bool SIMILAR>
class WideDistances final : public Distances {
  public:
    WideDistances(const ScalarQuantizer& quantizer, const uint8_t* codes)
            : rows_(quantizer), codes_(codes), width_(quantizer.code_size), dim_(quantizer.d) {}

    void set_query(const float* query) override {
        rows_.set_query(query);
    }

    float operator()(faiss::idx_t i) override {
        const uint8_t* code = row(i);
        float out = 0;
        some<1>(&code, &out);
        return out;
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
        const uint8_t* const codes[4] = {row(i0), row(i1), row(i2), row(i3)};
        float out[4];
        some<4>(codes, out);
        d0 = out[0], d1 = out[1], d2 = out[2], d3 = out[3];
    }

    void many(const int32_t* rows, size_t count, float* out) override {
        fetch_rows(rows, count < 4 ? count : 4);
        size_t at = 0;
        for (; at + 4 <= count; at += 4) {
            const size_t next = at + 4;
            fetch_rows(rows + next, count - next < 4 ? count - next : 4);
            const uint8_t* const codes[4] = {row(rows[at]), row(rows[at + 1]), row(rows[at + 2]), row(rows[at + 3])};
            some<4>(codes, out + at);
        }
        for (; at < count; ++at) {
            const uint8_t* code = row(rows[at]);
            some<1>(&code, out + at);
        }
    }

    VDB_WIDE float symmetric_dis(faiss::idx_t i, faiss::idx_t j) override {
        const uint8_t* a = row(i);
        const uint8_t* b = row(j);
        __m512 sums[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
        size_t at = 0;
        for (; at + 2 * WIDTH <= dim_; at += 2 * WIDTH) {
            sums[0] = add_product<SIMILAR>(rows_.value(a, at), rows_.value(b, at), sums[0]);
            sums[1] = add_product<SIMILAR>(rows_.value(a, at + WIDTH), rows_.value(b, at + WIDTH), sums[1]);
        }
        if (at < dim_) {
            sums[0] = add_product<SIMILAR>(rows_.value(a, at), rows_.value(b, at), sums[0]);
        }
        const float sum = total(_mm512_add_ps(sums[0], sums[1]));
        return sound(SIMILAR ? -sum : sum);
    }

    void fetch_rows(const int32_t* rows, size_t count) const override {
        for (size_t at = 0; at < count; ++at) {
            fetch(row(rows[at]), width_);
        }
    }

  private:
    // The distances from the query to `N` rows, side by side.
    template <size_t N>
    VDB_WIDE void some(const uint8_t* const* codes, float* out) const {
        __m512 sums[N];
        for (size_t n = 0; n < N; ++n) {
            sums[n] = _mm512_setzero_ps();
        }
        for (size_t at = 0; at < dim_; at += WIDTH) {
            rows_.template add<N>(codes, at, sums);
        }
        for (size_t n = 0; n < N; ++n) {
            const float sum = total(sums[n]) + rows_.base();
            out[n] = sound(SIMILAR ? -sum : sum);
        }
    }

    const uint8_t* row(faiss::idx_t i) const {
        return codes_ + static_cast<size_t>(i) * width_;
    }

    Rows rows_;
    const uint8_t* codes_;
    size_t width_;
    size_t dim_;
};

template <class Rows, bool SIMILAR>
std::unique_ptr<Distances> wide(const ScalarQuantizer& quantizer, const uint8_t* codes) {
    return std::make_unique<WideDistances<Rows, SIMILAR>>(quantizer, codes);
}

// Distances by AVX-512; null where they cannot be.
inline std::unique_ptr<Distances> wide_distances(
        const ScalarQuantizer& quantizer,
        const uint8_t* codes,
        bool flat,
        bool similar) {
    const bool has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    if (!has || quantizer.d % WIDTH != 0) {
        return nullptr;
    }
    if (flat) {
        return similar ? wide<PlainRows<WideFloats, true>, true>(quantizer, codes)
                       : wide<PlainRows<WideFloats, false>, false>(quantizer, codes);
    }
    if (quantizer.qtype == ScalarQuantizer::QT_fp16) {
        return similar ? wide<PlainRows<WideHalves, true>, true>(quantizer, codes)
                       : wide<PlainRows<WideHalves, false>, false>(quantizer, codes);
    }
    return similar ? wide<ByteRows<true>, true>(quantizer, codes) : wide<ByteRows<false>, false>(quantizer, codes);
}

} // namespace vdb

#else

namespace vdb {

// Elsewhere there is no AVX-512.
inline std::unique_ptr<Distances> wide_distances(const ScalarQuantizer&, const uint8_t*, bool, bool) {
    return nullptr;
}

} // namespace vdb

#endif
