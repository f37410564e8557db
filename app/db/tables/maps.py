"""The map of a source's features."""

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from app.db.tables.base import Base, Created, Integers, Reals


class FeatureMap(Base):
    """One row per harvest: a page reads all of it at once or nothing."""

    __tablename__ = "feature_map"

    harvest_id: Mapped[int] = mapped_column(
        ForeignKey("harvest.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    indexes: Mapped[Integers]
    x: Mapped[Reals]
    """Of each of `indexes`, in the same order."""
    y: Mapped[Reals]
    version: Mapped[str]
    """Of the software that laid it out."""
    created: Mapped[Created]
