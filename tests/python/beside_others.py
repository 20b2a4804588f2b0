"""Uses vdb, FAISS and scikit-learn in one process: beside_others.py LIBRARY vdb|others|torch

Each brings a native runtime of its own. The second argument says who is loaded first; `torch` loads that, too.
Four threads add and search at the same time. Then the process forks, and the child must get a clear error.
"""

import ctypes
import os
import sys
import threading
import traceback

LIBRARY, FIRST = sys.argv[1:]
ROWS, THREADS, ROUNDS = 3000, 4, 250


def load():
    library = ctypes.CDLL(LIBRARY)
    for name in ("vdb_load", "vdb_add", "vdb_find", "vdb_find_indexed"):
        function = getattr(library, name)
        function.argtypes, function.restype = [ctypes.c_uint64], ctypes.c_int64
    return library


if FIRST == "vdb":
    vdb = load()
import faiss
import numpy
import sklearn.cluster
import sklearn.neighbors

if FIRST == "torch":
    import torch
if FIRST != "vdb":
    vdb = load()

assert vdb.vdb_load(ROWS) == 0
points = numpy.random.default_rng(1).standard_normal((2000, 32), dtype=numpy.float32)
flat = faiss.IndexFlatL2(32)
flat.add(points)
graph = faiss.IndexHNSWFlat(32, 16)
graph.add(points)
trees = sklearn.neighbors.NearestNeighbors(n_neighbors=1).fit(points)
faults = []


def work(thread):
    try:
        for n in range(ROUNDS):
            number = ROWS + thread * ROUNDS + n
            assert vdb.vdb_add(number) == 0
            assert vdb.vdb_find(number) == number
            old = number * 7 % ROWS
            assert vdb.vdb_find(old) == old
            assert vdb.vdb_find_indexed(old) == old
            row = number % len(points)
            assert flat.search(points[row : row + 8], 1)[1][0][0] == row
            assert graph.search(points[row : row + 1], 4)[1].shape == (1, 4)
            if n % 50 == thread:
                assert trees.kneighbors(points[row : row + 1])[1][0][0] == row
                sklearn.cluster.KMeans(4, n_init=1, max_iter=5).fit(points[:500])
            if FIRST == "torch" and n % 10 == thread:
                torch.from_numpy(points) @ torch.from_numpy(points).T
    except BaseException:
        faults.append(traceback.format_exc())


threads = [threading.Thread(target=work, args=(thread,)) for thread in range(THREADS)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert not faults, faults[0]

sys.stderr.flush()
child = os.fork()
if child == 0:
    # -2: it belongs to another process.
    os._exit(0 if vdb.vdb_find(1) == -2 and vdb.vdb_add(1) == -2 and vdb.vdb_find_indexed(1) == -2 else 1)
_, status = os.waitpid(child, 0)
assert status == 0, f"the forked child ended with {status}"
assert vdb.vdb_find(1) == 1
print(f"{THREADS * ROUNDS} additions, {THREADS * ROUNDS * 4} searches")
