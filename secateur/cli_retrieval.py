"""The steps of `secateur data` that find passages: `index`, `retrieve`, `pairs`, `select`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any


def _index(arguments: argparse.Namespace) -> None:
    from secateur.data_scripts.retrieval.dense import DenseOptions
    from secateur.data_scripts.retrieval.index import build_index

    options = DenseOptions(arguments.embedder, arguments.max_tokens, arguments.shard, arguments.kind)
    manifest = build_index(
        arguments.chunks,
        arguments.out,
        options,
        bm25=not arguments.dense_only,
        dense=not arguments.bm25_only,
        ray=arguments.ray,
    )
    dense = f", dense ({manifest['kind']})" if manifest["dense"] else ""
    sys.stdout.write(f"{manifest['rows']} chunks indexed{', BM25' * manifest['bm25']}{dense}\n")


def _retrieve(arguments: argparse.Namespace) -> None:
    from secateur.data_scripts.retrieval.retrieve import RetrieveOptions, retrieve

    options = RetrieveOptions(
        k=arguments.k,
        method=arguments.method,
        depth=arguments.depth,
        constant=arguments.rrf_k,
        feedback=arguments.feedback,
        alpha=arguments.alpha,
        beta=arguments.beta,
    )
    count = retrieve(arguments.queries, arguments.index, arguments.out, options, arguments.trec)
    sys.stdout.write(f"passages retrieved for {count} queries\n")


def _pairs(arguments: argparse.Namespace) -> None:
    from secateur.data_scripts.retrieval.negatives import PairOptions, make_pairs, parse_bands

    options = PairOptions(arguments.top, parse_bands(arguments.bands), arguments.margin, arguments.seed)
    sys.stdout.write(f"{make_pairs(arguments.candidates, arguments.out, options)} pairs\n")


def _select(arguments: argparse.Namespace) -> None:
    from secateur.data_scripts.labels.selecting import select
    from secateur.labelled.embedder import load_embedder

    def embed(texts: Any) -> Any:
        return load_embedder(arguments.embedder, None)(texts)

    count = select(
        arguments.pairs, arguments.out, arguments.count, arguments.by, embed, arguments.seed, arguments.pruner
    )
    sys.stdout.write(f"{count} pairs selected\n")


def add_steps(steps: Any) -> None:
    """Add the steps.

    Args:
        steps: the subparsers of `secateur data`.
    """
    index = steps.add_parser("index", help="Index chunks by BM25 and by embeddings.")
    index.set_defaults(run=_index)
    index.add_argument("chunks", type=Path, metavar="CHUNKS.jsonl")
    index.add_argument("--out", type=Path, required=True, metavar="INDEX_DIR")
    index.add_argument("--embedder", type=Path, metavar="DIR", help="sentence-transformers model (all-MiniLM-L6-v2)")
    index.add_argument("--max-tokens", type=int, default=128, help="of a chunk that are embedded")
    index.add_argument("--shard", type=int, default=4096, help="chunks embedded at a time, kept by a killed run")
    index.add_argument("--kind", choices=("flat", "hnsw", "ivf"), help="of the dense index (default: by size)")
    only = index.add_mutually_exclusive_group()
    only.add_argument("--bm25-only", action="store_true")
    only.add_argument("--dense-only", action="store_true")
    index.add_argument("--ray", action="store_true", help="embed on the Ray cluster of RAY_ADDRESS, or a local one")

    retrieve = steps.add_parser("retrieve", help="Find each query's passages.")
    retrieve.set_defaults(run=_retrieve)
    retrieve.add_argument("queries", type=Path, metavar="QUERIES.jsonl")
    retrieve.add_argument("--index", type=Path, required=True, metavar="INDEX_DIR")
    retrieve.add_argument("--out", type=Path, required=True, metavar="CANDIDATES.jsonl")
    retrieve.add_argument("--trec", type=Path, metavar="RUN.trec", help="a TREC run file to write beside")
    retrieve.add_argument("--k", type=int, default=20, help="passages of a query")
    retrieve.add_argument("--method", default="fused", choices=("fused", "bm25", "dense"))
    retrieve.add_argument("--depth", type=int, default=100, help="ranks that are fused")
    retrieve.add_argument("--rrf-k", type=float, default=10.0, help="constant of reciprocal rank fusion")
    retrieve.add_argument(
        "--feedback", type=int, default=0, metavar="N", help="Rocchio over the first N dense passages"
    )
    retrieve.add_argument("--alpha", type=float, default=0.6, help="weight of the query in the feedback")
    retrieve.add_argument("--beta", type=float, default=0.4, help="weight of the passages in the feedback")

    pairs = steps.add_parser("pairs", help="Choose each query's passages to label, hard negatives among them.")
    pairs.set_defaults(run=_pairs)
    pairs.add_argument("candidates", type=Path, metavar="CANDIDATES.jsonl")
    pairs.add_argument("--out", type=Path, required=True, metavar="PAIRS.jsonl")
    pairs.add_argument("--top", type=int, default=2, help="first passages, taken beside the query's own chunk")
    pairs.add_argument("--bands", default="3-10:2,11-20:1", help="ranks of further ones: FIRST-LAST:COUNT,...")
    pairs.add_argument("--margin", type=float, help="teacher logits by which a further one must lie below the best")
    pairs.add_argument("--seed", type=int, default=13)

    select = steps.add_parser("select", help="Choose the pairs that are worth a label under a budget.")
    select.set_defaults(run=_select)
    select.add_argument("pairs", type=Path, metavar="PAIRS.jsonl")
    select.add_argument("--out", type=Path, required=True, metavar="PAIRS.jsonl")
    select.add_argument("--count", type=int, required=True, help="pairs to choose")
    select.add_argument("--by", default="diverse", choices=("random", "diverse", "uncertain"))
    select.add_argument("--embedder", type=Path, metavar="DIR", help="for diverse (default: all-MiniLM-L6-v2)")
    select.add_argument("--pruner", metavar="MODEL", help="for uncertain (default: the shipped model)")
    select.add_argument("--seed", type=int, default=13, help="for random")
