"""What a harvest found, by feature: the three tables that grow with 1.4 billion features.

They are keyed by (harvest, index) and loaded in that order by COPY, so that the features of a source lie side by side:
sorting or filtering one source reads a run of pages, and no index but the key has to be kept up. They carry no foreign
keys, which would cost a look-up per row; whoever deletes a harvest deletes its rows. They are partitioned by harvest
from the start, because a table cannot become so later; one partition holds everything until `partitions.py` adds more.

- `feature_stat`, 53 bytes a row: what lists sort and filter by;
- `feature_detail`, about a kilobyte: what a feature's page shows besides;
- `example`, one row per feature and band, its examples packed by `packing.py`: they are only ever read together.
"""

from sqlalchemy import REAL, Integer, LargeBinary, PrimaryKeyConstraint, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.schema import Index

from app.db.tables.base import Base, Integers, Real, Reals, Small

PARTITIONED = {"postgresql_partition_by": "RANGE (harvest_id)"}


class FeatureStat(Base):
    """Narrow, for lists. Sorted by any column, a source of 262,144 features takes 20 to 45 ms without another index."""

    __tablename__ = "feature_stat"
    __table_args__ = (PrimaryKeyConstraint("harvest_id", "index"), PARTITIONED)

    harvest_id: Mapped[int] = mapped_column(autoincrement=False)
    index: Mapped[int] = mapped_column(autoincrement=False)
    density: Mapped[Real]
    """Fraction of the harvest's counted tokens that it fires on; times `harvest.tokens` it is the count."""
    peak: Mapped[Real]
    """Its greatest activation, folded; 0 where it never fired."""
    mean: Mapped[Real]
    """Mean over the tokens that it fires on."""
    score: Mapped[float | None] = mapped_column(REAL)
    """The best score of its labels, copied here when a score is written: lists are sorted by it."""
    flags: Mapped[Small] = mapped_column(server_default="0")
    """Bits: 1 never fired, 2 fires on more than a tenth of tokens. Room for fourteen more."""


class FeatureDetail(Base):
    __tablename__ = "feature_detail"
    __table_args__ = (
        PrimaryKeyConstraint("harvest_id", "index"),
        Index("feature_detail_top_logits_index", "top_logits", postgresql_using="gin"),
        Index("feature_detail_bottom_logits_index", "bottom_logits", postgresql_using="gin"),
        Index("feature_detail_top_tokens_index", "top_tokens", postgresql_using="gin"),
        PARTITIONED,
    )

    harvest_id: Mapped[int] = mapped_column(autoincrement=False)
    index: Mapped[int] = mapped_column(autoincrement=False)
    norm: Mapped[float | None] = mapped_column(REAL)
    """Length of its decoder row: what raw activations were multiplied by."""
    threshold: Mapped[float | None] = mapped_column(REAL)
    """As stored with the dictionary: compared with raw pre-activations."""
    top_logits: Mapped[Integers]
    """Token ids, greatest first."""
    top_logit_values: Mapped[Reals]
    bottom_logits: Mapped[Integers]
    """Token ids, least first."""
    bottom_logit_values: Mapped[Reals]
    top_tokens: Mapped[Integers]
    """Token ids that it fires on most, by the sum of its activations."""
    top_token_values: Mapped[Reals]
    """Their shares of the sum over all tokens."""
    neighbours: Mapped[Integers]
    """Indexes in the same source, by cosine of decoder rows, nearest first."""
    neighbour_cosines: Mapped[Reals]
    before: Mapped[Integers] = mapped_column(server_default="{}")
    """Indexes in the source set's previous layer, by cosine of decoder rows; empty where it has none."""
    before_cosines: Mapped[Reals] = mapped_column(server_default="{}")
    after: Mapped[Integers] = mapped_column(server_default="{}")
    """The same in its next layer."""
    after_cosines: Mapped[Reals] = mapped_column(server_default="{}")
    co_firing: Mapped[Integers] = mapped_column(server_default="{}")
    """Indexes in the same source that fire on the same tokens, most alike first."""
    co_firing_scores: Mapped[Reals] = mapped_column(server_default="{}")
    """Tokens on which both fire over the geometric mean of those on which each does."""
    histogram: Mapped[Integers]
    """How often it fired with how much: counts in the bins of `harvest.settings`, fixed and logarithmic."""
    logit_histogram: Mapped[Integers]
    """How many vocabulary entries get which logit: counts in equal bins from `logit_low` to `logit_high`."""
    logit_low: Mapped[float | None] = mapped_column(REAL)
    logit_high: Mapped[float | None] = mapped_column(REAL)


class Example(Base):
    """One band of a feature's examples: band 0 the greatest, then intervals of activation from high to low."""

    __tablename__ = "example"
    __table_args__ = (PrimaryKeyConstraint("harvest_id", "index", "band"), PARTITIONED)

    harvest_id: Mapped[int] = mapped_column(Integer, autoincrement=False)
    index: Mapped[int] = mapped_column(Integer, autoincrement=False)
    low: Mapped[Real]
    high: Mapped[Real]
    share: Mapped[float | None] = mapped_column(REAL)
    """Of all the feature's firings, the fraction that lies between low and high."""
    band: Mapped[int] = mapped_column(SmallInteger, autoincrement=False)
    packed: Mapped[bytes] = mapped_column(LargeBinary)


BULK = (FeatureStat, FeatureDetail, Example)
