"""Dictionaries as SAELens names them: a release and an id in it.

    gemma-scope-2-1b-pt-res              layer_13_width_16k_l0_medium
    gemma-scope-2-1b-pt-transcoders-all  layer_3_width_16k_l0_small_affine
    gemma-scope-2-1b-pt-transcoders      transcoder/layer_7_width_16k_l0_big

Only the deep-dive transcoders carry the top folder in their ids. Cross-layer transcoders, crosscoders and the gaps of
`published` have no name there. On input the top folder is allowed everywhere and may be missing everywhere.
"""

import re
from functools import cache
from typing import NamedTuple

from gemmascope.errors import UnknownName
from gemmascope.folders import Name, named, parse_folder
from gemmascope.models import MODELS, find_model
from gemmascope.nearest import nearest
from gemmascope.published import by_rule, names, status

_SUFFIX = {"resid_post": "res", "attn_out": "att", "mlp_out": "mlp", "transcoder": "transcoders"}
_SUFFIX |= {f"{folder}_all": f"{suffix}-all" for folder, suffix in _SUFFIX.items()}
_FOLDER = {suffix: folder for folder, suffix in _SUFFIX.items()}
_RELEASE = re.compile(r"(?P<repo>gemma-scope-2-\w+-(?:pt|it))-(?P<suffix>[a-z-]+)", re.ASCII)


class Pair(NamedTuple):
    release: str
    id: str

    def __str__(self) -> str:
        return f"{self.release}/{self.id}"


def saelens(name: Name) -> Pair | None:
    """None where SAELens has no such entry."""
    if name.folder not in _SUFFIX or status(name) != "confirmed":
        return None
    release = f"{name.hf_repo.removeprefix('google/')}-{_SUFFIX[name.folder]}"
    return Pair(release, name.path if name.folder == "transcoder" else name.path.partition("/")[2])


@cache
def releases() -> dict[str, tuple[str, ...]]:
    """Every release with its ids."""
    found: dict[str, list[str]] = {}
    for model in MODELS:
        for name in names(model):
            if pair := saelens(name):
                found.setdefault(pair.release, []).append(pair.id)
    return {release: tuple(ids) for release, ids in found.items()}


def parse_saelens(release: str, id: str) -> Name:
    """What a pair names. Entries that the rule has and SAELens lacks pass, so that it can be said what they are."""
    match = _RELEASE.fullmatch(release)
    folder = _FOLDER.get(match["suffix"]) if match else None
    if match is None or folder is None:
        raise UnknownName(f"SAELens has no release {release[:120]!r}.", nearest=nearest(release, releases()))
    model = find_model(match["repo"])
    try:
        parsed = parse_folder(id if "/" in id else f"{folder}/{id}")
    except UnknownName:
        parsed = None
    name = named(model.id, parsed) if parsed else None
    if name is None or name.folder != folder or id not in (name.path, name.path.partition("/")[2]) or not by_rule(name):
        raise UnknownName(
            f"SAELens' release {release} has no {id[:120]!r}.", nearest=nearest(id, releases().get(release, ()))
        )
    return name
