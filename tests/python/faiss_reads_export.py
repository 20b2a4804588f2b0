"""Opens an index file with FAISS and prints what it found as JSON: metric, dim, rows, and the ten nearest ids of each query."""

import json
import sys

import faiss
import numpy

index_path, queries_path = sys.argv[1:]
faiss.omp_set_num_threads(1)
index = faiss.read_index(index_path)
_, neighbours = index.search(numpy.load(queries_path), 10)
json.dump(
    {
        "metric": index.metric_type,
        "dim": index.d,
        "rows": index.ntotal,
        "neighbours": neighbours.tolist(),
    },
    sys.stdout,
)
