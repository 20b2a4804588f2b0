// Implements graphs of nearest neighbours (HNSW) over codes and links that stay where the caller keeps them.
//
// The graph, its quantiser and the steps of its construction are FAISS's. What is ours is the walk through it (`walk.h`),
// and the loop around the steps: `IndexHNSW` enters OpenMP regions, in which an exception ends the process, and
// `HNSW::add_with_locks` leaves a lock held when an allocation fails, so that the other threads wait for ever.
#include "shim.h"

#include <algorithm>
#include <array>
#include <limits>
#include <memory>
#include <mutex>
#include <queue>
#include <utility>
#include <vector>

#include <faiss/impl/HNSW.h>
#include <faiss/impl/ScalarQuantizer.h>
#include <faiss/utils/random.h>

#include "distances.h"
#include "guard.h"
#include "narrow.h"
#include "walk.h"
#include "whole.h"
#include "wide.h"

namespace {

using faiss::HNSW;
using faiss::ScalarQuantizer;
using vdb::Node;
using vdb::require;
using vdb::Scratch;

// Inner products in whole numbers; null where they cannot be.
std::unique_ptr<vdb::Distances> byte_distances(const ScalarQuantizer& quantizer, const uint8_t* codes) {
#if defined(__x86_64__) && defined(__GNUC__)
    if (quantizer.d % vdb::WIDTH != 0) {
        return nullptr;
    }
    if (vdb::has_whole()) {
        return std::make_unique<vdb::ByteDistances<vdb::WholeWeights>>(quantizer, codes);
    }
    if (vdb::has_narrow()) {
        return std::make_unique<vdb::ByteDistances<vdb::NarrowWeights>>(quantizer, codes);
    }
#endif
    return nullptr;
}

// The quantiser of a kind of codes; none for f32.
ScalarQuantizer quantizer_of(int32_t kind, size_t dim, const float* trained, size_t trained_len) {
    require(kind == VDB_CODES_F32 || kind == VDB_CODES_F16 || kind == VDB_CODES_SQ8, "codes are of no known kind");
    require(dim > 0 && dim <= INT32_MAX / 4, "dimension is out of range");
    require(trained_len == (kind == VDB_CODES_SQ8 ? 2 * dim : 0), "ranges do not fit the kind and the dimension");
    ScalarQuantizer quantizer(dim, kind == VDB_CODES_SQ8 ? ScalarQuantizer::QT_8bit : ScalarQuantizer::QT_fp16);
    quantizer.trained.assign(trained, trained + trained_len);
    if (kind == VDB_CODES_F32) {
        quantizer.code_size = dim * sizeof(float);
    }
    return quantizer;
}

} // namespace

struct vdb_hnsw {
    explicit vdb_hnsw(const vdb_hnsw_parts& parts)
            : graph(parts.m),
              quantizer(quantizer_of(parts.kind, parts.dim, parts.trained, parts.trained_len)),
              codes(parts.codes),
              rows(parts.levels_len),
              links(parts.links),
              places(parts.levels, rows, static_cast<size_t>(parts.m)),
              ways(static_cast<size_t>(parts.ways)),
              flat(parts.kind == VDB_CODES_F32),
              similar(parts.metric == faiss::METRIC_INNER_PRODUCT) {
        require(parts.metric == faiss::METRIC_INNER_PRODUCT || parts.metric == faiss::METRIC_L2, "metric is neither 0 nor 1");
        require(rows > 0 && rows <= INT32_MAX, "number of rows is out of range");
        require(parts.codes_len == rows * quantizer.code_size, "codes are not one for each row");
        require(places.total() == parts.links_len, "links do not fit the levels");
        require(parts.entry_point >= 0 && static_cast<size_t>(parts.entry_point) < rows, "entry point is no row");
        graph.entry_point = parts.entry_point;
        require(parts.max_level >= 0 && parts.max_level + 1 == level_count(parts.entry_point), "entry point is not at the top");
        graph.max_level = parts.max_level;
        graph.efConstruction = parts.ef_construction;
    }

    int level_count(Node row) const {
        return static_cast<int>(places.levels(row));
    }

    std::unique_ptr<Scratch> lease() {
        {
            const std::lock_guard<std::mutex> lock(pool_lock);
            if (!pool.empty()) {
                std::unique_ptr<Scratch> scratch = std::move(pool.back());
                pool.pop_back();
                return scratch;
            }
        }
        return std::make_unique<Scratch>(rows, places.width(0), distances());
    }

