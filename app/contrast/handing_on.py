"""A contrast as others see it when it is handed on: its best features, and how well they tell the sets apart."""

from collections.abc import Mapping

from starlette.requests import Request

from app.contrast.keeping import Kept
from app.contrast.view import Outcome, Shown
from app.web import numbers
from app.web.cards import Card, Fact
from app.web.sharing import Part, Shared, one_line, share

PARTS = (
    Part(name="explanation", title="Labels"),
    Part(name="plots", title="AUC as bars"),
    Part(name="link", title="Link"),
)
IN_EMBED = 10
ON_CARD = 4
"""Features of each side."""
LONGEST_NAME = 24


def shared_contrast(request: Request, kept: Kept, shown: Shown) -> Shared:
    asked = kept.asked
    return share(
        request,
        "s",
        kept.id,
        query=shown.query(),
        title=f"{asked.name_a} against {asked.name_b} · {kept.model}",
        description=_description(kept),
        card=("s", kept.id),
        parts=PARTS if kept.result is not None else (),
    )


def _description(kept: Kept) -> str:
    sets = f"{len(kept.asked.a)} and {len(kept.asked.b)} prompts"
    if kept.result is None:
        return f"Which features of {kept.model} tell two sets of prompts apart: {sets}. Not computed yet."
    found = kept.result
    held = ", checked on prompts that were held out" if found.held_out else ""
    return (
        f"{numbers.count(found.significant)} of {numbers.count(found.tests)} features of {kept.model} tell two sets of "
        f"prompts apart at q ≤ 5 % ({found.prompts_a} and {found.prompts_b} prompts{held})."
    )


def contrast_card(kept: Kept, found: Outcome | None) -> Card:
    """`found` has the best rows, with their labels."""
    asked = kept.asked
    title = f"{asked.name_a} against {asked.name_b}"
    if found is None:
        return Card(title=title, place=f"{kept.model} · contrast", note=_description(kept))
    best = max((max(row.auc, 1 - row.auc) for row in found.rows), default=None)
    sides: Mapping[str, str] = {"a": asked.name_a, "b": asked.name_b}
    return Card(
        title=title,
        place=f"{kept.model} · features that tell two sets of prompts apart",
        note=_description(kept),
        facts=(Fact("Significant", numbers.count(found.significant)),)
        + ((Fact("Best AUC", f"{best:.3f}"),) if best is not None else ()),
        lists=tuple(
            (f"More on {one_line(name, LONGEST_NAME)}", tuple(row.label or f"{row.source}/{row.index}" for row in some))
            for side, name in sides.items()
            if (some := [row for row in found.rows if row.more_on == side][:ON_CARD])
        ),
    )
