"""Models and their dictionaries: hundreds or thousands of rows, so these are written for people to read."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    PrimaryKeyConstraint,
    SmallInteger,
    UniqueConstraint,
    column,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.db.tables.base import VISIBILITIES, Base, Created, Key, Owned, Small, SmallKey, one_of


class Tokenizer(Base):
    __tablename__ = "tokenizer"

    id: Mapped[SmallKey]
    name: Mapped[str] = mapped_column(unique=True)
    sha256: Mapped[str] = mapped_column(unique=True)
    vocabulary: Mapped[int]


class Token(Base):
    """The text of every token, so that pages need no tokenizer: 262,144 rows per tokenizer."""

    __tablename__ = "token"
    __table_args__ = (
        PrimaryKeyConstraint("tokenizer_id", "id"),
        # "doctor" finds "doctor", " doctor" and " Doctor", and by its beginning " doctors".
        Index(
            "token_word_index",
            "tokenizer_id",
            func.lower(func.ltrim(column("text"))).label("word"),
            postgresql_ops={"word": "text_pattern_ops"},
        ),
    )

    tokenizer_id: Mapped[int] = mapped_column(SmallInteger, ForeignKey("tokenizer.id", ondelete="CASCADE"))
    id: Mapped[int] = mapped_column(autoincrement=False)
    text: Mapped[str]
    """As it reads in a text, leading space included; a lone byte as `<0x0A>`."""


class Model(Base):
    """A Gemma 3, by Neuronpedia's id."""

    __tablename__ = "model"

    id: Mapped[SmallKey]
    name: Mapped[str] = mapped_column(unique=True)
    tokenizer_id: Mapped[int | None] = mapped_column(SmallInteger, ForeignKey("tokenizer.id"))
    layers: Mapped[Small]
    width: Mapped[int]
    chat: Mapped[bool]


class Checkpoint(Base):
    """The exact weights that something was computed with."""

    __tablename__ = "checkpoint"
    __table_args__ = (UniqueConstraint("model_id", "sha256", "dtype"),)

    id: Mapped[Key]
    model_id: Mapped[int] = mapped_column(SmallInteger, ForeignKey("model.id"))
    sha256: Mapped[str]
    dtype: Mapped[str]
    origin: Mapped[str]
    """Where it came from, in words: hub repository and revision, folder, GGUF and its quantisation."""
    created: Mapped[Created]


class Dictionary(Base):
    """Weights on disk or on the hub. One dictionary with many layers makes many sources."""

    __tablename__ = "dictionary"
    __table_args__ = (
        UniqueConstraint("model_id", "location"),
        one_of("kind", "sae", "transcoder", "clt", "crosscoder"),
    )

    id: Mapped[Key]
    model_id: Mapped[int] = mapped_column(SmallInteger, ForeignKey("model.id"))
    kind: Mapped[str]
    location: Mapped[str]
    """`hf:owner/repo/folder@revision` or `dir:/absolute/folder`, as the engine finds it."""
    revision: Mapped[str | None]
    sha256: Mapped[str | None]
    reads: Mapped[list[str]]
    """Sites, as `resid_post.12`."""
    writes: Mapped[list[str]]
    width: Mapped[int]
    declared_l0: Mapped[float | None]
    skip: Mapped[bool] = mapped_column(server_default="false")
    dtype: Mapped[str | None]
    bytes: Mapped[int | None] = mapped_column(BigInteger)
    trained_on_id: Mapped[int | None] = mapped_column(ForeignKey("checkpoint.id"))
    created: Mapped[Created]


class SourceSet(Owned, Base):
    """The same kind of dictionary on several layers: `gemmascope-2-res-16k`."""

    __tablename__ = "source_set"
    __table_args__ = (
        UniqueConstraint("model_id", "name"),
        UniqueConstraint("id", "model_id"),  # what source refers to
        one_of("visibility", *VISIBILITIES),
    )

    id: Mapped[Key]
    model_id: Mapped[int] = mapped_column(SmallInteger, ForeignKey("model.id"))
    name: Mapped[str]
    title: Mapped[str] = mapped_column(server_default="")
    description: Mapped[str] = mapped_column(server_default="")


class Source(Base):
    """A dictionary, or one layer of one, as people browse it: `12-gemmascope-2-res-16k`.

    `current_harvest_id` is what its pages show. Pointing it elsewhere is the one statement that brings a new harvest
    to light, after its rows have been loaded without anybody seeing them.
    """

    __tablename__ = "source"
    __table_args__ = (
        UniqueConstraint("model_id", "name"),
        UniqueConstraint("id", "source_set_id"),  # what label refers to
        ForeignKeyConstraint(["source_set_id", "model_id"], ["source_set.id", "source_set.model_id"]),
        ForeignKeyConstraint(
            ["current_harvest_id", "id"],
            ["harvest.id", "harvest.source_id"],
            name="source_current_harvest_fkey",
            use_alter=True,
        ),
        Index(None, "source_set_id"),
    )

    id: Mapped[Key]
    model_id: Mapped[int] = mapped_column(SmallInteger)
    source_set_id: Mapped[int]
    dictionary_id: Mapped[int | None] = mapped_column(ForeignKey("dictionary.id"), index=True)
    """None where only examples and labels were imported."""
    name: Mapped[str]
    layer: Mapped[Small]
    width: Mapped[int]
    current_harvest_id: Mapped[int | None]
    facts: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    """What an import brought along and pages only show."""
    created: Mapped[datetime] = mapped_column(server_default=func.now())


class Evaluation(Base):
    """A quality card: what a source measured on a text, on a checkpoint, and when."""

    __tablename__ = "evaluation"
    __table_args__ = (Index(None, "source_id", "created"),)

    id: Mapped[Key]
    source_id: Mapped[int] = mapped_column(ForeignKey("source.id", ondelete="CASCADE"))
    checkpoint_id: Mapped[int] = mapped_column(ForeignKey("checkpoint.id"))
    text: Mapped[str]
    """Which text, in words."""
    version: Mapped[str]
    figures: Mapped[dict[str, Any]]
    created: Mapped[datetime] = mapped_column(server_default=func.now())
