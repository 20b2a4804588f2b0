"""Runs another library for the comparison of benches/peers: peers.py NAME DIRECTORY probe|build|serve|truth

DIRECTORY holds base.f32 and queries.f32 (unit vectors, row-major), shape.json with their dimension, and documents.jsonl
with an id, a text and metadata for each row; what the library builds stays there. Everything is said in lines of JSON:
probe: the version, how it chose its instructions, what it can be asked; or why it cannot be used here.
build: the seconds of building on two threads.
serve: `{}` once it is open; then for each line {"setting", "mode", "queries"} on the input the seconds that the first
    queries took, one at a time on one thread, and the ids that each found.
truth: writes the true ten nearest of each query to truth.u32, from products of matrices.
"""

import json
import os
import shutil
import sys
import time
from pathlib import Path

NAME, DIRECTORY, TASK = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
K, THREADS = 10, 2
if TASK == "serve":
    # One processor, so that a library that starts threads all the same gains nothing by them.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import numpy  # noqa: E402  # after the choice of processors

EFFORTS = [10, 16, 24, 32, 48, 64, 96, 128, 192, 256]


def say(**what):
    print(json.dumps(what), flush=True)


def vectors(name, dim):
    return numpy.fromfile(DIRECTORY / name, dtype="<f4").reshape(-1, dim)


