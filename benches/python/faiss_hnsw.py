"""Builds faiss-cpu's HNSW32 over vectors of a directory, then answers requests: for each line on its input, one on its output.

Arguments: directory with base.f32 and queries.f32, dimension. First line of output: rows a second of the build on two threads.
Each line "EFFORT" is answered by a JSON object: the rows found for each query, and queries a second, one at a time on one thread.
"""

import json
import sys
import time

import faiss
import numpy

directory, dim = sys.argv[1], int(sys.argv[2])
base = numpy.fromfile(f"{directory}/base.f32", dtype="<f4").reshape(-1, dim)
queries = numpy.fromfile(f"{directory}/queries.f32", dtype="<f4").reshape(-1, dim)

faiss.omp_set_num_threads(2)
index = faiss.IndexHNSWFlat(dim, 32, faiss.METRIC_INNER_PRODUCT)
start = time.perf_counter()
index.add(base)
built = time.perf_counter() - start
faiss.omp_set_num_threads(1)
print(json.dumps({"version": faiss.__version__, "options": faiss.get_compile_options().strip(), "rows_per_second": len(base) / built}), flush=True)

one = [queries[i : i + 1] for i in range(len(queries))]
for line in sys.stdin:
    index.hnsw.efSearch = int(line)
    start = time.perf_counter()
    found = [index.search(query, 10)[1][0] for query in one]
    seconds = time.perf_counter() - start
    print(json.dumps({"rows": [row.tolist() for row in found], "per_second": len(one) / seconds}), flush=True)
