// Implements the oracle of the tests: streams written by FAISS's own writer, to compare ours with.
#include "shim.h"

#include <cerrno>
#include <memory>
#include <unistd.h>

#include <omp.h>

#include <faiss/IndexFlat.h>
#include <faiss/IndexHNSW.h>
#include <faiss/IndexIDMap.h>
#include <faiss/impl/io.h>
#include <faiss/index_io.h>

#include "guard.h"

namespace {

// Writes to a file descriptor that the caller keeps.
struct DescriptorWriter final : faiss::IOWriter {
    explicit DescriptorWriter(int descriptor) : descriptor_(descriptor) {
        name = "file descriptor";
    }

    size_t operator()(const void* data, size_t size, size_t count) override {
        const char* bytes = static_cast<const char*>(data);
        size_t left = size * count;
        while (left > 0) {
            const ssize_t written = ::write(descriptor_, bytes, left);
            if (written > 0) {
                bytes += written;
                left -= static_cast<size_t>(written);
            } else if (written == 0 || errno != EINTR) {
                return 0; // FAISS throws, naming errno
            }
        }
        return count;
    }

  private:
    int descriptor_;
};

using vdb::require;

void write_graph(
        DescriptorWriter& writer,
        faiss::MetricType metric,
        size_t dim,
        int m,
        int32_t codes,
        size_t rows,
        const float* vectors) {
    using faiss::ScalarQuantizer;
    const auto d = static_cast<int>(dim);
    const auto n = static_cast<faiss::idx_t>(rows);
    std::unique_ptr<faiss::IndexHNSW> index;
    if (codes == VDB_CODES_F32) {
        index = std::make_unique<faiss::IndexHNSWFlat>(d, m, metric);
    } else {
        const auto kind = codes == VDB_CODES_F16 ? ScalarQuantizer::QT_fp16 : ScalarQuantizer::QT_8bit;
        index = std::make_unique<faiss::IndexHNSWSQ>(d, kind, m, metric);
    }
    // The order in which threads add changes the graph. This sets it for the calling thread alone.
    omp_set_num_threads(1);
    index->train(n, vectors);
    index->add(n, vectors);
    faiss::write_index(index.get(), &writer);
}

} // namespace

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
        size_t message_len) noexcept {
    return vdb::guarded(message, message_len, [&] {
        require(metric == faiss::METRIC_INNER_PRODUCT || metric == faiss::METRIC_L2, "metric is neither 0 nor 1");
        require(dim > 0 && vectors_len % dim == 0, "vectors are no whole rows");
        const size_t rows = vectors_len / dim;
        require(ids_len == 0 || ids_len == rows, "ids are not one for each row");
        DescriptorWriter writer(fd);
        if (m > 0) {
            write_graph(writer, static_cast<faiss::MetricType>(metric), dim, m, codes, rows, vectors);
            return;
        }

        faiss::IndexFlat flat(static_cast<faiss::idx_t>(dim), static_cast<faiss::MetricType>(metric));
        faiss::IndexIDMap mapped(&flat); // wants the index empty
        // FAISS takes a mutable address; its writer only reads.
        flat.codes = faiss::MaybeOwnedVector<uint8_t>::create_view(
                const_cast<float*>(vectors), vectors_len * sizeof(float), nullptr);
        flat.ntotal = static_cast<faiss::idx_t>(rows);

        if (ids_len == 0) {
            faiss::write_index(&flat, &writer);
            return;
        }
        mapped.id_map.assign(ids, ids + ids_len);
        mapped.ntotal = flat.ntotal;
        faiss::write_index(&mapped, &writer);
    });
}
