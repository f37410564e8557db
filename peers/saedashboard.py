"""Against SAEDashboard: every feature of one dictionary, from tokens to what a page shows, by each on the same files.

Both read the same passages of the text of the packages installed here, keep 20 strongest examples and five of each
group below, and end with all of it stored: SAEDashboard as one JSON file, Gemlens in Postgres, verified and labelled.
SAEDashboard's time is that of its runner, with the model loaded before it begins, for two batches of features and as
many more as the dictionary has; Gemlens' is that of the whole job, loading the model and everything else included.
"""

import asyncio
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from app.db.database import Database
from app.store import features, sources
from bench.figure import Figure
from bench.serving import HOME
from inference.dictionaries.config import make_config
from inference.dictionaries.write import write_folder
from inference.gemma.checkpoint import Checkpoint
from inference.gemma.model import Gemma
from inference.gemma.origin import find
from inference.gemma.sites import Site
from inference.training.first import cut_passages, installed_texts
from inference.training.stream import Passages
from peers.environment import python_of, run_inside

REQUIREMENTS = ("sae-dashboard==0.8.0", "torch==2.13.0", "pyarrow<21")
"""Its numpy is 1.26, which newer releases of pyarrow do not read."""
UNFIT = ("torchvision", "torchaudio")
"""Nothing here needs them, and beside a torch for processors alone they stop transformers from being imported."""
MODEL = "gemma-3-270m"
SITE = Site("resid_post", 12)
WIDTH, L0 = 4096, 60
PASSAGES = 64
TOP, GROUPS = 20, 10
BATCHES = 2
"""Of SAEDashboard's batches of 256 features, which take equally long; the first includes the pass of the model."""
THREADS = 2
CLOSE = 1e-3
"""SAEDashboard keeps four decimals."""


def figures() -> Iterator[Figure]:
    checkpoint = find(MODEL, home=HOME, offline=True)
    python = python_of("saedashboard", REQUIREMENTS, without=UNFIT, constrained=False)
    with tempfile.TemporaryDirectory(prefix="gemlens-peers-") as name:
        folder = Path(name)
        passages, dictionary = _made(checkpoint, folder)
        ours, wall = _gemlens(checkpoint, folder, dictionary)
        found = asyncio.run(_strongest(folder / "home", passages))
        theirs = run_inside(
            python, "saedashboard_run.py", model=checkpoint.folder, name=f"google/{MODEL}", root=folder,
            folder=dictionary.relative_to(folder), hook=f"blocks.{SITE.layer}.hook_resid_post",
            tokens=folder / "tokens.npy", bos=2, top=TOP, groups=GROUPS, threads=THREADS, batches=BATCHES,
            out=folder / "strongest.npy",
        )  # fmt: skip
        listed = np.load(folder / "strongest.npy")
    seconds = float(str(theirs["seconds"]))
    yield Figure(
        name="features a second beside SAEDashboard, end to end",
        value=seconds / ours,
        unit="x",
        bound=10,
        at_least=True,
        detail={
            "ours_per_s": round(WIDTH / ours, 2),
            "saedashboard_per_s": round(WIDTH / seconds, 2),
            "ours_s": ours,
            "ours_with_start_and_sentence_vectors_s": round(wall, 1),
            "saedashboard_s": round(seconds, 1),
            "saedashboard_batch_s": theirs["batch_seconds"],
            "saedashboard_loading_s": theirs["loading_seconds"],
            "features": WIDTH,
            "tokens": int(passages.size),
            "threads": THREADS,
        },
    )
    run = int(str(theirs["run_features"]))
    yield compared(found[:run], listed[:run])


