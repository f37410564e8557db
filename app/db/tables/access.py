"""Who may do what, where Gemlens is shared. At home these tables stay empty."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.schema import Index

from app.db.tables.base import Base, Created, Key, one_of


class Principal(Base):
    """A person or a service."""

    __tablename__ = "principal"
    __table_args__ = (one_of("kind", "person", "service"),)

    id: Mapped[Key]
    kind: Mapped[str] = mapped_column(server_default="person")
    name: Mapped[str] = mapped_column(unique=True)
    title: Mapped[str] = mapped_column(server_default="")
    administrator: Mapped[bool] = mapped_column(server_default="false")
    password_hash: Mapped[str | None]
    """Argon2; None for those who only have keys."""
    disabled: Mapped[datetime | None]
    created: Mapped[Created]


class ApiKey(Base):
    """A key is shown once. Here are its first characters, to know it by, and the SHA-256 of all of it: 32 random bytes
    need no slow hash."""

    __tablename__ = "api_key"
    __table_args__ = (CheckConstraint("octet_length(sha256) = 32", name="sha256"), Index(None, "principal_id"))

    id: Mapped[Key]
    principal_id: Mapped[int] = mapped_column(ForeignKey("principal.id", ondelete="CASCADE"))
    title: Mapped[str] = mapped_column(server_default="")
    prefix: Mapped[str]
    sha256: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    scopes: Mapped[list[str]]
    expires: Mapped[datetime | None]
    last_used: Mapped[datetime | None]
    created: Mapped[Created]


class SignIn(Base):
    """A browser in which somebody signed in, until then or until they sign out. Its cookie is kept as SHA-256."""

    __tablename__ = "sign_in"
    __table_args__ = (CheckConstraint("octet_length(sha256) = 32", name="sha256"), Index(None, "principal_id"))

    id: Mapped[Key]
    principal_id: Mapped[int] = mapped_column(ForeignKey("principal.id", ondelete="CASCADE"))
    sha256: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    expires: Mapped[datetime]
    created: Mapped[Created]
