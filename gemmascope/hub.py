"""Dictionaries as the Hugging Face hub names them: a repository and a folder in it.

Understood: `google/gemma-scope-2-1b-pt` with `resid_post/layer_13_width_16k_l0_medium`, joined by a slash or a space,
behind `hf://` or the engine's `hf:`, with `@revision` at either part, and the hub's own page addresses. Files of the
folder may follow; one of a multi-layer dictionary (`params_layer_3.safetensors`) says which of its layers is meant.
"""

import re
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from gemmascope.errors import UnknownName
from gemmascope.folders import Name, named, parse_folder
from gemmascope.models import find_model
from gemmascope.nearest import nearest
from gemmascope.published import by_rule, names, status

HOST = "huggingface.co"
_REPO = re.compile(
    r"(?:(?P<owner>[\w.-]+)/)?(?P<repo>gemma-scope-2-\w+-(?:pt|it))(?:@(?P<revision>[\w.-]+))?", re.ASCII
)
_SHARD = re.compile(r"params_layer_(\d{1,3})\.safetensors", re.ASCII)


class HubFolder(NamedTuple):
    name: Name
    layer: int | None
    """The only layer, or the one that a named file holds; None where a multi-layer dictionary is meant as a whole."""


def parse_hf(repo: str, folder: str, *, published: bool = True) -> Name:
    """A hub repository and a folder in it."""
    return parse_hub(f"{repo}/{folder}", published=published).name


def parse_hub(text: str, *, published: bool = True) -> HubFolder:
    """Any of the spellings above. With `published` it must be one of Gemma Scope 2's (gaps in its rule pass)."""
    path = _page(text) if HOST in text else re.sub(r"^hf:(?://)?", "", text.strip())
    parts = [part for part in re.split(r"[/\s]+", path) if part]
    at = next((i for i, part in enumerate(parts) if _REPO.fullmatch(part)), None)
    if at is None or parts[:at] not in ([], ["google"], ["mwhanna"]):
        raise UnknownName(f"{text[:160]!r} names no repository of Gemma Scope 2, such as google/gemma-scope-2-1b-pt.")
    match = _REPO.fullmatch(parts[at])
    model = find_model(match["repo"] if match else "")
    rest = parts[at + 1 :]
    file = rest.pop() if rest and rest[-1].endswith((".safetensors", ".json")) else ""
    folder = re.sub(r"@[\w.-]+$", "", "/".join(rest))
    try:
        parsed = parse_folder(folder)
        name = named(model.id, parsed)
        if parsed.path != folder or (published and not by_rule(name)):
            raise UnknownName(f"{model.scope_repo} has no folder {folder[:120]!r}.")
    except UnknownName:
        existing = [known.path for known in names(model.id) if status(known) != "absent"]
        raise UnknownName(
            f"{model.scope_repo} has no folder {folder[:120]!r}.", nearest=nearest(folder, existing)
        ) from None
    return HubFolder(name, _layer(name, file))


def _layer(name: Name, file: str) -> int | None:
    if not name.multi_layer:
        return name.all_layers[0]
    shard = _SHARD.fullmatch(file)
    if shard is None:
        return None
    if int(shard[1]) >= len(name.all_layers):
        raise UnknownName(f"{name.path} has {len(name.all_layers)} files, counted from 0; there is no {file}.")
    return name.all_layers[int(shard[1])]


def _page(address: str) -> str:
    """A page of the hub: its path without `tree/main` and the like."""
    try:
        path = urlsplit(address.strip() if "://" in address else f"https://{address.strip()}").path
    except ValueError:
        path = ""
    return re.sub(r"/(?:tree|blob|resolve)/[^/]+", "", unquote(path), count=1)
