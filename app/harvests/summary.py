"""What came of a harvest, in a few lines: what a person would otherwise look up."""

from dataclasses import dataclass

from app.db.database import Database
from app.harvests import queries
from app.harvests.storing import Stored

NEVER_FIRED, DENSE = 1, 2


@dataclass(frozen=True, kw_only=True)
class Summary:
    source: str
    features: int
    alive: int
    dead: int
    dense: int
    """Of those alive: fire on more than a tenth of the tokens."""
    l0: float
    declared_l0: float | None
    tokens: int
    examples: int
    bytes_per_feature: float
    """Of its rows, examples and indexes not counted."""
    bytes_per_example: float

    @property
    def sentence(self) -> str:
        declared = "" if self.declared_l0 is None else f" (declared {self.declared_l0:g})"
        return (
            f"{self.source}: {self.alive:,} of {self.features:,} features alive, {self.dead:,} never fired, "
            f"{self.dense:,} dense; L0 {self.l0:.1f}{declared} on {self.tokens:,} tokens; {self.examples:,} examples, "
            f"{self.bytes_per_feature:,.0f} bytes a feature, {self.bytes_per_example:,.0f} an example."
        )


async def summaries(database: Database, stored: list[Stored]) -> list[Summary]:
    found = []
    async with database.session() as session:
        for one in stored:
            flags = one.found.flags()
            _, bytes_, examples, features = await queries.sizes(session, one.harvest_id)
            dead = int(((flags & NEVER_FIRED) > 0).sum())
            found.append(
                Summary(
                    source=one.source.name,
                    features=len(flags),
                    alive=len(flags) - dead,
                    dead=dead,
                    dense=int(((flags & DENSE) > 0).sum()),
                    l0=one.found.mean_l0,
                    declared_l0=one.source.declared_l0,
                    tokens=one.found.tokens,
                    examples=examples,
                    bytes_per_feature=features / max(1, len(flags)),
                    bytes_per_example=bytes_ / max(1, examples),
                )
            )
    return found