    // The fastest distances that this processor can compute.
    std::unique_ptr<vdb::Distances> distances() const {
        const bool bytes = !flat && quantizer.qtype == ScalarQuantizer::QT_8bit;
        if (std::unique_ptr<vdb::Distances> sums = bytes && similar ? byte_distances(quantizer, codes) : nullptr) {
            return sums;
        }
        if (std::unique_ptr<vdb::Distances> wide = vdb::wide_distances(quantizer, codes, flat, similar)) {
            return wide;
        }
        if (flat) {
            return std::make_unique<vdb::FlatDistances>(reinterpret_cast<const float*>(codes), quantizer.d, similar);
        }
        return vdb::code_distances(quantizer, codes, similar);
    }

    // Only after success: a table that an exception has left half marked is not used again.
    void give_back(std::unique_ptr<Scratch> scratch) {
        const std::lock_guard<std::mutex> lock(pool_lock);
        pool.push_back(std::move(scratch));
    }

    void add(Scratch& scratch, Node row, const float* vector);
    void enter(Scratch& scratch, const float* distances, const int64_t* starts, size_t count) const;
    void descend(Scratch& scratch, int end) const;
    void link_level(Scratch& scratch, Node row, int level);
    void add_link(vdb::Distances& distances, Node from, Node to, int level);

    vdb::Walk walk(Scratch& scratch) const {
        return vdb::Walk(links, places, scratch);
    }

    std::mutex& lock_of(Node row) {
        return locks[static_cast<size_t>(row) % locks.size()];
    }

    HNSW graph;
    ScalarQuantizer quantizer;
    const uint8_t* codes;
    size_t rows;
    Node* links;
    vdb::Places places;
    size_t ways;
    bool flat;
    bool similar;
    std::mutex pool_lock;
    std::vector<std::unique_ptr<Scratch>> pool;
    // Each guards the links of the rows of one remainder. Nobody holds two.
    std::array<std::mutex, 1024> locks;
};

namespace {

using Closer = std::priority_queue<HNSW::NodeDistCloser>;

// Whether a row is nearer to one of some others than `limit`.
bool is_near_one(vdb::Distances& distances, Node row, float limit, const std::vector<Node>& others) {
    // Some at a time: the first are the likeliest.
    constexpr size_t SOME = 8;
    distances.set_row(row, others.size());
    std::array<float, SOME> found{};
    for (size_t at = 0; at < others.size(); at += SOME) {
        const size_t count = std::min(SOME, others.size() - at);
        distances.many_of_row(others.data() + at, count, found.data());
        if (std::any_of(found.begin(), found.begin() + count, [limit](float one) { return one < limit; })) {
            return true;
        }
    }
    return false;
}

// Leaves at most `max` of the candidates, none of which is nearer to another than to the row they belong to.
// Upstream: the functions of this name in `HNSW.cpp`.
void shrink_neighbor_list(vdb::Distances& distances, Closer& candidates, size_t max) {
    if (candidates.size() < max) {
        return;
    }
    std::priority_queue<HNSW::NodeDistFarther> sorted;
    for (; !candidates.empty(); candidates.pop()) {
        sorted.emplace(candidates.top().d, candidates.top().id);
    }
    std::vector<Node> kept;
    kept.reserve(max);
    for (; !sorted.empty() && kept.size() < max; sorted.pop()) {
        const HNSW::NodeDistFarther& one = sorted.top();
        if (!is_near_one(distances, one.id, one.d, kept)) {
            kept.push_back(one.id);
            candidates.emplace(one.d, one.id);
        }
    }
}

} // namespace

// Writes the link, or chooses anew which links to keep. Under the lock of `from`. Upstream: `add_link` of `HNSW.cpp`.
void vdb_hnsw::add_link(vdb::Distances& distances, Node from, Node to, int level) {
    Node* const begin = links + places.begin(from, level);
    const size_t width = places.width(level);
    Node* const end = begin + width;
    if (end[-1] == -1) {
        Node* free = end;
        while (free > begin && free[-1] == -1) {
            --free;
        }
        *free = to;
        return;
    }
    std::vector<Node> all(begin, end);
    all.push_back(to);
    std::vector<float> found(all.size());
    distances.set_row(from, all.size());
    distances.many_of_row(all.data(), all.size(), found.data());
    Closer candidates;
    candidates.emplace(found[width], to);
    for (size_t at = 0; at < width; ++at) {
        candidates.emplace(found[at], all[at]);
    }
    shrink_neighbor_list(distances, candidates, width);
    Node* at = begin;
    for (; !candidates.empty(); candidates.pop()) {
        *at++ = candidates.top().id;
    }
    std::fill(at, end, -1);
}

