"""From plain words to plain figures: what `gemlens evaluate` does where torch is."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from inference.dictionaries.location import open_dictionary
from inference.errors import BadInput
from inference.evaluation.run import evaluate
from inference.evaluation.subject import subject
from inference.evaluation.text import PASSAGE_TOKENS, Text, read_text, sample_text
from inference.gemma.model import Gemma
from inference.gemma.origin import find

TOKENS = 65_536


class Wanted(NamedTuple):
    """A source: its name, where its dictionary is (`dir:…`, `hf:…`), and which layer of it; None where it has one."""

    id: str
    location: str
    layer: int | None


@dataclass(frozen=True, kw_only=True)
class Asked:
    model: str
    home: Path
    model_path: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    offline: bool = False
    text: Path | None = None
    sampled: int | None = None
    """Passages that the model writes by itself, in place of a text."""
    tokens: int = TOKENS
    spliced_tokens: int | None = None
    """Where losses are measured, the first so many; None for all."""
    passage_tokens: int = PASSAGE_TOKENS
    column: str = "text"
    prefixes: tuple[int, ...] | None = None
    """None: those that each dictionary says it was trained with."""
    all_at_once: bool = False

    def __post_init__(self) -> None:
        if (self.text is None) == (self.sampled is None):
            raise BadInput("Say on what to measure: either --text with a file or folder, or --sampled with a number.")
        if self.spliced_tokens is not None and self.spliced_tokens < 2:
            raise BadInput(f"--spliced-tokens takes a number of tokens from 2 on, not {self.spliced_tokens}.")
        if self.sampled is not None and self.sampled < 1:
            raise BadInput(f"--sampled takes a number of passages from 1 on, not {self.sampled}.")


def run(asked: Asked, sources: Iterable[Wanted]) -> list[dict[str, Any]]:
    """A card for each source, as JSON has it. Progress goes to standard error where that is a terminal."""
    checkpoint = find(asked.model, home=asked.home, model_path=asked.model_path, offline=asked.offline)
    model = Gemma.load(checkpoint, device=asked.device, dtype=asked.dtype)
    opened: dict[str, Any] = {}
    subjects = []
    for wanted in sources:
        if wanted.location not in opened:
            opened[wanted.location] = open_dictionary(wanted.location, home=asked.home, offline=asked.offline)
        dictionary = opened[wanted.location]
        layers = dictionary.spec.layers if wanted.layer is None else (wanted.layer,)
        for layer in layers:
            name = wanted.id if len(layers) == 1 else f"{wanted.id}#{layer}"
            subjects.append(subject(name, dictionary, layer=layer, model=model, prefixes=asked.prefixes))
    text = _text(asked, model)
    with tqdm(desc="measuring", unit="pass", disable=None) as bar:

        def tell(done: int, of: int) -> None:
            bar.total = of
            bar.update(done - bar.n)

        cards = evaluate(
            model, subjects, text, all_at_once=asked.all_at_once, spliced_tokens=asked.spliced_tokens, progress=tell
        )
    return [card.to_json() for card in cards]


def _text(asked: Asked, model: Gemma) -> Text:
    if asked.text is not None:
        return read_text(
            asked.text,
            tokens=asked.tokens,
            tokenizer=model.tokenizer,
            passage_tokens=asked.passage_tokens,
            column=asked.column,
        )
    assert asked.sampled is not None
    with tqdm(desc="sampling", total=1.0, disable=None, bar_format="{l_bar}{bar}| {elapsed}<{remaining}") as bar:
        return sample_text(
            model,
            count=asked.sampled,
            passage_tokens=asked.passage_tokens,
            progress=lambda share: bar.update(share - bar.n) and None,
        )


def rows(cards: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Cards as a table for a person: a row for each way of reconstructing, then those spliced in all at once."""
    table = [
        {
            "source": card["source"],
            "variant": quality["variant"],
            "L0": _shown(quality["l0"]),
            "declared": _declared(card),
            "unexplained": _shown(quality["fvu"]),
            "without outliers": _shown(quality["fvu_ordinary"]),
            "cosine": _shown(quality["cosine"]),
            "loss added": _shown(quality["loss"]["added"]),
            "recovered": _shown(quality["loss"]["recovered"]),
            "dead": f"{card['density']['dead_share']:.1%}",
            "dense": f"{card['density']['dense_share']:.1%}",
        }
        for card in cards
        for quality in card["qualities"]
    ]
    together = cards[0]["together"] if cards else None
    if together is not None:
        loss = together["loss"]
        spliced = {"loss added": _shown(loss["added"]), "recovered": _shown(loss["recovered"])}
        table.append({**dict.fromkeys(table[0]), "source": "all at once", **spliced})
    return table


def _declared(card: dict[str, Any]) -> str:
    if card["declared_l0"] is None:
        return "–"
    measured, here = card["l0_all_layers"]["value"], card["qualities"][0]["l0"]["value"]
    return f"{card['declared_l0']:g}" + ("" if measured == here else f" in all layers, measured {measured:.4g}")


def _shown(figure: dict[str, float | None]) -> str:
    if figure["value"] is None:
        return "–"
    return f"{figure['value']:.4g}" + ("" if figure["error"] is None else f" ± {figure['error']:.1g}")
