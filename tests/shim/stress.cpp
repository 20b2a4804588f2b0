// Uses the shim as the library does, and with links and codes that a hostile file may hold: for a run under sanitizers.
//
// `make asan` compiles it together with the shim. It exits with 1 after a line about the first thing that is wrong.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <thread>
#include <vector>

#include "shim.h"

namespace {

constexpr int GRAPHS = 400;
constexpr int SEARCHES = 40;
constexpr size_t MESSAGE = 512;

void expect(bool condition, const char* what) {
    if (!condition) {
        std::printf("wrong: %s\n", what);
        std::exit(1);
    }
}

// Runs a call of the shim with a buffer for its message.
template <typename Call>
int status_of(Call call) {
    char message[MESSAGE] = "";
    const int status = call(message);
    if (status != VDB_OK) {
        expect(std::strlen(message) > 0, "a failure has a message");
    }
    return status;
}

struct Graph {
    explicit Graph(std::mt19937& random) : random(random) {
        const size_t dims[] = {1, 7, 8, 16, 24, 48, 80, 144};
        dim = dims[random() % 8];
        rows = 1 + random() % 200;
        parts.m = static_cast<int32_t>(2 + random() % 20);
        parts.kind = static_cast<int32_t>(random() % 3);
        parts.metric = static_cast<int32_t>(random() % 2);
        levels.resize(rows);
        order.resize(rows);
        double chances[VDB_HNSW_LEVELS_MAX];
        expect(status_of([&](char* message) {
                   return vdb_hnsw_plan(
                           parts.m, chances, VDB_HNSW_LEVELS_MAX, levels.data(), rows, order.data(), rows, message, MESSAGE);
               }) == VDB_OK,
               "levels are drawn");
        size_t link_count = 0;
        for (const uint8_t count : levels) {
            link_count += (count + 1U) * static_cast<size_t>(parts.m);
        }
        links.assign(link_count, -1);
        if (parts.kind == VDB_CODES_SQ8) {
            trained.assign(2 * dim, -1.F);
            std::fill(trained.begin() + static_cast<ptrdiff_t>(dim), trained.end(), 2.F);
        }
        for (size_t at = 0; at < rows * dim; ++at) {
            vectors.push_back(value());
        }
        const size_t widths[] = {4 * dim, 2 * dim, dim};
        codes.resize(rows * widths[parts.kind]);
        expect(status_of([&](char* message) {
                   return vdb_codes_encode(
                           parts.kind, dim, trained.data(), trained.size(), vectors.data(), vectors.size(), codes.data(),
                           codes.size(), message, MESSAGE);
               }) == VDB_OK,
               "vectors are encoded");
        parts.dim = dim;
        parts.ef_construction = static_cast<int32_t>(8 + random() % 40);
        parts.ways = static_cast<int32_t>(1 + random() % 9);
        parts.entry_point = order[0];
        parts.max_level = levels[static_cast<size_t>(order[0])] - 1;
        parts.levels = levels.data(), parts.levels_len = rows;
        parts.links = links.data(), parts.links_len = links.size();
        parts.trained = trained.data(), parts.trained_len = trained.size();
        parts.codes = codes.data(), parts.codes_len = codes.size();
    }

    float value() {
        return static_cast<float>(random() % 2001) / 1000.F - 1.F;
    }

    void open() {
        expect(status_of([&](char* message) { return vdb_hnsw_open(&parts, &native, message, MESSAGE); }) == VDB_OK, "it opens");
    }

    // Links a part of the order.
    void add(size_t from, size_t to) {
        std::vector<float> given;
        for (size_t at = from; at < to; ++at) {
            const auto begin = vectors.begin() + static_cast<ptrdiff_t>(static_cast<size_t>(order[at]) * dim);
            given.insert(given.end(), begin, begin + static_cast<ptrdiff_t>(dim));
        }
        expect(status_of([&](char* message) {
                   return vdb_hnsw_add(native, order.data() + from, to - from, given.data(), given.size(), message, MESSAGE);
               }) == VDB_OK,
               "rows are linked");
    }

