"""What all tables share: names of constraints that do not change, short types, owner and visibility."""

from datetime import datetime
from typing import Annotated, Any

from sqlalchemy import (
    ARRAY,
    REAL,
    TIMESTAMP,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Integer,
    MetaData,
    SmallInteger,
    Text,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

Key = Annotated[int, mapped_column(Integer, Identity(), primary_key=True)]
SmallKey = Annotated[int, mapped_column(SmallInteger, Identity(), primary_key=True)]
BigKey = Annotated[int, mapped_column(BigInteger, Identity(), primary_key=True)]
Small = Annotated[int, mapped_column(SmallInteger)]
Real = Annotated[float, mapped_column(REAL)]
Integers = Annotated[list[int], mapped_column(ARRAY(Integer))]
Reals = Annotated[list[float], mapped_column(ARRAY(REAL))]
Created = Annotated[datetime, mapped_column(server_default=func.now())]


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "%(table_name)s_%(column_0_N_name)s_index",
            "uq": "%(table_name)s_%(column_0_N_name)s_unique",
            "ck": "%(table_name)s_%(constraint_name)s_check",
            "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
            "pk": "%(table_name)s_pkey",
        }
    )
    type_annotation_map = {  # noqa: RUF012 -- SQLAlchemy reads it as it is
        str: Text,
        int: Integer,
        float: REAL,
        datetime: TIMESTAMP(timezone=True),
        list[str]: ARRAY(Text),
        dict[str, Any]: JSONB,
    }


def one_of(column: str, *values: str) -> CheckConstraint:
    """Says which words a column takes. A check is easier to widen than a type."""
    words = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} in ({words})", name=column)


class Owned:
    """Made by somebody. Without sign-in, at home, nobody in particular owns anything and everything may be changed."""

    owner_id: Mapped[int | None] = mapped_column(ForeignKey("principal.id", ondelete="SET NULL"), index=True)
    visibility: Mapped[str] = mapped_column(server_default="public")
    """private: the owner alone; unlisted: whoever has the address; public: found by search too."""
    created: Mapped[Created]
    updated: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())


VISIBILITIES = ("private", "unlisted", "public")