def compared(ours: list[dict[int, float]], theirs: Any) -> Figure:
    """Where both list a passage for a feature, its greatest activation."""
    both = different = first = 0
    worst = 0.0
    for mine, listed in zip(ours, theirs, strict=True):
        best: dict[int, float] = {}
        for passage, _, value in listed:
            if value > 0:
                best[int(passage)] = max(best.get(int(passage), 0.0), float(value))
        for passage in mine.keys() & best.keys():
            apart = abs(mine[passage] - best[passage]) / best[passage]
            both, different, worst = both + 1, different + (apart > CLOSE), max(worst, apart)
        if best or mine:
            greatest = max(best.values(), default=0.0)
            first += abs(max(mine.values(), default=0.0) - greatest) > CLOSE * greatest
    return Figure(
        name="top activations that differ from SAEDashboard's, of those both list",
        value=different,
        unit="",
        bound=0,
        detail={"both_list": both, "furthest_apart": worst, "features_whose_greatest_differs": first},
    )


def _made(checkpoint: Checkpoint, folder: Path) -> tuple[Passages, Path]:
    """Passages of real text, and a dictionary of random directions on which about `L0` features fire."""
    model = Gemma.load(checkpoint, dtype="float32")
    passages = np.unique(cut_passages(installed_texts(), model.tokenizer, most=PASSAGES), axis=0)
    np.save(folder / "tokens.npy", passages.astype(np.int32))
    x = model.read_sites(torch.from_numpy(passages[:8]), [SITE])[SITE][:, 1:].flatten(0, 1)
    mean = x.mean(0)
    generator = torch.Generator().manual_seed(0)
    w_dec = torch.nn.functional.normalize(torch.randn(WIDTH, x.shape[1], generator=generator), dim=1)
    before = (x - mean) @ w_dec.T
    threshold = before.quantile(1 - L0 / WIDTH, dim=1).mean()
    dictionary = folder / SITE.kind / f"layer_{SITE.layer}_width_{WIDTH // 1024}k_l0_medium"
    write_folder(
        dictionary,
        {
            "w_enc": w_dec.T.contiguous(), "b_enc": -(w_dec @ mean), "threshold": threshold.expand(WIDTH).contiguous(),
            "w_dec": w_dec, "b_dec": mean,
        },
        make_config(
            kind="sae", read=(SITE,), write=(SITE,), total_width=WIDTH, l0=L0, skip=False, model_name=MODEL
        ),
    )  # fmt: skip
    return passages, dictionary


def _gemlens(checkpoint: Checkpoint, folder: Path, dictionary: Path) -> tuple[float, float]:
    """Seconds of the job, and of the command with all that follows."""
    home = ["--home", str(folder / "home"), "--offline"]
    gemlens = [sys.executable, "-m", "app.cli"]
    added = subprocess.run(
        [*gemlens, "add", str(dictionary), "--model", MODEL, *home], check=True, stdout=subprocess.PIPE, text=True
    )
    start = time.perf_counter()
    done = subprocess.run(
        [*gemlens, "harvest", MODEL, added.stdout.strip(), "--corpus", str(folder / "tokens.npy"), "--top", str(TOP),
         "--model-path", str(checkpoint.folder), "--dtype", "float32", "--threads", str(THREADS), *home],
        check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    wall = time.perf_counter() - start
    told = re.search(r"Harvested in ([\d,]+) s", done.stdout)
    assert told is not None, done.stdout
    return float(told[1].replace(",", "")), wall


async def _strongest(home: Path, passages: Passages) -> list[dict[int, float]]:
    """By feature: the greatest activation of each passage among its strongest examples."""
    numbers = {row.astype(np.int32).tobytes(): number for number, row in enumerate(passages)}
    database = await Database.open(url=None, home=home)
    try:
        async with database.session() as session:
            (source,) = await sources.of_model(session, MODEL)
            harvest = sources.needs_harvest(source)
            found = await features.examples(session, harvest, range(WIDTH), bands=[0])
    finally:
        await database.close()
    return [
        {
            numbers[np.asarray(example.ids, np.int32).tobytes()]: example.peak
            for band in found.get(index, ())
            for example in band.examples
        }
        for index in range(WIDTH)
    ]
