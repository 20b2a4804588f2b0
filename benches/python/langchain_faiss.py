"""Adds the vectors of an array to LangChain's FAISS store, as its users do: texts with embeddings."""

import sys

import faiss
import langchain_community
import numpy
from langchain_community.vectorstores import FAISS
from langchain_core.embeddings import FakeEmbeddings

array = numpy.load(sys.argv[1], mmap_mode="r")
pairs = [(f"text {n}", row.tolist()) for n, row in enumerate(array)]
store = FAISS.from_embeddings(pairs, FakeEmbeddings(size=array.shape[1]))
print(f"langchain-community {langchain_community.__version__}, faiss-cpu {faiss.__version__}, {store.index.ntotal} vectors")
