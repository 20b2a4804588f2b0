// Implements the C interface to FAISS that programs link.
#include "shim.h"

#include <dlfcn.h>

#include <faiss/Index.h>
#include <faiss/utils/utils.h>

#include "guard.h"

static_assert(
        FAISS_VERSION_MAJOR == 1 && FAISS_VERSION_MINOR >= 12,
        "vdb needs FAISS 1.12 or newer: the memory of an index is viewed, which older versions cannot do");

int vdb_faiss_init(char* message, size_t message_len) noexcept {
    return vdb::guarded(message, message_len, [] {
        using SetThreads = void (*)(int);
        // Looked up, not linked: any library that offers BLAS will do, and only OpenBLAS has this function.
        void* found = dlsym(RTLD_DEFAULT, "openblas_set_num_threads");
        if (found != nullptr) {
            reinterpret_cast<SetThreads>(found)(1);
        }
    });
}

int vdb_faiss_version(char* out, size_t out_len, char* message, size_t message_len) noexcept {
    return vdb::guarded(message, message_len, [&] {
        vdb::copy_text(faiss::get_version().c_str(), out, out_len);
    });
}

int vdb_faiss_compile_options(char* out, size_t out_len, char* message, size_t message_len) noexcept {
    return vdb::guarded(message, message_len, [&] {
        vdb::copy_text(faiss::get_compile_options().c_str(), out, out_len);
    });
}
