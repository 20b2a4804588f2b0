// Walks through the graph: to the nearest row of a level, and to the nearest rows of the lowest.
//
// The rows that a walk looks at are those that FAISS's walks look at, `greedy_update_nearest`, `search_from_candidates`
// and `search_neighbors_to_add` of `HNSW.cpp`. Ours are faster: all neighbours of a row are known before the first of
// them is compared, so that the next are on their way from memory meanwhile, and what waits is kept in order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include <faiss/impl/AuxIndexStructures.h>
#include <faiss/impl/HNSW.h>

#include "distances.h"

namespace vdb {

using Node = faiss::HNSW::storage_idx_t;

// The nearest rows seen so far, the nearest first, at most as many as there is room for.
class Pool {
  public:
    // Empties it.
    void reset(size_t room) {
        entries_.resize(room);
        len_ = 0;
        next_ = 0;
    }

    size_t size() const {
        return len_;
    }

    float distance(size_t at) const {
        return entries_[at].distance;
    }

    Node node(size_t at) const {
        return static_cast<Node>(entries_[at].node & ~DONE);
    }

    // Takes a row, unless as many as there is room for are as near.
    void offer(float distance, Node node) {
        if (len_ == entries_.size()) {
            if (!(distance < entries_[len_ - 1].distance)) {
                return;
            }
            --len_;
        }
        size_t at = len_;
        // The place by halves: equals stay in the order in which they came.
        for (size_t low = 0; low < at;) {
            const size_t middle = low + (at - low) / 2;
            if (distance < entries_[middle].distance) {
                at = middle;
            } else {
                low = middle + 1;
            }
        }
        Entry* place = entries_.data() + at;
        std::memmove(place + 1, place, (len_ - at) * sizeof(Entry));
        *place = {distance, static_cast<uint32_t>(node)};
        ++len_;
        next_ = at < next_ ? at : next_;
    }

    // The nearest row whose neighbours were not looked at, which they are now; -1 when there is none.
    Node take() {
        const Node found = peek();
        if (found >= 0) {
            entries_[next_].node |= DONE;
        }
        return found;
    }

    // The row that `take` would give.
    Node peek() {
        while (next_ < len_ && (entries_[next_].node & DONE) != 0) {
            ++next_;
        }
        return next_ < len_ ? node(next_) : -1;
    }

  private:
    // A row is below 2^31.
    static constexpr uint32_t DONE = UINT32_C(1) << 31;

    struct Entry {
        float distance;
        uint32_t node;
    };

    std::vector<Entry> entries_;
    size_t len_ = 0;
    // Before it every entry is done.
    size_t next_ = 0;
};

// What one thread needs while it adds or searches.
struct Scratch {
    Scratch(size_t rows, std::unique_ptr<Distances> made)
            : visited(static_cast<int>(rows)), distances(std::move(made)) {}

    faiss::VisitedTable visited;
    std::unique_ptr<Distances> distances;
    Pool pool;
    // The neighbours of one row that were not seen before, and their distances.
    std::vector<Node> fresh;
    std::vector<float> found;
    // How many distances were computed.
    size_t computed = 0;
};

class Walk {
  public:
    Walk(const faiss::HNSW& graph, Scratch& scratch) : graph_(graph), scratch_(scratch) {}

    // Goes to a row none of whose neighbours in the level is nearer.
    void descend(int level, Node& nearest, float& distance) {
        for (Node before = -1; before != nearest;) {
            before = nearest;
            gather(nearest, level, -1, [](Node) { return true; });
            for (size_t at = 0; at < scratch_.fresh.size(); ++at) {
                if (scratch_.found[at] < distance) {
                    distance = scratch_.found[at];
                    nearest = scratch_.fresh[at];
                }
            }
        }
    }

    // Fills the pool with rows near the query, starting from one. Rows that were visited before are left out.
    void spread(int level, Node start, float distance, size_t effort) {
        faiss::VisitedTable& visited = scratch_.visited;
        scratch_.pool.reset(effort);
        scratch_.pool.offer(distance, start);
        visited.set(start);
        for (Node node = scratch_.pool.take(); node >= 0; node = scratch_.pool.take()) {
            gather(node, level, scratch_.pool.peek(), [&visited](Node other) {
                const bool is_fresh = !visited.get(other);
                visited.set(other);
                return is_fresh;
            });
            for (size_t at = 0; at < scratch_.fresh.size(); ++at) {
                scratch_.pool.offer(scratch_.found[at], scratch_.fresh[at]);
            }
        }
        visited.advance();
    }

  private:
    // Asks for the links of a row, unless it is none.
    void expect(Node node, int level) const {
        if (node < 0) {
            return;
        }
        const auto& widths = graph_.cum_nneighbor_per_level;
        const size_t begin = graph_.offsets[static_cast<size_t>(node)] + static_cast<size_t>(widths[static_cast<size_t>(level)]);
        const size_t width = static_cast<size_t>(widths[static_cast<size_t>(level) + 1] - widths[static_cast<size_t>(level)]);
        fetch(reinterpret_cast<const uint8_t*>(graph_.neighbors.data() + begin), width * sizeof(Node));
    }

    // Notes the neighbours of a row that are wanted, and computes their distances. Meanwhile the links of the row that may
    // come next are on their way from memory.
    template <typename Wanted>
    void gather(Node node, int level, Node next, Wanted wanted) {
        size_t begin = 0;
        size_t end = 0;
        graph_.neighbor_range(node, level, &begin, &end);
        const Node* links = graph_.neighbors.data();
        std::vector<Node>& fresh = scratch_.fresh;
        fresh.clear();
        for (size_t at = begin; at < end; ++at) {
            // Read once: another thread may write it.
            const Node other = links[at];
            if (other < 0) {
                break;
            }
            if (wanted(other)) {
                fresh.push_back(other);
            }
        }
        expect(next, level);
        scratch_.found.resize(fresh.size());
        scratch_.distances->many(fresh.data(), fresh.size(), scratch_.found.data());
        scratch_.computed += fresh.size();
    }

    const faiss::HNSW& graph_;
    Scratch& scratch_;
};

} // namespace vdb