    // Searches, half of the time in two steps, and returns how many rows were found.
    size_t search(const float* query, size_t wanted, size_t effort) {
        std::vector<float> distances(wanted);
        std::vector<int64_t> found(wanted);
        uint64_t computed = 0;
        const auto step = [&](size_t starts, size_t some) {
            return status_of([&](char* message) {
                return vdb_hnsw_search(
                        native, query, dim, starts, some, distances.data(), wanted, found.data(), wanted, &computed, message,
                        MESSAGE);
            });
        };
        size_t starts = 0;
        if (random() % 2 == 0) {
            expect(step(0, 0) == VDB_OK, "it goes down");
            while (starts < wanted && found[starts] >= 0) {
                ++starts;
            }
        }
        expect(step(starts, effort) == VDB_OK, "it answers");
        size_t count = 0;
        while (count < wanted && found[count] >= 0) {
            expect(found[count] < static_cast<int64_t>(rows), "what is found is a row");
            expect(count == 0 || distances[count - 1] <= distances[count], "the nearest come first");
            ++count;
        }
        expect(std::all_of(found.begin() + static_cast<ptrdiff_t>(count), found.end(), [](int64_t row) { return row == -1; }),
               "nothing follows the last");
        std::sort(found.begin(), found.begin() + static_cast<ptrdiff_t>(count));
        expect(std::adjacent_find(found.begin(), found.begin() + static_cast<ptrdiff_t>(count)) ==
                       found.begin() + static_cast<ptrdiff_t>(count),
               "no row is found twice");
        return count;
    }

    // Changes links of the lowest level and codes to what the checks before a search let pass.
    void damage() {
        size_t begin = 0;
        for (const uint8_t count : levels) {
            for (size_t at = 0; at < 2 * static_cast<size_t>(parts.m); ++at) {
                if (random() % 8 == 0) {
                    links[begin + at] = static_cast<int32_t>(random() % (rows + 1)) - 1;
                }
            }
            begin += (count + 1U) * static_cast<size_t>(parts.m);
        }
        for (int n = 0; n < 20; ++n) {
            codes[random() % codes.size()] = random() % 3 == 0 ? static_cast<uint8_t>(random()) : 0xFF;
        }
    }

