// Inner products with 8-bit codes, in whole numbers: for dimensions that are multiples of 16.
//
// The value of a byte is a constant and a multiple of it, so the product is a constant of the query and a sum of its bytes with
// weights. Weights are rounded to more bits than the codes can tell apart. Sums of whole numbers are exact, in any order.
#pragma once

#include "distances.h"

namespace vdb {

// Minus the inner products with rows of one byte a value. `Weights` are those of a query, for some instructions.
template <class Weights>
class ByteDistances final : public Distances {
  public:
    ByteDistances(const ScalarQuantizer& quantizer, const uint8_t* codes)
            : query_(quantizer), compared_weights_(quantizer), codes_(codes), width_(quantizer.code_size) {}

    void set_query(const float* query) override {
        query_.set_vector(query);
    }

    float operator()(faiss::idx_t i) override {
        const uint8_t* code = row(i);
        float out = 0;
        query_.template some<1>(&code, &out);
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

    float symmetric_dis(faiss::idx_t i, faiss::idx_t j) override {
        return query_.between(row(i), row(j));
    }

    void fetch_rows(const int32_t* rows, size_t count) const override {
        for (size_t at = 0; at < count; ++at) {
            fetch(row(rows[at]), width_);
        }
    }

  private:
    void many_of(const Weights& weights, const int32_t* rows, size_t count, float* out) const {
        fetch_rows(rows, count < GROUP ? count : GROUP);
        size_t at = 0;
        for (; at + GROUP <= count; at += GROUP) {
            const size_t next = at + GROUP;
            fetch_rows(rows + next, count - next < GROUP ? count - next : GROUP);
            const uint8_t* const codes[GROUP] = {row(rows[at]), row(rows[at + 1]), row(rows[at + 2]), row(rows[at + 3])};
            weights.template some<GROUP>(codes, out + at);
        }
        for (; at < count; ++at) {
            const uint8_t* code = row(rows[at]);
            weights.template some<1>(&code, out + at);
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

} // namespace vdb
