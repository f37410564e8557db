"""What people make while they browse: lists, stars, notes, vectors of their own, saved views.

What has an address of its own has a random public id, so that unlisted means what it says.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, PrimaryKeyConstraint, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.schema import Index

from app.db.tables.base import VISIBILITIES, Base, Created, Key, Owned, Reals, Small, one_of


class Shelf(Owned, Base):
    """A list, or somebody's stars."""

    __tablename__ = "shelf"
    __table_args__ = (one_of("kind", "list", "stars"), one_of("visibility", *VISIBILITIES))

    id: Mapped[Key]
    public_id: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str] = mapped_column(server_default="list")
    title: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    test_text: Mapped[str] = mapped_column(server_default="")
    """To try its features on."""
    visibility: Mapped[str] = mapped_column(server_default="unlisted")


class ShelfItem(Base):
    """A feature, or a vector, at a place in a list. What it points to may go; its name stays."""

    __tablename__ = "shelf_item"
    __table_args__ = (
        PrimaryKeyConstraint("shelf_id", "number"),
        CheckConstraint(
            "(source_id is not null and index is not null and vector_id is null) "
            "or (source_id is null and (vector_id is not null or named <> ''))",
            name="target",
        ),
        Index(None, "source_id", "index"),
    )

    shelf_id: Mapped[int] = mapped_column(ForeignKey("shelf.id", ondelete="CASCADE"))
    number: Mapped[int] = mapped_column(autoincrement=False)
    source_id: Mapped[int | None] = mapped_column(ForeignKey("source.id", ondelete="SET NULL"))
    index: Mapped[int | None]
    vector_id: Mapped[int | None] = mapped_column(ForeignKey("own_vector.id", ondelete="SET NULL"), index=True)
    named: Mapped[str] = mapped_column(server_default="")
    """Model, source and index with slashes between, as its address has them."""
    note: Mapped[str] = mapped_column(server_default="")
    created: Mapped[Created]


class Note(Owned, Base):
    """What somebody says about a feature."""

    __tablename__ = "note"
    __table_args__ = (one_of("visibility", *VISIBILITIES), Index(None, "source_id", "index"))

    id: Mapped[Key]
    source_id: Mapped[int] = mapped_column(ForeignKey("source.id", ondelete="CASCADE"))
    index: Mapped[int]
    text: Mapped[str]


class Vector(Owned, Base):
    """A direction of somebody's own, used like a feature. (A table named `vector` would hide pgvector's type.)"""

    __tablename__ = "own_vector"
    __table_args__ = (one_of("visibility", *VISIBILITIES), Index(None, "model_id"))

    id: Mapped[Key]
    public_id: Mapped[str] = mapped_column(unique=True)
    model_id: Mapped[int] = mapped_column(SmallInteger, ForeignKey("model.id", ondelete="CASCADE"))
    site: Mapped[str]
    """As `resid_post.12`."""
    title: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    direction: Mapped[Reals]
    default_strength: Mapped[float | None]
    visibility: Mapped[str] = mapped_column(server_default="unlisted")


class SavedView(Owned, Base):
    """All that a page needs to look the same again: prompt, selection, thresholds, steering settings."""

    __tablename__ = "saved_view"
    __table_args__ = (one_of("visibility", *VISIBILITIES), Index(None, "model_id"))

    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    """Which page reads it: `live`, `steer`, `chat`, ..."""
    model_id: Mapped[int | None] = mapped_column(SmallInteger, ForeignKey("model.id", ondelete="CASCADE"))
    form: Mapped[Small]
    """Version of `body`: old views are read for ever."""
    body: Mapped[dict[str, Any]]
    result: Mapped[dict[str, Any] | None]
    """What was computed then, with its provenance, where it is worth keeping."""
    expires: Mapped[datetime | None]
    visibility: Mapped[str] = mapped_column(server_default="unlisted")
