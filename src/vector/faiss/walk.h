// Walks through a level of the graph, to the rows that are near.
//
// The rows that a walk looks at are those that FAISS's walks look at, `greedy_update_nearest`, `search_from_candidates` and
// `search_neighbors_to_add` of `HNSW.cpp`. Ours is faster: all neighbours of a row are known before the first of them is
// compared, so that the next are on their way from memory meanwhile, and what waits is kept in order.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include <faiss/impl/HNSW.h>

#include "distances.h"
#include "guard.h"

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

    // Makes room for as many, keeps the nearest, and looks at none of them as done.
    void reopen(size_t room) {
        entries_.resize(room);
        len_ = len_ < room ? len_ : room;
        next_ = 0;
        for (size_t at = 0; at < len_; ++at) {
            entries_[at].node &= ~DONE;
        }
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

// The rows that were seen: a byte for each, which has the number of the walk that saw it last.
class Seen {
  public:
    explicit Seen(size_t rows) : walks_(rows) {}

    // Notes rows. Apart from the rest: what it has in registers no write of a byte can change.
    struct Notes {
        uint8_t* walks;
        uint8_t now;

        // Notes a row. Returns whether it was not seen before.
        bool operator()(Node node) const {
            uint8_t& walk = walks[static_cast<size_t>(node)];
            const bool is_new = walk != now;
            walk = now;
            return is_new;
        }
    };

    Notes notes() {
        return {walks_.data(), now_};
    }

    // Forgets all.
    void forget() {
        if (++now_ == 0) {
            std::fill(walks_.begin(), walks_.end(), static_cast<uint8_t>(0));
            now_ = 1;
        }
    }

  private:
    std::vector<uint8_t> walks_;
    uint8_t now_ = 1;
};

// Where the links of each row begin.
class Places {
  public:
    // Rows have one level or more each, and `m` links in each above the lowest, which has twice as many.
    Places(const uint8_t* levels, size_t rows, size_t m) : m_(m) {
        bases_.reserve(rows / BLOCK + 1);
        above_.reserve(rows + 1);
        size_t sum = 0;
        for (size_t row = 0; row <= rows; ++row) {
            if (row % BLOCK == 0) {
                bases_.push_back(sum);
            }
            above_.push_back(static_cast<uint16_t>(sum - bases_.back()));
            if (row < rows) {
                vdb::require(levels[row] > 0, "a row has no level");
                sum += levels[row] - 1U;
            }
        }
    }

    // All links of all rows.
    size_t total() const {
        const size_t rows = above_.size() - 1;
        return (2 * rows + above(rows)) * m_;
    }

    // How many levels a row has.
    size_t levels(Node node) const {
        const auto row = static_cast<size_t>(node);
        return 1 + above(row + 1) - above(row);
    }

    // The first link of a row in a level.
    size_t begin(Node node, int level) const {
        const auto row = static_cast<size_t>(node);
        return (2 * row + above(row) + static_cast<size_t>(level > 0 ? level + 1 : 0)) * m_;
    }

    // How many links a row has in a level.
    size_t width(int level) const {
        return level > 0 ? m_ : 2 * m_;
    }

  private:
    // A row has fewer than 256 levels: those of so many rows are counted in 16 bits.
    static constexpr size_t BLOCK = 128;

    // The levels above the lowest of the rows before this one.
    size_t above(size_t row) const {
        return bases_[row / BLOCK] + above_[row];
    }

    size_t m_;
    // The levels above the lowest of all rows before each block, and of those before each row in its block.
    std::vector<size_t> bases_;
    std::vector<uint16_t> above_;
};

// The neighbours of one row that were not seen before, and their distances: room for as many as a row has links.
struct Neighbours {
    explicit Neighbours(size_t room) : nodes(room), distances(room) {}

    std::vector<Node> nodes;
    std::vector<float> distances;
    size_t count = 0;
};

// What one thread needs while it adds or searches.
struct Scratch {
    Scratch(size_t rows, size_t links, std::unique_ptr<Distances> made)
            : seen(rows), distances(std::move(made)), near(links) {}

    Seen seen;
    std::unique_ptr<Distances> distances;
    Pool pool;
    Neighbours near;
    // How many distances were computed.
    size_t computed = 0;
};

class Walk {
  public:
    Walk(const Node* links, const Places& places, Scratch& scratch)
            : links_(links), places_(places), scratch_(scratch) {}

    // Fills the pool with rows of the level near the query but one, starting from those that are in it.
    void spread(int level, size_t effort, Node left_out = -1) {
        scratch_.pool.reopen(effort);
        const Seen::Notes note = scratch_.seen.notes();
        if (left_out >= 0) {
            note(left_out);
        }
        for (size_t at = 0; at < scratch_.pool.size(); ++at) {
            note(scratch_.pool.node(at));
        }
        widen(level);
    }

  private:
    // Looks at the neighbours of every row in the pool, and of those that come into it.
    void widen(int level) {
        Pool& pool = scratch_.pool;
        Neighbours& near = scratch_.near;
        for (Node node = pool.take(); node >= 0; node = pool.take()) {
            gather(node, level);
            // The links of the row that may come next are on their way from memory while these are compared.
            expect(pool.peek(), level);
            compare();
            for (size_t at = 0; at < near.count; ++at) {
                pool.offer(near.distances[at], near.nodes[at]);
            }
        }
        scratch_.seen.forget();
    }

    // Asks for the links of a row, unless it is none.
    void expect(Node node, int level) const {
        if (node >= 0) {
            const Node* begin = links_ + places_.begin(node, level);
            fetch(reinterpret_cast<const uint8_t*>(begin), places_.width(level) * sizeof(Node));
        }
    }

    // Takes the neighbours of a row that were not seen before.
    void gather(Node node, int level) {
        const Seen::Notes note = scratch_.seen.notes();
        Neighbours& near = scratch_.near;
        const Node* const begin = links_ + places_.begin(node, level);
        const size_t width = places_.width(level);
        Node* const nodes = near.nodes.data();
        size_t count = 0;
        for (size_t at = 0; at < width; ++at) {
            // Read once: another thread may write it.
            const Node other = begin[at];
            if (other < 0) {
                break;
            }
            // No branch: which rows were seen cannot be foreseen.
            nodes[count] = other;
            count += note(other) ? 1 : 0;
        }
        near.count = count;
    }

    void compare() {
        Neighbours& near = scratch_.near;
        scratch_.distances->many(near.nodes.data(), near.count, near.distances.data());
        scratch_.computed += near.count;
    }

    const Node* links_;
    const Places& places_;
    Scratch& scratch_;
};

} // namespace vdb