    std::mt19937& random;
    size_t dim = 0;
    size_t rows = 0;
    vdb_hnsw_parts parts{};
    std::vector<uint8_t> levels;
    std::vector<int32_t> order;
    std::vector<int32_t> links;
    std::vector<float> trained;
    std::vector<float> vectors;
    std::vector<uint8_t> codes;
    vdb_hnsw* native = nullptr;
};

// What no caller may ask for is refused.
void refuses(const Graph& graph) {
    const auto opens = [&](auto change) {
        vdb_hnsw_parts parts = graph.parts;
        change(parts);
        vdb_hnsw* made = nullptr;
        const int status = status_of([&](char* message) { return vdb_hnsw_open(&parts, &made, message, MESSAGE); });
        vdb_hnsw_close(made);
        return status == VDB_OK;
    };
    expect(!opens([](vdb_hnsw_parts& parts) { parts.m = 1; }), "too few links are refused");
    expect(!opens([](vdb_hnsw_parts& parts) { parts.codes_len -= 1; }), "codes of another length are refused");
    expect(!opens([](vdb_hnsw_parts& parts) { parts.links_len -= 1; }), "links of another length are refused");
    expect(!opens([](vdb_hnsw_parts& parts) { parts.entry_point = -1; }), "an entry point that is no row is refused");
    expect(!opens([](vdb_hnsw_parts& parts) { parts.max_level += 1; }), "an entry point below the top is refused");
    expect(!opens([](vdb_hnsw_parts& parts) { parts.kind = 9; }), "an unknown kind is refused");
}

// Scans sketches that may be anything, in arrays that end where they must, and sees that each wanted row is given once.
void scan_sketches(std::mt19937& random) {
    const size_t dims = 8 * (1 + random() % 16);
    const size_t words = 1 + random() % 40;
    std::vector<uint8_t> codes(words * 64 * dims / 2);
    std::vector<int8_t> weights(dims);
    std::vector<uint64_t> mask(words);
    std::vector<float> biases(random() % 2 == 0 ? 0 : words * 64 - random() % 64);
    std::generate(codes.begin(), codes.end(), [&random] { return static_cast<uint8_t>(random()); });
    std::generate(weights.begin(), weights.end(), [&random] { return static_cast<int8_t>(random() % 255 - 127); });
    std::generate(mask.begin(), mask.end(), [&random] { return static_cast<uint64_t>(random()) << 32U | random(); });
    const float odd[] = {0, 1, std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()};
    std::generate(biases.begin(), biases.end(), [&] { return odd[random() % 4]; });
    vdb_sketches sketches = {};
    sketches.dims = dims;
    sketches.weights = weights.data();
    sketches.weights_len = dims;
    const float units[] = {0.01F, 1, -1, 0, std::numeric_limits<float>::quiet_NaN()};
    sketches.unit = units[random() % 5];
    sketches.biases = biases.data();
    sketches.biases_len = biases.size();
    sketches.codes = codes.data();
    sketches.codes_len = codes.size();
    sketches.mask = mask.data();
    sketches.mask_len = words;
    std::vector<float> scores(256 + random() % 100);
    std::vector<uint32_t> rows(scores.size());
    size_t word = 0;
    const auto scan = [&](float floor) {
        size_t found = 0;
        const int status = status_of([&](char* message) {
            return vdb_sketch_scan(
                    &sketches, floor, &word, scores.data(), rows.data(), rows.size(), &found, message, MESSAGE);
        });
        const bool has_way = sketches.way > 0 && sketches.way <= vdb_sketch_ways();
        expect((status == VDB_OK) == has_way, "sketches are scanned where the processor has the way");
        return status == VDB_OK ? found : 0;
    };
    for (sketches.way = 1; sketches.way <= vdb_sketch_ways(); ++sketches.way) {
        std::vector<uint64_t> seen(words);
        std::vector<float> all;
        for (word = 0; word < words;) {
            const size_t found = scan(-std::numeric_limits<float>::infinity());
            for (size_t at = 0; at < found; ++at) {
                seen.at(rows[at] / 64) ^= UINT64_C(1) << (rows[at] % 64);
            }
            all.insert(all.end(), scores.begin(), scores.begin() + static_cast<ptrdiff_t>(found));
        }
        expect(seen == mask, "each wanted row is given once");
        const float floor = all.empty() ? 0 : all[random() % all.size()];
        const auto good = std::count_if(all.begin(), all.end(), [floor](float score) { return !(score < floor); });
        size_t rest = 0;
        for (word = 0; word < words;) {
            rest += scan(floor);
        }
        expect(rest == static_cast<size_t>(good), "rows whose scores are not less than the floor are given");
    }
    for (const int way : {0, vdb_sketch_ways() + 1}) {
        sketches.way = way;
        word = 0;
        scan(0);
    }
    sketches.way = vdb_sketch_ways();
    word = 0;
    sketches.codes_len -= 1;
    expect(status_of([&](char* message) {
               size_t found = 0;
               return vdb_sketch_scan(&sketches, 0, &word, scores.data(), rows.data(), rows.size(), &found, message, MESSAGE);
           }) != VDB_OK,
           "too few sketches are refused");
}

} // namespace

int main() {
    std::mt19937 random(1);
    expect(status_of([](char* message) { return vdb_faiss_init(message, MESSAGE); }) == VDB_OK, "FAISS is made ready");
    size_t wanted_all = 0;
    size_t found_all = 0;
    size_t found_hostile = 0;
    for (int n = 0; n < GRAPHS; ++n) {
        Graph graph(random);
        refuses(graph);
        graph.open();
        std::thread other([&graph] { graph.add(0, graph.rows / 2); });
        graph.add(graph.rows / 2, graph.rows);
        other.join();
        for (int search = 0; search < SEARCHES; ++search) {
            std::vector<float> query;
            for (size_t at = 0; at < graph.dim; ++at) {
                query.push_back(graph.value());
            }
            if (search == 0) {
                wanted_all += graph.rows;
                found_all += graph.search(query.data(), graph.rows, graph.rows);
            }
            graph.damage();
            found_hostile += graph.search(query.data(), 1 + random() % graph.rows, 1 + random() % (graph.rows + 5));
        }
        vdb_hnsw_close(graph.native);
        scan_sketches(random);
    }
    expect(found_all * 100 >= wanted_all * 95, "nearly all rows of a sound graph are found");
    std::printf("%d graphs, %d searches: nothing wrong, %zu of %zu rows found in sound ones, %zu in damaged ones\n", GRAPHS,
                GRAPHS * (SEARCHES + 1), found_all, wanted_all, found_hostile);
}
