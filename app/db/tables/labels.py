"""Labels, what they are worth, and how they are found: by meaning, by word, by part of a word."""

from typing import Any

from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import REAL, BigInteger, CheckConstraint, Computed, ForeignKey, ForeignKeyConstraint, Text
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.schema import Index

from app.db.tables.base import VISIBILITIES, Base, BigKey, Created, Owned, one_of

EMBEDDING_WIDTH = 384

MARKS = "“”„‟‘’‚‛«»‹›…–—―·•→"
"""Read as blanks in labels: the server's parser, in the locale C, would take “doctor” with its marks for one word."""
_READ = f"to_tsvector('english'::regconfig, translate(text, '{MARKS}', '{' ' * len(MARKS)}'))"


class Label(Owned, Base):
    """A sentence that says what a feature is about, with who or what wrote it.

    Labels belong to a source, not to a harvest: they outlive a new one. The source set stands here too, because an
    index for nearness is built for one set at a time, and only for large ones (`nearness.py`).
    """

    __tablename__ = "label"
    __table_args__ = (
        ForeignKeyConstraint(
            ["source_id", "source_set_id"],
            ["source.id", "source.source_set_id"],
            ondelete="CASCADE",
            onupdate="CASCADE",
        ),
        one_of("status", "current", "draft", "superseded", "rejected"),
        one_of("visibility", *VISIBILITIES),
        Index("label_feature_index", "source_id", "index"),
        Index("label_words_index", "words", postgresql_using="gin"),
        Index("label_text_index", "text", postgresql_using="gin", postgresql_ops={"text": "gin_trgm_ops"}),
    )

    id: Mapped[BigKey]
    source_set_id: Mapped[int]
    source_id: Mapped[int]
    index: Mapped[int]
    text: Mapped[str]
    status: Mapped[str] = mapped_column(server_default="current")
    method: Mapped[str]
    """`human`, or how it was generated: `np_max-act-logits`, `oai_token-act-pair`, ..."""
    author: Mapped[str | None]
    """The model or person who wrote it, by name."""
    version: Mapped[str | None]
    """Of the software that asked for it."""
    embedding: Mapped[Any | None] = mapped_column(HALFVEC(EMBEDDING_WIDTH))
    words: Mapped[Any] = mapped_column(TSVECTOR, Computed(_READ, persisted=True))


class Score(Base):
    """How well a label predicts its feature. A failure is a row too, and never a number."""

    __tablename__ = "score"
    __table_args__ = (
        one_of("status", "done", "failed"),
        CheckConstraint("(status = 'done') = (value is not null)", name="value"),
        Index(None, "label_id"),
    )

    id: Mapped[BigKey]
    label_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("label.id", ondelete="CASCADE"))
    method: Mapped[str]
    """`eleuther_fuzz`, `eleuther_recall`, `recall_alt`, ..."""
    author: Mapped[str | None]
    status: Mapped[str] = mapped_column(server_default="done")
    value: Mapped[float | None] = mapped_column(REAL)
    details: Mapped[dict[str, Any] | None]
    """What it was computed from, or why it failed."""
    version: Mapped[str | None] = mapped_column(Text)
    created: Mapped[Created]
