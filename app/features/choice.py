"""What is chosen on a feature's page beside the feature: all of it stands in the page's address."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from app.web.examples import Context, parse_context


@dataclass(frozen=True, kw_only=True)
class Choice:
    context: Context = "snippet"
    breaks: bool = False
    text: str = ""
    """That the feature is tried on; empty where an address does not take it, or a saved view holds it."""

    @property
    def way(self) -> dict[str, str]:
        """How examples are shown: what other features' pages take over."""
        return ({} if self.context == "snippet" else {"context": self.context}) | (
            {"breaks": "1"} if self.breaks else {}
        )

    def query(self, **changed: Any) -> dict[str, str]:
        now = replace(self, **changed)
        return now.way | ({"text": now.text} if now.text else {})


def parse(fields: Mapping[str, str], *, text: str = "") -> Choice:
    return Choice(
        context=parse_context(fields.get("context", "")),
        breaks=fields.get("breaks", "") not in ("", "0", "no", "false"),
        text=text,
    )
