"""Sources as Neuronpedia names them: `gemma-3-1b/13-gemmascope-2-res-16k`, and the pages they have there.

Its convention names the deep-dive `resid_post` dictionaries of medium sparsity and the affine `transcoder_all` ones of
small sparsity, and nothing else. Naming is not having: `has_page` says for which of them Neuronpedia is known to hold
features (the sources bound in SAELens 6.54.12).
"""

from gemmascope.folders import Name
from gemmascope.sources import conventional, source_id

SITE = "https://www.neuronpedia.org"
HOSTS = ("neuronpedia.org", "www.neuronpedia.org")

_WITHOUT_RES = ("gemma-3-12b-it", "gemma-3-27b")
_WITH_1M = ("gemma-3-270m", "gemma-3-1b", "gemma-3-4b", "gemma-3-12b", "gemma-3-27b-it")
_TRANSCODERS = {
    ("gemma-3-4b-it", "16k"): frozenset((0, 1, 2, 3, 4, 6, 7, 9, 10, 12)),
    ("gemma-3-4b-it", "262k"): frozenset(range(34)),
    ("gemma-3-27b-it", "262k"): frozenset(range(62)),
}


def neuronpedia_id(name: Name) -> str | None:
    """Model and source, or None where its convention has no name."""
    return f"{name.model}/{source_id(name)}" if conventional(name) else None


def has_page(name: Name) -> bool:
    """Whether Neuronpedia is known to show this source."""
    if not conventional(name):
        return False
    if name.folder == "transcoder_all":
        return name.all_layers[0] in _TRANSCODERS.get((name.model, name.width), ())
    return name.model in _WITH_1M if name.width == "1m" else name.model not in _WITHOUT_RES


def neuronpedia_url(name: Name, index: int | None = None) -> str | None:
    """Its page there, or a feature's page."""
    source = neuronpedia_id(name)
    if source is None:
        return None
    return f"{SITE}/{source}" if index is None else f"{SITE}/{source}/{index}"