// Fills the pool with rows of the level above `end` that are near the query: with the entry point where there is none.
// Upstream: `greedy_update_nearest` of `HNSW.cpp`, with one row.
void vdb_hnsw::descend(Scratch& scratch, int end) const {
    scratch.pool.reset(1);
    scratch.pool.offer((*scratch.distances)(graph.entry_point), graph.entry_point);
    scratch.computed = 1;
    for (int level = graph.max_level; level > end; --level) {
        walk(scratch).spread(level, ways);
    }
}

// Links `row` with its neighbours in one level, both ways, starting from what is in the pool. Upstream:
// `HNSW::add_links_starting_from`.
void vdb_hnsw::link_level(Scratch& scratch, Node row, int level) {
    vdb::Distances& distances = *scratch.distances;
    // Another thread may have linked to this row already: it is no neighbour of itself.
    walk(scratch).spread(level, static_cast<size_t>(graph.efConstruction), row);
    Closer targets;
    for (size_t at = 0; at < scratch.pool.size(); ++at) {
        targets.emplace(scratch.pool.distance(at), scratch.pool.node(at));
    }
    shrink_neighbor_list(distances, targets, places.width(level));
    std::vector<Node> chosen;
    chosen.reserve(targets.size());
    {
        const std::lock_guard<std::mutex> lock(lock_of(row));
        for (; !targets.empty(); targets.pop()) {
            chosen.push_back(targets.top().id);
            add_link(distances, row, targets.top().id, level);
        }
    }
    for (const Node other : chosen) {
        const std::lock_guard<std::mutex> lock(lock_of(other));
        add_link(distances, other, row, level);
    }
}

// Upstream: `HNSW::add_with_locks`. Links are read without a lock there as here: a reader sees the old or the new one.
void vdb_hnsw::add(Scratch& scratch, Node row, const float* vector) {
    if (row == graph.entry_point) {
        return;
    }
    scratch.distances->set_query(vector);
    const int top = std::min(level_count(row) - 1, graph.max_level);
    descend(scratch, top);
    const vdb::Pool above = scratch.pool;
    for (int level = top; level >= 0; --level) {
        scratch.pool = above;
        link_level(scratch, row, level);
    }
}

// Fills the pool with rows that an earlier search has ended with.
void vdb_hnsw::enter(Scratch& scratch, const float* distances, const int64_t* starts, size_t count) const {
    scratch.pool.reset(count);
    scratch.computed = 0;
    for (size_t at = 0; at < count; ++at) {
        require(starts[at] >= 0 && static_cast<size_t>(starts[at]) < rows, "a search starts from what is no row");
        scratch.pool.offer(distances[at], static_cast<Node>(starts[at]));
    }
}

int vdb_hnsw_plan(
        int32_t m,
        double* chances,
        size_t chances_len,
        uint8_t* levels,
        size_t levels_len,
        int32_t* order,
        size_t order_len,
        char* message,
        size_t message_len) noexcept {
    return vdb::guarded(message, message_len, [&] {
        require(m >= 2 && m <= VDB_HNSW_M_MAX, "links of a row are out of range");
        require(levels_len == order_len && levels_len <= INT32_MAX, "levels and order differ in length");
        HNSW graph(m);
        require(chances_len >= graph.assign_probas.size(), "there are more levels than chances");
        std::fill_n(chances, chances_len, 0.0);
        std::copy(graph.assign_probas.begin(), graph.assign_probas.end(), chances);
        std::vector<size_t> begins(graph.assign_probas.size() + 1);
        for (size_t row = 0; row < levels_len; ++row) {
            const auto level = static_cast<size_t>(graph.random_level());
            levels[row] = static_cast<uint8_t>(level + 1);
            ++begins[level];
        }
        // Buckets by level, the highest first.
        size_t end = 0;
        for (size_t level = begins.size(); level-- > 0;) {
            end += std::exchange(begins[level], end);
        }
        const std::vector<size_t> firsts = begins;
        for (size_t row = 0; row < levels_len; ++row) {
            order[begins[levels[row] - 1U]++] = static_cast<int32_t>(row);
        }
        // Each bucket shuffled as FAISS does, so that the order of the rows has no part in the graph.
        faiss::RandomGenerator random(789);
        for (size_t level = begins.size(); level-- > 0;) {
            for (size_t at = firsts[level]; at < begins[level]; ++at) {
                const auto step = static_cast<size_t>(random.rand_int(static_cast<int>(begins[level] - at)));
                std::swap(order[at], order[at + step]);
            }
        }
    });
}

