"""Text and what was made of it: corpora, their passages, harvests and the shards that they were loaded from."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, LargeBinary, PrimaryKeyConstraint, SmallInteger, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.schema import Index
from sqlalchemy.sql import text

from app.db.tables.base import Base, Created, Integers, Key, Small, one_of


class Corpus(Base):
    __tablename__ = "corpus"

    id: Mapped[Key]
    tokenizer_id: Mapped[int] = mapped_column(SmallInteger, ForeignKey("tokenizer.id"))
    name: Mapped[str] = mapped_column(unique=True)
    description: Mapped[str] = mapped_column(server_default="")
    """What the text is, where it came from, and under which licence, in words."""
    sha256: Mapped[str | None]
    """Of the passages' tokens in order; None for the texts that an import brings along."""
    longest: Mapped[Small]
    """The most tokens that a passage has, BOS included."""
    passages: Mapped[int] = mapped_column(server_default="0")
    tokens: Mapped[int] = mapped_column(BigInteger, server_default="0")
    created: Mapped[Created]


class Passage(Base):
    """A window of tokens, stored once and shared by every source. Its id is its number in the corpus, so that whoever
    splits a text into passages knows all ids without asking. Loaded in bulk: no foreign key."""

    __tablename__ = "passage"
    __table_args__ = (
        PrimaryKeyConstraint("corpus_id", "id"),
        Index(
            "passage_digest_index",
            "corpus_id",
            "digest",
            unique=True,
            postgresql_where=text("digest is not null"),
        ),
    )

    corpus_id: Mapped[int] = mapped_column(autoincrement=False)
    id: Mapped[int] = mapped_column(autoincrement=False)
    tokens: Mapped[Integers]
    digest: Mapped[bytes | None] = mapped_column(LargeBinary)
    """Sixteen bytes of BLAKE2 of the tokens, where an import must find the same text again; else None."""


class Harvest(Base):
    """One corpus through one source, and where it is at. A run over many sources makes one for each."""

    __tablename__ = "harvest"
    __table_args__ = (
        one_of("state", "loading", "ready", "failed"),
        UniqueConstraint("id", "source_id"),  # what source refers to: nobody shows another's harvest
        Index(None, "source_id"),
    )

    id: Mapped[Key]
    source_id: Mapped[int] = mapped_column(ForeignKey("source.id", ondelete="CASCADE"))
    corpus_id: Mapped[int] = mapped_column(ForeignKey("corpus.id"), index=True)
    checkpoint_id: Mapped[int | None] = mapped_column(ForeignKey("checkpoint.id"))
    """None where an import does not say."""
    state: Mapped[str] = mapped_column(server_default="loading")
    origin: Mapped[str]
    """What made it, in words: this Gemlens, or whose export."""
    dtype: Mapped[str | None]
    version: Mapped[str]
    tokens: Mapped[int] = mapped_column(BigInteger, server_default="0")
    """Counted tokens: those outside what the dictionary was trained on are left out."""
    settings: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    """Bins, bands, numbers of examples: what is needed to read the rows and to make them again."""
    created: Mapped[Created]
    finished: Mapped[datetime | None]


class Shard(Base):
    """A file of a harvest that has been loaded, written in the transaction that loads its rows."""

    __tablename__ = "shard"
    __table_args__ = (PrimaryKeyConstraint("harvest_id", "number"),)

    harvest_id: Mapped[int] = mapped_column(ForeignKey("harvest.id", ondelete="CASCADE"))
    number: Mapped[int] = mapped_column(autoincrement=False)
    sha256: Mapped[str]
    rows: Mapped[int]
    bytes: Mapped[int] = mapped_column(BigInteger)
    digest: Mapped[int] = mapped_column(BigInteger, server_default="0")
    """Of its packed examples (`app/store/loading.py`), so that what lies here can be compared with what was given."""
    loaded: Mapped[Created]
