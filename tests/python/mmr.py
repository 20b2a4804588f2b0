"""Writes tests/fixtures/mmr.json: what maximal marginal relevance chooses, by the formula of LangChain in numpy.

Usage: python tests/python/mmr.py > tests/fixtures/mmr.json
"""

import json

import numpy as np


def cosines(left, right):
    norms = np.outer(np.linalg.norm(left, axis=1), np.linalg.norm(right, axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        found = left @ right.T / norms
    found[~np.isfinite(found)] = 0.0
    return found


def choose(query, candidates, lambda_, k):
    relevance = cosines(query[None, :], candidates)[0]
    chosen = [int(np.argmax(relevance))]
    while len(chosen) < min(k, len(candidates)):
        redundancy = cosines(candidates, candidates[chosen]).max(axis=1)
        worth = lambda_ * relevance - (1 - lambda_) * redundancy
        worth[chosen] = -np.inf
        chosen.append(int(np.argmax(worth)))
    return chosen


def main():
    rng = np.random.default_rng(20)
    cases = []
    for n in range(48):
        dim, count = int(rng.integers(2, 7)), int(rng.integers(1, 24))
        # Small whole numbers make ties, doubles and zero vectors.
        if n % 3 == 0:
            query, candidates = rng.integers(-2, 3, dim), rng.integers(-2, 3, (count, dim))
        else:
            query, candidates = rng.normal(size=dim).round(3), rng.normal(size=(count, dim)).round(3)
        query, candidates = query.astype(np.float32), candidates.astype(np.float32)
        lambda_, k = (0.0, 0.25, 0.5, 0.75, 1.0)[n % 5], int(rng.integers(1, 12))
        chosen = choose(query.astype(np.float64), candidates.astype(np.float64), lambda_, k)
        case = {"query": query, "candidates": candidates, "lambda": lambda_, "k": k, "chosen": chosen}
        cases.append({key: getattr(value, "tolist", lambda value=value: value)() for key, value in case.items()})
    print("[" + ",\n".join(json.dumps({key: short(value) for key, value in case.items()}) for case in cases) + "]")


def short(value):
    """A float32 as it was written."""
    if isinstance(value, list):
        return [short(item) for item in value]
    return round(value, 3) if isinstance(value, float) else value


main()