def documents():
    with open(DIRECTORY / "documents.jsonl", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def batches(size):
    batch = []
    for document in documents():
        batch.append(document)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


class Faiss:
    """HNSW with 32 links over f32."""

    modes, settings, queries, about = ["ids"], EFFORTS, 1000, "HNSW32, f32"

    def __init__(self):
        import faiss

        self.faiss, self.path = faiss, str(DIRECTORY / "faiss.index")
        self.version, self.dispatch = faiss.__version__, faiss.get_compile_options().strip()

    def build(self, base):
        self.faiss.omp_set_num_threads(THREADS)
        index = self.faiss.IndexHNSWFlat(base.shape[1], 32, self.faiss.METRIC_INNER_PRODUCT)
        seconds = timed(lambda: index.add(base))
        self.faiss.write_index(index, self.path)
        return seconds

    def open(self):
        self.faiss.omp_set_num_threads(1)
        self.index = self.faiss.read_index(self.path)

    def set(self, effort):
        self.index.hnsw.efSearch = effort

    def given(self, queries):
        return [queries[at : at + 1] for at in range(len(queries))]

    def ids(self, query):
        return self.index.search(query, K)[1]

    def plain(self, found):
        return found[0].tolist()


class Usearch:
    """HNSW with its own defaults."""

    modes, settings, queries = ["ids"], EFFORTS, 1000

    def __init__(self, kind):
        import usearch
        from usearch.index import Index

        self.make = lambda dim: Index(ndim=dim, metric="ip", dtype=kind)
        self.path, self.about = str(DIRECTORY / f"usearch-{kind}.index"), f"HNSW, {kind}"
        self.version, self.dispatch = usearch.__version__, self.make(384).hardware_acceleration

    def build(self, base):
        index, keys = self.make(base.shape[1]), numpy.arange(len(base))
        seconds = timed(lambda: index.add(keys, base, threads=THREADS))
        index.save(self.path)
        return seconds

    def open(self):
        self.index = self.make(dimension())
        self.index.load(self.path)

    def set(self, effort):
        self.index.expansion_search = effort

    def given(self, queries):
        return list(queries)

    def ids(self, query):
        return self.index.search(query, K, threads=1)

    def plain(self, found):
        return found.keys.tolist()


class Hnswlib:
    """HNSW with 16 links over f32, its usual ones."""

    modes, settings, queries, about = ["ids"], EFFORTS, 1000, "HNSW16, f32"

    def __init__(self):
        import hnswlib
        from importlib.metadata import version

        self.hnswlib, self.path = hnswlib, str(DIRECTORY / "hnswlib.index")
        self.version, self.dispatch = version("hnswlib"), "compiled on this machine"

    def build(self, base):
        index = self.hnswlib.Index(space="ip", dim=base.shape[1])
        index.init_index(max_elements=len(base), ef_construction=200, M=16)
        seconds = timed(lambda: index.add_items(base, num_threads=THREADS))
        index.save_index(self.path)
        return seconds

    def open(self):
        self.index = self.hnswlib.Index(space="ip", dim=dimension())
        self.index.load_index(self.path)
        self.index.set_num_threads(1)

    def set(self, effort):
        self.index.set_ef(effort)

    def given(self, queries):
        return list(queries)

    def ids(self, query):
        return self.index.knn_query(query, k=K, num_threads=1)[0]

    def plain(self, found):
        return found[0].tolist()


class Zvec:
    """A collection with an HNSW index of its own defaults."""

    modes, settings, queries, about = ["ids", "documents"], EFFORTS, 500, "HNSW, f32"

    def __init__(self):
        import zvec

        self.zvec, self.path = zvec, DIRECTORY / "zvec"
        self.version, self.dispatch = zvec.__version__, "not told"
        zvec.init(query_threads=1, optimize_threads=THREADS, log_level=zvec.LogLevel.ERROR)

    def build(self, base):
        zvec = self.zvec
        shutil.rmtree(self.path, ignore_errors=True)
        index = zvec.HnswIndexParam(metric_type=zvec.MetricType.COSINE)
        collection = zvec.create_and_open(
            str(self.path),
            zvec.CollectionSchema(
                "peers",
                fields=[zvec.FieldSchema(name, zvec.DataType.STRING) for name in ("text", "metadata")],
                vectors=zvec.VectorSchema("vector", zvec.DataType.VECTOR_FP32, base.shape[1], index_param=index),
            ),
        )
        start = time.perf_counter()
        for batch in batches(1000):
            collection.insert(
                [
                    zvec.Doc(
                        id=one["id"],
                        vectors={"vector": base[int(one["id"])]},
                        fields={"text": one["text"], "metadata": json.dumps(one["metadata"])},
                    )
                    for one in batch
                ]
            )
        collection.optimize(zvec.OptimizeOption(concurrency=THREADS))
        collection.flush()
        return time.perf_counter() - start

    def open(self):
        self.collection = self.zvec.open(str(self.path))

    def set(self, effort):
        self.parameters = self.zvec.HnswQueryParam(ef=effort)

    def given(self, queries):
        return list(queries)

    def query(self, vector, **more):
        wanted = self.zvec.Query("vector", vector=vector, param=self.parameters)
        return self.collection.query(wanted, topk=K, **more)

    def ids(self, query):
        return self.query(query, output_fields=[])

    def documents(self, query):
        return self.query(query)

    def plain(self, found):
        return [int(one.id) for one in found]


class Lancedb:
    """A table with a graph over 8-bit codes, in one partition; a setting is an effort, and how many times as many rows
    as wanted are scored exactly."""

    modes, queries, about = ["ids", "documents"], 100, "IVF_HNSW_SQ, one partition"
    settings = [[16, 0], [64, 0], [20, 2], [32, 2], [64, 2], [128, 2], [192, 4]]

    def __init__(self):
        import lancedb

        self.lancedb, self.path = lancedb, DIRECTORY / "lancedb"
        self.version, self.dispatch = lancedb.__version__, "not told"

    def build(self, base):
        import pyarrow
        from lancedb.index import HnswSq

        shutil.rmtree(self.path, ignore_errors=True)
        start = time.perf_counter()
        rows = list(documents())
        columns = {
            "id": [one["id"] for one in rows],
            "text": [one["text"] for one in rows],
            "metadata": [json.dumps(one["metadata"]) for one in rows],
            "vector": pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(base.reshape(-1)), base.shape[1]),
        }
        table = self.lancedb.connect(self.path).create_table("peers", pyarrow.table(columns))
        table.create_index("vector", config=HnswSq(distance_type="cosine", num_partitions=1))
        return time.perf_counter() - start

    def open(self):
        self.table = self.lancedb.connect(self.path).open_table("peers")

    def set(self, setting):
        self.effort, self.refine = setting

    def given(self, queries):
        return list(queries)

    def query(self, vector, columns):
        wanted = self.table.search(vector).distance_type("cosine").nprobes(1).ef(self.effort).limit(K)
        if self.refine:
            wanted = wanted.refine_factor(self.refine)
        return wanted.select([*columns, "_distance"]).to_list()

    def ids(self, query):
        return self.query(query, ["id"])

    def documents(self, query):
        return self.query(query, ["id", "text", "metadata"])

    def plain(self, found):
        return [int(one["id"]) for one in found]


