"""A folder of weights becomes a `DictionarySpec`.

What the folder holds decides how it is read: `params.safetensors`, or one `params_layer_{i}.safetensors` per layer
(Gemma Scope 2), or `sae_weights.safetensors` (SAELens). Gemma Scope 2's config.json may be missing; then the names of
the folder and the one above it say which sites are meant. For sizes, and for whether there is a skip connection, the
tensors are believed.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gemmascope.errors import UnknownName
from gemmascope.folders import Folder, parse_folder
from inference.dictionaries import saelens
from inference.dictionaries.config import declared_number, parse_hook, read_json
from inference.dictionaries.files import PICKLES, TensorFile
from inference.dictionaries.spec import DictionarySpec, Kind
from inference.dictionaries.weights import WeightsFile
from inference.errors import BadInput, NotFound
from inference.gemma.sites import Site

SINGLE = "params.safetensors"
CONFIG = "config.json"
_LAYER_FILE = re.compile(r"params_layer_(\d{1,3})\.safetensors")


def open_folder(path: Path) -> tuple[DictionarySpec, tuple[WeightsFile, ...]]:
    """What the folder holds, and its files, open and checked for form. Their large tensors are not read yet."""
    try:
        return _open_folder(path)
    except OSError as error:
        raise BadInput(f"{str(path)[:300]} cannot be read: {error.strerror or error}.") from error


def _open_folder(path: Path) -> tuple[DictionarySpec, tuple[WeightsFile, ...]]:
    if path.is_file():
        TensorFile(path)
        path = path.parent
    if not path.is_dir():
        raise NotFound(f"There is no folder {path}.")
    if (path / saelens.WEIGHTS).is_file():
        return saelens.open_saelens(path)
    weights = tuple(WeightsFile(file, layout="gemma_scope_2") for file in _weight_files(path))
    _check_alike(weights)
    return _spec(path, weights), weights


def _weight_files(path: Path) -> list[Path]:
    found = [entry for entry in path.iterdir() if entry.is_file()]
    single = path / SINGLE
    layers = sorted((int(match[1]), entry) for entry in found if (match := _LAYER_FILE.fullmatch(entry.name)))
    if single in found and layers:
        raise BadInput(f"{path} holds both {SINGLE} and {layers[0][1].name}; one dictionary has one or the other.")
    if single in found:
        return [single]
    for expected, (number, _) in enumerate(layers):
        if number != expected:
            raise BadInput(
                f"{path} lacks params_layer_{expected}.safetensors: it has {len(layers)} layer files, the last "
                f"numbered {layers[-1][0]}, and they are numbered from 0 without a gap."
            )
    if layers:
        return [entry for _, entry in layers]
    unsafe = sorted(entry.name for entry in found if entry.suffix.lower() in PICKLES)
    if unsafe:
        TensorFile(path / unsafe[0])
    names = ", ".join(sorted(entry.name for entry in found)[:8]) or "nothing"
    raise NotFound(
        f"{path} holds no dictionary: {SINGLE}, params_layer_0.safetensors or {saelens.WEIGHTS} would be one, and it "
        f"holds {names}."
    )


def _check_alike(weights: tuple[WeightsFile, ...]) -> None:
    first = weights[0]
    several = first.path.name != SINGLE
    for one in weights:
        if several and one.targets is None:
            raise BadInput(f"{one.path}: w_dec has no axis for target layers; [features, {len(weights)}, d] is right.")
        if not several and one.targets is not None:
            raise BadInput(f"{one.path}: w_dec has an axis for target layers, as only a params_layer file should.")
        if several and one.targets != len(weights):
            raise BadInput(
                f"{one.path}: w_dec writes to {one.targets} layers, so {one.targets} layer files would be right, and "
                f"there are {len(weights)}."
            )
        if several and one.d_in != one.d_out:
            raise BadInput(f"{one.path}: it reads {one.d_in} numbers and writes {one.d_out}; both should be the same.")
        if (one.d_in, one.d_out, one.width, one.skip, one.dtype) != (
            first.d_in,
            first.d_out,
            first.width,
            first.skip,
            first.dtype,
        ):
            raise BadInput(
                f"{one.path} ({one.d_in} to {one.d_out}, {one.width} features, {one.dtype}, skip {one.skip}) does not "
                f"go with {first.path.name} ({first.d_in} to {first.d_out}, {first.width} features, {first.dtype}, "
                f"skip {first.skip}); the files of one dictionary have the same form."
            )


def _spec(path: Path, weights: tuple[WeightsFile, ...]) -> DictionarySpec:
    first = weights[0]
    named = _named(path)
    where = path / CONFIG
    config = read_json(where) if where.is_file() else {}
    read, write = _sites(path, config, named, count=len(weights))
    kind = _kind(config.get("type"), read, write, several=first.targets is not None, where=where)
    if config.get("architecture", "jump_relu") not in ("jump_relu", "jumprelu"):
        raise BadInput(
            f"{where} names the architecture {str(config['architecture'])[:60]!r}; jump_relu would be right."
        )
    if kind == "sae" and first.d_in != first.d_out:
        raise BadInput(
            f"{first.path}: it reads {first.d_in} numbers and writes {first.d_out}; an SAE writes what it reads."
        )
    declared_width = declared_number(config, "width", where)
    model_name = config.get("model_name")
    return DictionarySpec(
        kind=kind,
        read=read,
        write=write,
        width=first.width,
        d_in=first.d_in,
        d_out=first.d_out,
        declared_l0=declared_number(config, "l0", where),
        skip=first.skip,
        dtype=first.dtype,
        folder=path,
        files=tuple(one.path for one in weights),
        model_name=model_name[:200] if isinstance(model_name, str) else None,
        name="/".join(path.resolve().parts[-2:]),
        declared_width=None if declared_width is None else int(declared_width),
        named_affine=None if named is None else named.affine,
        remarks=tuple(_remarks(config, named, read, write, weights)),
    )


def _sites(
    path: Path, config: Mapping[str, Any], named: Folder | None, *, count: int
) -> tuple[tuple[Site, ...], tuple[Site, ...]]:
    """Where it reads and writes: one layer per weights file, ascending, the same at both ends."""
    where = path / CONFIG
    if "hf_hook_point_in" in config:
        point_in = config["hf_hook_point_in"]
        point_out = config.get("hf_hook_point_out", point_in)
        read = parse_hook(str(point_in), count=count, where=where)
        write = parse_hook(str(point_out), count=count, where=where)
    elif named is not None:
        layers = _layers_named(named, count)
        read = tuple(Site(named.reads, layer) for layer in layers)
        write = tuple(Site(named.writes, layer) for layer in layers)
    else:
        raise BadInput(
            f"{path} has no {CONFIG} that names its hook points, and its name does not say them either. A folder "
            "called like resid_post/layer_12_width_16k_l0_medium, or a config.json, would."
        )
    for sites, word in ((read, "reads"), (write, "writes")):
        if len(sites) != count:
            raise BadInput(f"{path} {word} {len(sites)} layers and has {count} weight files; one each is right.")
    layers = tuple(site.layer for site in read)
    if list(layers) != sorted(set(layers)):
        raise BadInput(f"{path} names its layers as {list(layers)}; ascending would be right.")
    if layers != tuple(site.layer for site in write):
        raise BadInput(f"{path} reads and writes different layers; the same layers in the same order would be right.")
    return read, write


def _remarks(
    config: Mapping[str, Any],
    named: Folder | None,
    read: tuple[Site, ...],
    write: tuple[Site, ...],
    weights: tuple[WeightsFile, ...],
) -> Iterator[str]:
    """What is odd and does not stop it from being read."""
    if named is not None and config:
        found = (read[0].kind, write[0].kind, tuple(site.layer for site in read))
        if found != (named.reads, named.writes, _layers_named(named, len(weights))):
            yield f"{CONFIG} names other sites than the folder does; {CONFIG} is believed."
    declared, skip = config.get("affine_connection"), weights[0].skip
    if isinstance(declared, bool) and declared != skip:
        has = "has a" if skip else "has no"
        yield f"{CONFIG} says affine_connection {str(declared).lower()}, and the file {has} skip connection."
    unknown = sorted({name for one in weights for name in one.unknown})
    if unknown:
        yield f"Tensors that are not understood were left unread: {', '.join(unknown[:8])}."


def _layers_named(named: Folder, count: int) -> tuple[int, ...]:
    return tuple(range(count)) if named.layers is None else named.layers


def _named(path: Path) -> Folder | None:
    try:
        return parse_folder("/".join(path.parts[-2:]))
    except UnknownName:
        return None


def _kind(stated: object, read: tuple[Site, ...], write: tuple[Site, ...], *, several: bool, where: Path) -> Kind:
    """The kind that the sites make, which a configuration may only confirm."""
    same = read[0].kind == write[0].kind
    made: Kind = ("crosscoder" if same else "clt") if several else ("sae" if same else "transcoder")
    if stated is not None and stated != made:
        raise BadInput(f"{where} gives the type {str(stated)[:60]!r}, but its hook points and files make it {made!r}.")
    return made
