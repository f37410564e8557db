"""Which sources a search looks at, and the filters that go into every query."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.tables import Corpus, Harvest, Label, Model, Source, SourceSet
from app.search.question import METHODS, Question
from app.store import ownership
from app.web.principal import Principal
from gemmascope.nearest import nearest
from inference.errors import BadInput, NotFound


@dataclass(frozen=True, kw_only=True)
class Place:
    """One source."""

    id: int
    model: str
    tokenizer_id: int | None
    name: str
    layer: int
    width: int
    set_id: int
    set_name: str
    harvest_id: int | None


@dataclass(frozen=True, kw_only=True)
class Scope:
    everything: tuple[Place, ...]
    """All that the one who asks may find."""
    places: tuple[Place, ...]
    """Of these, what the filters leave."""
    question: Question
    principal: Principal | None

    @property
    def values(self) -> dict[str, Any]:
        """Parameters of the conditions below."""
        return {
            "sources": [place.id for place in self.places],
            "harvests": [place.harvest_id for place in self.places],
            "density": None if self.question.density is None else self.question.density / 100,
            "method": self.question.method,
            "me": None if self.principal is None else self.principal.id,
        }

    @property
    def label(self) -> str:
        """Of a label `l`: that it stands, may be seen, and is of the kind asked for."""
        return f"l.status = 'current' and {self._visible('l')} and {self._of_method('l')}"

    @property
    def stat(self) -> str:
        """Of a feature's statistics `st`, which may be missing where only labels were imported."""
        alive = "true" if self.question.dead else "(st.flags is null or st.flags & 1 = 0)"
        sparse = "true" if self.question.density is None else "st.density < %(density)s"
        return f"{alive} and {sparse}"

    @property
    def labelled(self) -> str:
        """Of a feature found otherwise, `scope.source_id` and `d.index`: that it has a label of the kind asked for."""
        if self.question.method is None:
            return "true"
        return (
            f"exists (select 1 from label l where l.source_id = scope.source_id and l.index = d.index and {self.label})"
        )

    def _visible(self, table: str) -> str:
        if self.principal is None or self.principal.administrator:
            return "true"
        return f"({table}.visibility = 'public' or {table}.owner_id = %(me)s::integer)"

    def _of_method(self, table: str) -> str:
        match self.question.method:
            case None:
                return "true"
            case "human":
                return f"{table}.method = 'human'"
            case "counted":
                return f"{table}.method = 'token-pattern'"
            case "model":
                return f"{table}.method not in ('human', 'token-pattern')"
        return f"{table}.method = %(method)s"


SCOPE_JOIN = "join unnest(%(sources)s::integer[], %(harvests)s::integer[]) as scope(source_id, harvest_id)"


async def scope_of(session: AsyncSession, question: Question, principal: Principal | None) -> Scope:
    """Raises a sentence that names the nearest where a filter names what does not exist."""
    asked = (
        select(
            Source.id, Model.name.label("model"), Source.name, Source.layer, Source.width,
            func.coalesce(Corpus.tokenizer_id, Model.tokenizer_id).label("tokenizer_id"),
            SourceSet.id.label("set_id"), SourceSet.name.label("set_name"),
            Source.current_harvest_id.label("harvest_id"),
        )
        .join(Model, Model.id == Source.model_id)
        .join(SourceSet, SourceSet.id == Source.source_set_id)
        .outerjoin(Harvest, Harvest.id == Source.current_harvest_id)
        .outerjoin(Corpus, Corpus.id == Harvest.corpus_id)
        .where(ownership.visible(principal, SourceSet))
        .order_by(Model.id, Source.layer, Source.name)
    )  # fmt: skip
    everything = tuple(Place(**row._mapping) for row in await session.execute(asked))
    places: Sequence[Place] = everything
    for what, name, field in (
        ("model", question.model, "model"),
        ("source set", question.set, "set_name"),
        ("source", question.source, "name"),
    ):
        if name is not None:
            left = [place for place in places if getattr(place, field) == name]
            if not left:
                raise _unknown(what, name, sorted({getattr(place, field) for place in places}))
            places = left
    if question.layer is not None:
        layers = sorted({place.layer for place in places})
        places = [place for place in places if place.layer == question.layer]
        if not places:
            have = ", ".join(map(str, layers)) or "none"
            raise NotFound(f"None of these sources is of layer {question.layer}. Layers at hand: {have}.")
    if question.method not in (None, *METHODS):
        await _check_method(session, str(question.method), everything, principal)
    return Scope(everything=everything, places=tuple(places), question=question, principal=principal)


async def _check_method(
    session: AsyncSession, method: str, places: Sequence[Place], principal: Principal | None
) -> None:
    """Raises a sentence with the methods there are where no label that may be seen was made by this one."""
    seen = (
        Label.source_id.in_([place.id for place in places]),
        Label.status == "current",
        ownership.visible(principal, Label),
    )
    if await session.scalar(select(exists().where(*seen, Label.method == method))):
        return
    names = sorted(await session.scalars(select(Label.method).where(*seen).distinct()))
    families = ", ".join(f"{name} ({by})" for name, by in METHODS.items())
    rest = f"; by their own names {', '.join(names[:12])}" if names else ""
    raise BadInput(f"No label here was made by the method {method[:80]!r}. There are {families}{rest}.")


def _unknown(what: str, name: str, known: Sequence[str]) -> NotFound:
    like = nearest(name, known) or known[:6]
    rest = f" There is {', '.join(like)}." if like else " Nothing is installed yet."
    return NotFound(f"{name[:80]!r} is no {what} that can be searched here.{rest}")
