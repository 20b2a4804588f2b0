// Turns C++ exceptions into a status and a message: the frame around the body of every function of the interface.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <exception>
#include <new>
#include <stdexcept>

#include "shim.h"

namespace vdb {

// Copies `text` into `out[0 .. out_len)`, cut if need be and always ended by a zero byte. Allocates nothing.
inline void copy_text(const char* text, char* out, size_t out_len) noexcept {
    if (out_len == 0) {
        return;
    }
    const size_t len = std::min(std::strlen(text), out_len - 1);
    std::memcpy(out, text, len);
    out[len] = '\0';
}

// Throws, for `guarded` to report, unless what the caller promised holds.
inline void require(bool condition, const char* what) {
    if (!condition) {
        throw std::invalid_argument(what);
    }
}

// Runs `body` and returns VDB_OK, or the status and message of what it threw.
template <typename Body>
int guarded(char* message, size_t message_len, Body body) noexcept {
    try {
        body();
        return VDB_OK;
    } catch (const std::bad_alloc&) {
        copy_text("out of memory", message, message_len);
        return VDB_NO_MEMORY;
    } catch (const std::exception& error) {
        copy_text(error.what(), message, message_len);
        return VDB_FAILED;
    } catch (...) {
        copy_text("unknown C++ exception", message, message_len);
        return VDB_FAILED;
    }
}

} // namespace vdb