int vdb_codes_encode(
        int32_t kind,
        size_t dim,
        const float* trained,
        size_t trained_len,
        const float* vectors,
        size_t vectors_len,
        uint8_t* codes,
        size_t codes_len,
        char* message,
        size_t message_len) noexcept {
    return vdb::guarded(message, message_len, [&] {
        const ScalarQuantizer quantizer = quantizer_of(kind, dim, trained, trained_len);
        require(vectors_len % dim == 0, "vectors are no whole rows");
        const size_t rows = vectors_len / dim;
        require(codes_len == rows * quantizer.code_size, "codes are not one for each row");
        if (kind == VDB_CODES_F32) {
            std::memcpy(codes, vectors, codes_len);
            return;
        }
        // `compute_codes` would enter an OpenMP region.
        const std::unique_ptr<ScalarQuantizer::SQuantizer> one(quantizer.select_quantizer());
        std::memset(codes, 0, codes_len);
        for (size_t row = 0; row < rows; ++row) {
            one->encode_vector(vectors + row * dim, codes + row * quantizer.code_size);
        }
    });
}

int vdb_hnsw_open(const vdb_hnsw_parts* parts, vdb_hnsw** out, char* message, size_t message_len) noexcept {
    *out = nullptr;
    return vdb::guarded(message, message_len, [&] {
        require(parts->m >= 2 && parts->m <= VDB_HNSW_M_MAX, "links of a row are out of range");
        require(parts->ef_construction > 0, "effort of construction is not positive");
        require(parts->ways > 0, "ways down are not positive");
        *out = new vdb_hnsw(*parts);
    });
}

void vdb_hnsw_close(vdb_hnsw* graph) noexcept {
    delete graph;
}

int vdb_hnsw_add(
        vdb_hnsw* graph,
        const int32_t* rows,
        size_t rows_len,
        const float* vectors,
        size_t vectors_len,
        char* message,
        size_t message_len) noexcept {
    return vdb::guarded(message, message_len, [&] {
        const size_t dim = graph->quantizer.d;
        require(vectors_len == rows_len * dim, "vectors are not one for each row");
        std::unique_ptr<Scratch> scratch = graph->lease();
        for (size_t at = 0; at < rows_len; ++at) {
            require(rows[at] >= 0 && static_cast<size_t>(rows[at]) < graph->rows, "row is not there");
            graph->add(*scratch, rows[at], vectors + at * dim);
        }
        graph->give_back(std::move(scratch));
    });
}

int vdb_hnsw_search(
        vdb_hnsw* graph,
        const float* query,
        size_t query_len,
        size_t starts,
        size_t effort,
        float* distances,
        size_t distances_len,
        int64_t* rows,
        size_t rows_len,
        uint64_t* computed,
        char* message,
        size_t message_len) noexcept {
    return vdb::guarded(message, message_len, [&] {
        require(query_len == graph->quantizer.d, "query has another dimension");
        require(rows_len > 0 && rows_len == distances_len, "rows and distances differ in length");
        require(starts <= rows_len, "starts are more than rows");
        require(effort <= INT32_MAX, "effort is out of range");
        std::unique_ptr<Scratch> scratch = graph->lease();
        scratch->distances->set_query(query);
        if (starts > 0) {
            graph->enter(*scratch, distances, rows, starts);
        } else {
            graph->descend(*scratch, 0);
        }
        if (effort > 0) {
            graph->walk(*scratch).spread(0, std::max(effort, rows_len));
        }
        const vdb::Pool& pool = scratch->pool;
        for (size_t at = 0; at < rows_len; ++at) {
            // What is infinitely far is not found.
            const bool is_found = at < pool.size() && pool.distance(at) < std::numeric_limits<float>::infinity();
            distances[at] = is_found ? pool.distance(at) : std::numeric_limits<float>::infinity();
            rows[at] = is_found ? pool.node(at) : -1;
        }
        *computed = scratch->computed;
        graph->give_back(std::move(scratch));
    });
}
