"""How near a harvest comes to what it cannot do without: the pass to the deepest layer and the encoders' products.

Both sides are taken in turn on the same machine over the same passages: one shard of four 16k residual sources, written
to disk with its manifest, and for the same batches the bare forward pass with one product per source, into memory that
is there already.
"""

import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from bench.dictionaries import LAYERS, TEXT, make
from bench.figure import Figure, interleaved_ms
from bench.serving import HOME
from inference.dictionaries.dictionary import Dictionary
from inference.gemma.model import Gemma
from inference.gemma.origin import find
from inference.harvest.corpus import Corpus, write_corpus
from inference.harvest.plan import plan_for
from inference.harvest.shard import Source, counted_tokens, padded, run_shard

MODEL = "gemma-3-270m"
MOST = 1 / 0.7
PASSAGES = 96
PASSAGE_TOKENS = 256


def figures() -> Iterator[Figure]:
    model = Gemma.load(find(MODEL, home=HOME, offline=True))
    sources = {}
    for layer, folder in make(model, HOME / "bench").items():
        sources[f"{layer}-bench-res-16k"] = Source(Dictionary(folder, home=HOME))
    for source in sources.values():
        source.dictionary.to_device("encoder", model.device)
    folder = Path(tempfile.mkdtemp(prefix="gemlens-bench-"))
    try:
        passages = shuffled_text(model, PASSAGES)
        corpus = write_corpus(folder / "corpus", passages, vocabulary=model.tokenizer.vocabulary, about={})
        plan = plan_for(1_000_000)
        batches = range(plan.batches(corpus.passages))
        fired: list[float] = []

        def shard() -> None:
            manifest = run_shard(model, sources, corpus, batches, plan=plan, folder=folder / "shard")
            l0 = manifest["l0"][f"{LAYERS[0]}-bench-res-16k"]
            fired.append(sum(n * count for n, count in enumerate(l0)) / manifest["tokens"])

        whole, bare = interleaved_ms(shard, bound(model, sources, corpus, plan.batch_passages), repeats=2, warm=0)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    yield Figure(
        name="harvesting four 16k sources, against forward pass and encoder products",
        value=whole / bare,
        unit="x",
        bound=MOST,
        detail={
            "tokens_per_s": round(corpus.tokens / whole * 1000),
            "bound_tokens_per_s": round(corpus.tokens / bare * 1000),
            "l0": round(fired[-1], 1),
            "dtype": str(model.dtype)[6:],
            "threads": torch.get_num_threads(),
        },
    )


def shuffled_text(model: Gemma, count: int) -> list[list[int]]:
    """Passages of the text that thresholds were set on, its words in another order each time."""
    draw = random.Random(0)
    words = TEXT.split(" ")
    passages = []
    for _ in range(count):
        ids = [model.tokenizer.bos]
        while len(ids) < PASSAGE_TOKENS:
            ids += model.tokenizer.encode(" " + " ".join(draw.sample(words, len(words))))[1:]
        passages.append(ids[:PASSAGE_TOKENS])
    return passages


def bound(model: Gemma, sources: dict[str, Source], corpus: Corpus, batch_passages: int) -> Callable[[], None]:
    encoders = {
        source.site: (
            source.dictionary.encoder_columns(torch.arange(source.dictionary.spec.width)).T.contiguous(),
            torch.zeros(source.dictionary.spec.width, device=model.device),
        )
        for source in sources.values()
    }
    rows = 256
    outs = torch.empty(rows, 16_384, device=model.device)

    def work() -> None:
        for first in range(0, corpus.passages, batch_passages):
            passages = corpus.read(first, first + batch_passages)
            ids = padded(passages, pad=model.tokenizer.pad)
            at, _ = counted_tokens(passages, first, ids, model.tokenizer)
            values = model.read_sites(torch.from_numpy(ids), list(encoders))
            for site, (w_enc, b_enc) in encoders.items():
                x = values[site].flatten(0, 1)[at].float()
                for start in range(0, len(x), rows):
                    block = x[start : start + rows]
                    torch.addmm(b_enc, block, w_enc, out=outs[: len(block)])

    return work
