"""What of Gemma Scope 2 can be installed for a model, by the published rule: one line for each kind of folder."""

from functools import cache
from itertools import groupby

from app.home.view import Facts, Offer
from gemmascope.errors import UnknownName
from gemmascope.models import MODELS, find_model
from gemmascope.published import names, status
from gemmascope.sources import source_id

TITLES = {
    "resid_post": "Residual stream",
    "attn_out": "Attention output",
    "mlp_out": "MLP output",
    "transcoder": "Transcoders of the MLP",
    "crosscoder": "Crosscoders",
    "clt": "Cross-layer transcoders",
}


def facts(model: str) -> Facts | None:
    try:
        found = find_model(model)
    except UnknownName:
        return None
    return Facts(
        layers=found.layers,
        d_model=found.d_model,
        chat=found.chat,
        hf_repo=found.hf_repo,
        scope_repo=found.scope_repo,
    )


@cache
def offers(model: str) -> tuple[Offer, ...]:
    """Without what lists of others say is absent."""
    if model not in MODELS:
        return ()
    found = []
    for folder, group in groupby(names(model), key=lambda name: name.folder):
        there = [name for name in group if status(name) != "absent"]
        if not there:
            continue
        kind = folder.removesuffix("_all")
        one = min(there, key=lambda name: (name.l0 != "medium", name.affine))
        found.append(
            Offer(
                folder=folder,
                title=TITLES[kind] + (", every layer" if folder.endswith("_all") else ""),
                dictionaries=len(there),
                layers=len({layer for name in there for layer in name.all_layers}),
                widths=tuple(dict.fromkeys(name.width for name in there)),
                example=source_id(one, one.all_layers[len(one.all_layers) // 2]),
            )
        )
    return tuple(found)
