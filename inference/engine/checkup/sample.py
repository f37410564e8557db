"""A short text in several languages and shapes, written for this, on which tokenizers and dictionaries are tried."""

from dataclasses import dataclass

from inference.gemma.tokens import Tokenizer

TEXTS = (
    "The ferry left the harbour an hour late, and nobody on deck seemed to mind. A boy counted gulls; his grandmother "
    "peeled an orange and told him which of the islands had once been a prison.",
    "Na manhã seguinte, a padaria da esquina já cheirava a pão quente. O gato dormia em cima do balcão, e ninguém "
    "teve coragem de o acordar antes das oito.",
    "Die Brücke wurde 1894 gebaut und zweimal erneuert. Wer heute dort fährt, sieht links die Werft und rechts "
    "den alten Speicher, in dem jetzt Wohnungen sind.",
    "Вчера вечером мы долго говорили о книгах. Она читает медленно, но помнит каждую страницу.",
    "今天早上下雨了，所以我们没有去公园。妹妹在家里画了一只红色的鸟。",
    "def area(width: float, height: float) -> float:\n    if width < 0 or height < 0:\n"
    '        raise ValueError("negative side")\n    return width * height\n',
    "1. Boil 250 ml of water.\n2. Add two spoons of rice, a pinch of salt and half a lemon.\n3. Wait 12 minutes. "
    "Serves 2; costs about $1.40.",
    "Whether light bends near a heavy star was settled during an eclipse: the photographs showed stars slightly out of "
    "place, by as much as the theory had said.",
)

ODD = "Zoë's naïve façade — 3 × 4 = 12 🙂👩‍👧 日本語 ñ\n\n\t<b>x</b>  and  two  spaces"
"""For tokenizers: characters of several bytes, joined emoji, runs of blanks."""


@dataclass(frozen=True)
class Said:
    """A turn of a conversation."""

    content: str
    role: str = "user"


def prompts(tokenizer: Tokenizer, *, chat: bool) -> list[list[int]]:
    """The text as a model's dictionaries know text: of chat models, in turns."""
    return [tokenizer.encode_turns([Said(text)]) if chat else tokenizer.encode(text) for text in TEXTS]
