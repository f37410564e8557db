"""Directions of people's own, which are used like features: found, read, tried on texts, collected in lists.

A vector belongs to a model and to a site, and everywhere that features are named by model, source and index it has such
a name too: the source says the site (`12-vectors-resid-post`), the index is its public id.
"""

import re
import secrets
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.tables import Model, Principal, Vector
from app.store import ownership
from app.store.wording import plain
from app.web.principal import Principal as Asking
from gemmascope.models import MODELS
from inference.errors import BadInput, NotFound

ID_BYTES = 9
PAGES = "vectors"
"""What stands in the address of a vector's page where a feature's has its source."""
TITLE, DESCRIPTION = 200, 4_000
STRENGTH = 1e6
SITES = ("resid_post", "mlp_in", "mlp_out", "attn_out")
MISSING = "There is no such vector here: it was deleted, is private, or its address is not whole."
_SITE = re.compile(r"(resid_post|mlp_in|mlp_out|attn_out)\.(0|[1-9]\d{0,2})", re.ASCII)
_SOURCE = re.compile(r"(0|[1-9]\d{0,2})-vectors-(resid-post|mlp-in|mlp-out|attn-out)", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class OwnVector:
    id: int
    public_id: str
    model: str
    site: str
    """As `resid_post.12`."""
    title: str
    description: str
    direction: tuple[float, ...]
    default_strength: float | None
    """By what it is multiplied when somebody steers with it and says nothing else."""
    visibility: str
    owner_id: int | None
    owner: str | None
    created: datetime
    updated: datetime

    @property
    def layer(self) -> int:
        return int(self.site.partition(".")[2])

    @property
    def source(self) -> str:
        return source_name(self.site)

    @property
    def norm(self) -> float:
        return float(np.linalg.norm(np.array(self.direction, np.float64)))


def source_name(site: str) -> str:
    """What stands where a feature's source would."""
    point, _, layer = site.partition(".")
    return f"{layer}-vectors-{point.replace('_', '-')}"


def is_source(name: str) -> bool:
    """Whether what looks like a source is the place of people's vectors."""
    return _SOURCE.fullmatch(name) is not None


def site_of(name: str) -> str | None:
    match = _SOURCE.fullmatch(name)
    return None if match is None else f"{match[2].replace('-', '_')}.{match[1]}"


async def make(
    session: AsyncSession,
    principal: Asking | None,
    *,
    model: str,
    site: str,
    title: str,
    direction: Iterable[float],
    description: str = "",
    default_strength: float | None = None,
    visibility: str = "unlisted",
    width: int | None = None,
) -> OwnVector:
    """`width` is that of the model that is served, where one is: it may be another of the same name."""
    row = await model_named(session, model)
    values = checked(direction, model=row, site=checked_site(site, layers=row.layers), width=width)
    made = Vector(
        public_id=secrets.token_urlsafe(ID_BYTES),
        model_id=row.id,
        site=site,
        title=plain(title, what="The vector's title", most=TITLE, least=1),
        description=plain(description, what="The vector's description", most=DESCRIPTION),
        direction=values,
        default_strength=_strength(default_strength),
        visibility=visibility,
        owner_id=ownership.owner(principal),
    )
    session.add(made)
    await session.flush()
    return await find(session, principal, made.public_id)


async def find(
    session: AsyncSession, principal: Asking | None, public_id: str, *, model: str | None = None
) -> OwnVector:
    row = (await session.execute(_asked().where(Vector.public_id == public_id))).one_or_none()
    vector = ownership.seen(principal, None if row is None else _vector(row), missing=MISSING)
    if model is not None and vector.model != model:
        raise NotFound(MISSING)
    return vector


async def named(session: AsyncSession, principal: Asking | None, *, model: str, source: str, index: str) -> OwnVector:
    """By the three names that it has among features."""
    vector = await find(session, principal, index, model=model)
    if vector.source != source:
        raise NotFound(MISSING)
    return vector


async def some(session: AsyncSession, principal: Asking | None, public_ids: Collection[str]) -> dict[str, OwnVector]:
    """Those of them that are here and may be seen."""
    if not public_ids:
        return {}
    rows = await session.execute(
        _asked().where(Vector.public_id.in_(set(public_ids)), ownership.reachable(principal, Vector))
    )
    found = [_vector(row) for row in rows]
    return {vector.public_id: vector for vector in found}


async def owned(session: AsyncSession, principal: Asking | None) -> list[OwnVector]:
    """One's own, the newest first; at home all."""
    rows = await session.execute(_asked().where(ownership.own(principal, Vector)).order_by(Vector.id.desc()))
    return [_vector(row) for row in rows]


async def shown(session: AsyncSession, principal: Asking | None, model: str) -> list[OwnVector]:
    """Those of a model that a list may show: public ones and one's own, the newest first."""
    asked = _asked().where(Model.name == model, ownership.visible(principal, Vector)).order_by(Vector.id.desc())
    return [_vector(row) for row in await session.execute(asked)]


async def change(
    session: AsyncSession,
    principal: Asking | None,
    public_id: str,
    *,
    title: str,
    description: str,
    default_strength: float | None,
    visibility: str,
) -> OwnVector:
    row = await _own_row(session, principal, public_id)
    row.title = plain(title, what="The vector's title", most=TITLE, least=1)
    row.description = plain(description, what="The vector's description", most=DESCRIPTION)
    row.default_strength = _strength(default_strength)
    row.visibility = visibility
    await session.flush()
    return await find(session, principal, public_id)


async def remove(session: AsyncSession, principal: Asking | None, public_id: str) -> None:
    row = await _own_row(session, principal, public_id)
    await session.execute(delete(Vector).where(Vector.id == row.id))


async def model_named(session: AsyncSession, name: str) -> Model:
    row = await session.scalar(select(Model).where(Model.name == name))
    if row is None:
        names = ", ".join(await session.scalars(select(Model.name).order_by(Model.id)))
        raise NotFound(f"{name[:80]!r} is no model of this server. It has: {names or 'none yet'}.")
    return row


def checked_site(site: str, *, layers: int) -> str:
    match = _SITE.fullmatch(site)
    if match is None or int(match[2]) >= layers:
        raise BadInput(
            f"{site[:40]!r} is no site of this model. A site is one of {', '.join(SITES)}, a dot and a layer from 0 to "
            f"{layers - 1}: resid_post.{layers - 1}."
        )
    return site


def width_of(model: Model, site: str) -> int | None:
    """How many numbers a direction has there, where that is known."""
    if not site.startswith("attn_out."):
        return model.width
    return MODELS[model.name].attn_width if model.name in MODELS else None


def checked(direction: Iterable[float], *, model: Model, site: str, width: int | None = None) -> list[float]:
    """The direction as it can be kept, in single precision."""
    values = np.array(list(direction), np.float64)
    if width is None or site.startswith("attn_out."):
        width = width_of(model, site)
    if width is not None and len(values) != width:
        raise BadInput(f"{site} of {model.name} has {width:,} numbers, and the vector has {len(values):,}.")
    with np.errstate(over="ignore", under="ignore"):
        single = values.astype(np.float32)
    if not np.isfinite(single).all():
        raise BadInput("The vector holds numbers that are not finite, or too large for single precision.")
    if not single.any():
        raise BadInput("The vector is all zeros (in single precision), so it has no direction.")
    return [float(value) for value in single]


def _strength(value: float | None) -> float | None:
    if value is not None and not abs(value) <= STRENGTH:
        raise BadInput(f"The default strength is {value}; it goes from {-STRENGTH:,.0f} to {STRENGTH:,.0f}.")
    return value


async def _own_row(session: AsyncSession, principal: Asking | None, public_id: str) -> Vector:
    row = await session.scalar(select(Vector).where(Vector.public_id == public_id).with_for_update())
    return ownership.changeable(principal, row, missing=MISSING)


def _asked() -> Any:
    return (
        select(
            Vector.id, Vector.public_id, Model.name.label("model"), Vector.site, Vector.title, Vector.description,
            Vector.direction, Vector.default_strength, Vector.visibility, Vector.owner_id,
            Principal.name.label("owner"), Vector.created, Vector.updated,
        )
        .join(Model, Model.id == Vector.model_id)
        .outerjoin(Principal, Principal.id == Vector.owner_id)
    )  # fmt: skip


def _vector(row: Any) -> OwnVector:
    return OwnVector(**{**row._mapping, "direction": tuple(row.direction)})