class Chromadb:
    """A collection with its usual graph."""

    modes, settings, queries, about = ["ids", "documents"], [10, 16, 32, 64, 128, 256], 200, "HNSW, f32"

    def __init__(self):
        import chromadb

        self.chromadb, self.path = chromadb, DIRECTORY / "chromadb"
        self.version, self.dispatch = chromadb.__version__, "not told"

    def client(self):
        return self.chromadb.PersistentClient(self.path, settings=self.chromadb.Settings(anonymized_telemetry=False))

    def build(self, base):
        shutil.rmtree(self.path, ignore_errors=True)
        hnsw = {"space": "cosine", "num_threads": THREADS}
        collection = self.client().create_collection(
            "peers", configuration={"hnsw": hnsw}, embedding_function=None
        )
        start = time.perf_counter()
        for batch in batches(5000):
            collection.add(
                ids=[one["id"] for one in batch],
                embeddings=base[[int(one["id"]) for one in batch]],
                documents=[one["text"] for one in batch],
                metadatas=[one["metadata"] for one in batch],
            )
        return time.perf_counter() - start

    def open(self):
        self.collection = None

    def set(self, effort):
        # An open collection keeps its effort: it is opened anew.
        self.client().get_collection("peers", embedding_function=None).modify(
            configuration={"hnsw": {"ef_search": effort}}
        )
        self.chromadb.api.shared_system_client.SharedSystemClient.clear_system_cache()
        self.collection = self.client().get_collection("peers", embedding_function=None)

    def given(self, queries):
        return [queries[at : at + 1] for at in range(len(queries))]

    def ids(self, query):
        return self.collection.query(query_embeddings=query, n_results=K, include=["distances"])

    def documents(self, query):
        return self.collection.query(query_embeddings=query, n_results=K)

    def plain(self, found):
        return [int(one) for one in found["ids"][0]]


PEERS = {
    "faiss-cpu": Faiss,
    "usearch-f32": lambda: Usearch("f32"),
    "usearch-f16": lambda: Usearch("f16"),
    "hnswlib": Hnswlib,
    "zvec": Zvec,
    "lancedb": Lancedb,
    "chromadb": Chromadb,
}


def timed(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def dimension():
    return json.loads((DIRECTORY / "shape.json").read_text())["dim"]


def serve(peer):
    peer.open()
    queries, last = peer.given(vectors("queries.f32", dimension())), None
    say()
    for line in sys.stdin:
        wanted = json.loads(line)
        if wanted["setting"] != last:
            last = wanted["setting"]
            peer.set(last)
            peer.ids(queries[-1])
        ask, some = getattr(peer, wanted["mode"]), queries[: wanted["queries"]]
        start = time.perf_counter()
        found = [ask(query) for query in some]
        seconds = time.perf_counter() - start
        say(seconds=seconds, found=[peer.plain(one) for one in found])


def truth():
    """The rows of the best, by scores of f64 among the hundred best by f32."""
    dim = dimension()
    base, queries = vectors("base.f32", dim), vectors("queries.f32", dim)
    best = numpy.empty((len(queries), K), dtype="<u4")
    for at in range(0, len(queries), 50):
        some = queries[at : at + 50]
        near = numpy.argpartition(some @ base.T, -100 if len(base) > 100 else 0, axis=1)[:, -100:]
        for query, rows, out in zip(some, near, best[at : at + 50]):
            scores = base[rows].astype("f8") @ query.astype("f8")
            out[:] = rows[numpy.argsort(-scores, kind="stable")[:K]]
    best.tofile(DIRECTORY / "truth.u32")


def main():
    if TASK == "truth":
        return truth()
    try:
        peer = PEERS[NAME]()
    except Exception as error:  # whatever an import of another library does
        return say(missing=f"{type(error).__name__}: {error}")
    if TASK == "probe":
        what = ("about", "version", "dispatch", "modes", "settings", "queries")
        say(**{name: getattr(peer, name) for name in what})
    elif TASK == "build":
        say(seconds=peer.build(vectors("base.f32", dimension())))
    else:
        serve(peer)


main()
