"""What `gemlens add NAME` means: which dictionaries, where they are, and what their sources are to be called.

A name that exists as a path is a folder: of one dictionary, or of many below it. Everything else is a name of Gemma
Scope 2 or of the starter suite. A folder is recognised where its path says what it is: a snapshot in the hub's cache, a
copy that keeps the repository's name, the starter suite. Any other folder is somebody's own.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gemmascope.errors import UnknownName
from gemmascope.folders import Name, named, parse_folder
from gemmascope.names import Local, Starter, find_model, parse_any, parse_local
from gemmascope.published import by_rule
from inference.errors import BadInput, NotFound

ROOT = Path(__file__).parents[2]
WEIGHTS = ("params.safetensors", "params_layer_0.safetensors", "sae_weights.safetensors")

_SCOPE = re.compile(r"(?:models--google--)?gemma-scope-2-\w+-(?:pt|it)", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One dictionary to be registered."""

    location: str
    model: str | None
    """None where only the dictionary's own configuration can say."""
    name: Name | Starter | None
    """None for people's own."""


def wanted(text: str, *, model: str | None, revision: str | None, root: Path = ROOT) -> tuple[Wanted, ...]:
    """Never empty; raises the sentence for a name that leads nowhere."""
    try:
        chosen = None if model is None else find_model(model).id
        folder = Path(text).expanduser()
        if text in ("starter", "starter/"):
            folder = root / "starter" if chosen is None else root / "starter" / chosen
        if folder.exists() or text.startswith(("/", "./", "../", "~")):
            if revision is not None:
                raise BadInput(f"A folder has no revision; {text} is one, and --revision is for the hub.")
            return tuple(_in_folder(path, chosen) for path in _dictionaries(folder.absolute()))
        return (_by_name(text, chosen, revision, root),)
    except UnknownName as error:
        raise NotFound(str(error)) from None


def _by_name(text: str, model: str | None, revision: str | None, root: Path) -> Wanted:
    found = parse_any(text, model)
    match found.name:
        case Name():
            pinned = "" if revision is None else f"@{revision}"
            return Wanted(location=found.name.location + pinned, model=found.model, name=found.name)
        case Starter():
            below = root / "starter" / found.model / found.name.folder
            layer = f"layer_{found.layer}_width_{found.name.width}_*"
            for path in [root / found.name.location, *sorted(below.glob(layer))]:
                if path.is_dir():
                    return _in_folder(path, found.model)
            raise NotFound(f"The starter suite here has no {found.source} for {found.model}.")
    raise BadInput(f"{text!r} names a model; say which of its dictionaries, such as 12-gemmascope-2-res-16k.")


def _dictionaries(folder: Path) -> Iterator[Path]:
    """The folder itself if it holds weights, else every folder below it that does. What holds something else is given
    as it is: who opens it says what is wrong with it."""
    if not folder.exists():
        raise NotFound(f"There is no folder {folder}.")
    if folder.is_file():
        yield folder.parent if folder.name in WEIGHTS else folder
        return
    if any((folder / name).is_file() for name in WEIGHTS):
        yield folder
        return
    found = sorted({path.parent for name in WEIGHTS for path in folder.rglob(name)})
    if not found and any(path.is_file() for path in folder.iterdir()):
        found = [folder]
    if not found:
        raise NotFound(f"{folder} holds no dictionary, and no folder below it does: {', '.join(WEIGHTS)} would be one.")
    yield from found


def _in_folder(path: Path, model: str | None) -> Wanted:
    name, revision = _recognised(path)
    if name is None:
        return Wanted(location=f"dir:{path}", model=model, name=None)
    if model is not None and name.model != model:
        raise BadInput(f"{path} is of {name.model}, and {model} was given; leave the model out.")
    location = f"{name.location}@{revision}" if isinstance(name, Name) and revision else f"dir:{path}"
    return Wanted(location=location, model=name.model, name=name)


def _recognised(path: Path) -> tuple[Name | Starter | None, str | None]:
    """What the path says that it is, and the revision if it is a snapshot of the hub's cache."""
    try:
        folder = parse_folder(str(path))
    except UnknownName:
        return None, None
    above = path.parts[:-2]
    try:
        if len(above) >= 2 and above[-2] == "starter":
            starter = Starter(model=find_model(above[-1]).id, **vars(folder))
            return (None if starter.multi_layer or starter.seed is not None else starter), None
        snapshot = above[-1] if len(above) >= 3 and above[-2] == "snapshots" else None
        repository = above[-3] if snapshot else above[-1] if above else ""
        if _SCOPE.fullmatch(repository):
            name = named(repository.removeprefix("models--google--"), folder)
            return (name, snapshot) if by_rule(name) else (None, None)
    except UnknownName:
        pass
    return None, None


def own_name(model: str, location: str, layer: int, *, taken: bool = False) -> Local:
    """An id for somebody's own dictionary, from its folder; where that is taken, with a mark of its place."""
    path = Path(location.partition(":")[2])
    try:
        folder = parse_folder(str(path))
        words = f"{path.parent.parent.name}-{folder.folder}-{folder.width}-l0-{folder.l0}{'-affine' * folder.affine}"
    except UnknownName:
        words = re.sub(r"layer_?\d+_?", "", path.name)
    slug = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[:60].strip("-")
    if not slug or slug.startswith(("gemmascope-", "starter-")):
        slug = f"own-{slug}".strip("-")
    if taken:
        slug += f"-{hashlib.sha256(location.encode()).hexdigest()[:6]}"
    return parse_local(model, f"{layer}-{slug}")
