"""Uses vdb, FAISS and scikit-learn in one process: beside_others.py LIBRARY vdb|others|torch

Each brings a native runtime of its own. The second argument says who is loaded first; `torch` loads that, too.
Four threads add and search at the same time, while vdb builds indexes of what they add. Then the process forks, and the child
must get a clear error. vdb has one thread of its own that stays, and starts no pool of any other library.
"""

import ctypes
import os
import sys
import threading
import time
import traceback

LIBRARY, FIRST = sys.argv[1:]
ROWS, THREADS, ROUNDS = 3000, 4, 250


def load():
    library = ctypes.CDLL(LIBRARY)
    for name in ("load", "add", "merge", "newest_index", "find", "find_near", "find_indexed"):
        function = getattr(library, f"vdb_{name}")
        function.argtypes, function.restype = [ctypes.c_uint64], ctypes.c_int64
    return library


def tasks():
    names = {}
    for task in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{task}/comm") as name:
                names[task] = name.read().strip()
        except (FileNotFoundError, ProcessLookupError):
            # It has ended meanwhile.
            pass
    return names


def assert_started(before, wanted):
    """Waits a little: a thread that has ended is seen for a moment longer."""
    for _ in range(1000):
        started = [name for task, name in tasks().items() if task not in before]
        if started == wanted:
            return
        time.sleep(0.01)
    raise AssertionError(f"{started} were started, expected {wanted}")


def fill():
    """Loads the library, and lets it build indexes: of what it starts, the thread that merges alone stays."""
    before = tasks()
    library = load()
    assert library.vdb_load(ROWS) == 0
    assert library.vdb_newest_index(0) > 0
    assert_started(before, ["vdb-merge"])
    return library


if FIRST == "vdb":
    vdb = fill()
import faiss
import numpy
import sklearn.cluster
import sklearn.neighbors

if FIRST == "torch":
    import torch
if FIRST != "vdb":
    vdb = fill()

points = numpy.random.default_rng(1).standard_normal((2000, 32), dtype=numpy.float32)
flat = faiss.IndexFlatL2(32)
flat.add(points)
graph = faiss.IndexHNSWFlat(32, 16)
graph.add(points)
trees = sklearn.neighbors.NearestNeighbors(n_neighbors=1).fit(points)
faults, near = [], []
built = vdb.vdb_newest_index(0)


def work(thread):
    try:
        for n in range(ROUNDS):
            number = ROWS + thread * ROUNDS + n
            assert vdb.vdb_add(number) == 0
            assert vdb.vdb_find(number) == number
            old = number * 7 % ROWS
            assert vdb.vdb_find(old) == old
            near.append(vdb.vdb_find_near(old) == old)
            if n % 60 == 59:
                assert vdb.vdb_merge(0) == 0
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
assert len(near) == THREADS * ROUNDS and sum(near) >= 0.95 * len(near), sum(near)
assert vdb.vdb_newest_index(0) > built, "no index was built beside the others"
# Now that the others have what they want.
before = tasks()
assert vdb.vdb_add(2 * ROWS) == 0 and vdb.vdb_merge(0) == 0 and vdb.vdb_find(2 * ROWS) == 2 * ROWS
assert_started(before, [])

sys.stderr.flush()
child = os.fork()
if child == 0:
    # -2: it belongs to another process.
    os._exit(0 if vdb.vdb_find(1) == -2 and vdb.vdb_add(1) == -2 and vdb.vdb_find_indexed(1) == -2 else 1)
_, status = os.waitpid(child, 0)
assert status == 0, f"the forked child ended with {status}"
assert vdb.vdb_find(1) == 1
print(f"{THREADS * ROUNDS} additions, {THREADS * ROUNDS * 5} searches")
