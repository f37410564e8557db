"""What a live page was asked: parsed from an address or a form, and written back as one canonical address."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from inference.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class Question:
    text: str = ""
    source: str | None = None
    feature: int | None = None
    """The feature to draw; without one, the strongest at each token."""
    token: int | None = None
    """The token to tell more about, BOS being 0."""

    def query(self) -> dict[str, str | int | None]:
        """The parameters of its address."""
        return {"text": self.text, "source": self.source, "feature": self.feature, "token": self.token}

    def without_token(self) -> "Question":
        return replace(self, token=None)


def parse(*given: Mapping[str, str]) -> Question:
    """Later mappings win (the form over the address). Browsers send line breaks of forms as CRLF: they become LF."""
    fields = {name: value for mapping in given for name, value in mapping.items()}
    text = fields.get("text", "").replace("\r\n", "\n")
    if "\x00" in text:
        raise BadInput("The text holds a NUL character, which is no text. Leave it out.")
    return Question(
        text=text,
        source=fields.get("source", "").strip() or None,
        feature=_number(fields.get("feature", ""), what="feature"),
        token=_number(fields.get("token", ""), what="token"),
    )


def _number(written: str, *, what: str) -> int | None:
    written = written.strip()
    if not written:
        return None
    if not (written.isascii() and written.isdigit() and len(written) <= 9):
        raise BadInput(f"{written[:40]!r} is no number of a {what}; write a whole number from 0 upwards.")
    return int(written)
