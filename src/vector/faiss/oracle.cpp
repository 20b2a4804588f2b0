// Implements the oracle of the tests: streams written by FAISS's own writer, to compare ours with.
#include "shim.h"

#include <cerrno>
#include <stdexcept>
#include <unistd.h>

#include <faiss/IndexFlat.h>
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

void require(bool condition, const char* what) {
    if (!condition) {
        throw std::invalid_argument(what);
    }
}

} // namespace

int vdb_oracle_write_flat(
        int fd,
        int metric,
        size_t dim,
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

        faiss::IndexFlat flat(static_cast<faiss::idx_t>(dim), static_cast<faiss::MetricType>(metric));
        faiss::IndexIDMap mapped(&flat); // wants the index empty
        // FAISS takes a mutable address; its writer only reads.
        flat.codes = faiss::MaybeOwnedVector<uint8_t>::create_view(
                const_cast<float*>(vectors), vectors_len * sizeof(float), nullptr);
        flat.ntotal = static_cast<faiss::idx_t>(rows);

        DescriptorWriter writer(fd);
        if (ids_len == 0) {
            faiss::write_index(&flat, &writer);
            return;
        }
        mapped.id_map.assign(ids, ids + ids_len);
        mapped.ntotal = flat.ntotal;
        faiss::write_index(&mapped, &writer);
    });
}
