"""Whether each installed dictionary is what it says it is: by its files, by what the model does, by its own examples.

The files are always looked at. With the model at hand, features are encoded on the sample: a wrong hook shows as an L0
far from the declared one. Examples that came along are met exactly or not at all.
"""

from collections.abc import Iterator, Sequence

from torch import Tensor

from inference.dictionaries.checks import check_files, check_measured
from inference.dictionaries.dictionary import Dictionary
from inference.dictionaries.examples import NAME as EXAMPLES
from inference.dictionaries.examples import Examples, check_activations, check_top_logits
from inference.dictionaries.findings import Finding
from inference.dictionaries.location import fetch
from inference.engine.checkup.asked import Installed, Told
from inference.engine.checkup.patient import Patient
from inference.errors import Unavailable
from inference.gemma.model import Gemma


def by_location(installed: Sequence[Installed]) -> list[list[Installed]]:
    """The sources of each dictionary: a multi-layer one has several."""
    found: dict[tuple[str, str], list[Installed]] = {}
    for source in installed:
        found.setdefault((source.model, source.location or source.source), []).append(source)
    return list(found.values())


def check_dictionary(patient: Patient, sources: Sequence[Installed]) -> Iterator[Told]:
    first = sources[0]
    if not first.location:
        yield Told("ok", "Imported without a dictionary: its pages are shown, and nothing can be computed with it.")
        return
    try:
        folder = fetch(first.location, offline=True).folder
    except Unavailable as error:
        if patient.asked.offline:
            yield Told("warning", str(error))
        else:
            yield Told("ok", "Not downloaded yet; it is fetched when it is first used.")
        return
    dictionary = Dictionary(folder, home=patient.asked.home)
    if first.sha256 and dictionary.sha256 != first.sha256:
        yield Told(
            "warning",
            f"The files in {folder} have changed since they were registered: what was computed before is of other "
            f"weights. Register them again: gemlens add {folder}",
        )
    yield from summary(dictionary, check_files(dictionary))
    if first.model != patient.asked.model:
        return
    model = patient.model
    if model is None:
        yield Told("ok", f"Not measured. {patient.why_not}")
        return
    yield from measured(patient, model, dictionary)


def summary(dictionary: Dictionary, findings: Sequence[Finding]) -> Iterator[Told]:
    """All that is well in one sentence, and each thing that is odd in its own."""
    odd = [Told(finding.level, finding.sentence) for finding in findings if finding.level != "ok"]
    spec = dictionary.spec
    places = f"{spec.read[0]}" if len(spec.read) == 1 else f"{len(spec.read)} sites from {spec.read[0]} on"
    well = "" if odd else "; its files are in order"
    yield Told("ok", f"Opens: {spec.kind} of {spec.total_width:,} features at {places}{well}.")
    yield from odd


def measured(patient: Patient, model: Gemma, dictionary: Dictionary) -> Iterator[Told]:
    spec = dictionary.spec
    for site, width in [*((site, spec.d_in) for site in spec.read), *((site, spec.d_out) for site in spec.write)]:
        model.check_site(site)
        if (here := model.site_width(site)) != width:
            yield Told("error", f"It was made for another model: {site} has {here} numbers here, and it takes {width}.")
            return
    read = patient.read(model, {*spec.read, *spec.write})
    for finding in check_measured(dictionary, read):
        yield Told(finding.level, finding.sentence)
    if (spec.folder / EXAMPLES).is_file() and not spec.multi_layer:
        yield from examples_met(model, dictionary)


def examples_met(model: Gemma, dictionary: Dictionary) -> Iterator[Told]:
    """The exact tests: what the authors computed, computed again."""
    spec = dictionary.spec
    examples = Examples(spec.folder, width=spec.width)
    (read,), (write,) = spec.read, spec.write

    def activations_at(ids: Tensor) -> Tensor:
        return model.read_sites(ids[None], [read])[read][0]

    def through_heads(rows: Tensor) -> Tensor:
        project = model.network.model.layers[write.layer].self_attn.o_proj
        out: Tensor = project(rows.to(model.device, model.dtype))
        return out

    to_residual = through_heads if write.kind == "attn_out" else None
    for finding in (
        check_top_logits(dictionary, examples, model.unembedding, to_residual=to_residual),
        check_activations(dictionary, examples, activations_at),
    ):
        yield Told(finding.level, finding.sentence)
