"""A folder of weights becomes a `DictionarySpec`.

What the folder holds decides how it is read: `params.safetensors`, or one `params_layer_{i}.safetensors` per layer
(Gemma Scope 2), or `sae_weights.safetensors` (SAELens). Gemma Scope 2's config.json may be missing; then the names of
the folder and the one above it say which sites are meant. For sizes, and for whether there is a skip connection, the
tensors are believed.
"""

import re
from pathlib import Path

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
    remarks: list[str] = []
    config_path = path / CONFIG
    config = read_json(config_path) if config_path.is_file() else {}
    if "hf_hook_point_in" in config:
        read = parse_hook(str(config["hf_hook_point_in"]), count=len(weights), where=config_path)
        point_out = config.get("hf_hook_point_out", config["hf_hook_point_in"])
        write = parse_hook(str(point_out), count=len(weights), where=config_path)
    elif named is not None:
        layers = tuple(range(len(weights))) if named.layers is None else named.layers
        read = tuple(Site(named.reads, layer) for layer in layers)
        write = tuple(Site(named.writes, layer) for layer in layers)
    else:
        raise BadInput(
            f"{path} has no {CONFIG} that names its hook points, and its name does not say them either. A folder "
            "called like resid_post/layer_12_width_16k_l0_medium, or a config.json, would."
        )
    for sites, word in ((read, "reads"), (write, "writes")):
        if len(sites) != len(weights):
            raise BadInput(f"{path} {word} {len(sites)} layers and has {len(weights)} weight files; one each is right.")
    if [site.layer for site in read] != sorted({site.layer for site in read}):
        raise BadInput(f"{path} names its layers as {[site.layer for site in read]}; ascending would be right.")
    if [site.layer for site in read] != [site.layer for site in write]:
        raise BadInput(f"{path} reads and writes different layers; the same layers in the same order would be right.")
    kind = _kind(config.get("type"), read, write, several=first.targets is not None, where=config_path)
    architecture = config.get("architecture", "jump_relu")
    if architecture not in ("jump_relu", "jumprelu"):
        raise BadInput(f"{config_path} names the architecture {str(architecture)[:60]!r}; Gemma Scope 2 has jump_relu.")
    if kind == "sae" and first.d_in != first.d_out:
        raise BadInput(
            f"{first.path}: it reads {first.d_in} numbers and writes {first.d_out}; an SAE writes what it reads."
        )
    if named is not None and config:
        expected = named.layers if named.layers is not None else tuple(range(len(weights)))
        if (named.reads, named.writes, expected) != (read[0].kind, write[0].kind, tuple(site.layer for site in read)):
            remarks.append(f"{CONFIG} names other sites than the folder does; {CONFIG} is believed.")
    declared = config.get("affine_connection")
    if isinstance(declared, bool) and declared != first.skip:
        has = "has" if first.skip else "has no"
        remarks.append(f"{CONFIG} says affine_connection {str(declared).lower()}, and the file {has} skip connection.")
    unknown = sorted({name for one in weights for name in one.unknown})
    if unknown:
        remarks.append(f"Tensors that are not understood were left unread: {', '.join(unknown[:8])}.")
    declared_width = declared_number(config, "width", config_path)
    return DictionarySpec(
        kind=kind,
        read=read,
        write=write,
        width=first.width,
        d_in=first.d_in,
        d_out=first.d_out,
        declared_l0=declared_number(config, "l0", config_path),
        skip=first.skip,
        dtype=first.dtype,
        folder=path,
        files=tuple(one.path for one in weights),
        model_name=str(config["model_name"])[:200] if isinstance(config.get("model_name"), str) else None,
        name="/".join(path.resolve().parts[-2:]),
        declared_width=None if declared_width is None else int(declared_width),
        named_affine=None if named is None else named.affine,
        remarks=tuple(remarks),
    )


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
