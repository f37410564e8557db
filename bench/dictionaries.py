"""Dictionaries of a real size for measuring speed: random directions, thresholds set so that about 60 features fire.

Speed does not depend on what a feature means, only on shapes and on how many fire; so these stand in for Google's
16k dictionaries where the hub is away. They are made once under the benchmark's home.
"""

from pathlib import Path

import torch

from inference.dictionaries.config import make_config
from inference.dictionaries.write import write_folder
from inference.gemma.model import Gemma
from inference.gemma.sites import Site

LAYERS = (5, 9, 12, 15)
WIDTH = 16_384
L0 = 60

TEXT = (
    "A dictionary writes each activation as a sum of few directions out of many. Some of them stand for words, some "
    "for languages, some for the shape of a list or the inside of a bracket. Cette phrase est en français, und "
    "dieser Satz ist auf Deutsch. def add(a, b):\n    return a + b\n\nThe train to Porto leaves at 14:35 from "
    "platform two; seats cost 24.50 euros. «Где мой билет?» asked the man with the red hat, who had lost it twice. "
)


def make(model: Gemma, folder: Path) -> dict[int, Path]:
    """Four residual SAEs of 16k features, by layer."""
    made = {layer: folder / "resid_post" / f"layer_{layer}_width_16k_l0_medium" for layer in LAYERS}
    if all((path / "params.safetensors").exists() for path in made.values()):
        return made
    ids = torch.tensor([model.tokenizer.encode(TEXT)])
    sites = {layer: Site("resid_post", layer) for layer in LAYERS}
    read = model.read_sites(ids, list(sites.values()))
    generator = torch.Generator().manual_seed(0)
    for layer, path in made.items():
        x = read[sites[layer]][0, 1:].float()
        mean = x.mean(0)
        w_dec = torch.nn.functional.normalize(torch.randn(WIDTH, x.shape[1], generator=generator), dim=1)
        b_enc = -(w_dec @ mean)
        pre = x @ w_dec.T + b_enc
        threshold = pre.quantile(1 - L0 / WIDTH, dim=1).mean().clamp_min(1e-3)
        write_folder(
            path,
            {
                "w_enc": w_dec.T.contiguous(),
                "b_enc": b_enc,
                "threshold": threshold.expand(WIDTH).contiguous(),
                "w_dec": w_dec,
                "b_dec": mean,
            },
            make_config(
                kind="sae",
                read=(sites[layer],),
                write=(sites[layer],),
                total_width=WIDTH,
                l0=L0,
                skip=False,
                model_name=model.checkpoint.model,
            ),
        )
    return made
