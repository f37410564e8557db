"""What a feature is related to: nearest features in the layers before and after, and features that fire with it; and a
fingerprint of a loaded part, so that finished loading is verified by content and not only by count."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ARRAYS = (
    ("before", "integer[]"),
    ("before_cosines", "real[]"),
    ("after", "integer[]"),
    ("after_cosines", "real[]"),
    ("co_firing", "integer[]"),
    ("co_firing_scores", "real[]"),
)


def upgrade() -> None:
    for name, kind in ARRAYS:
        op.execute(f"alter table feature_detail add column {name} {kind} default '{{}}' not null")
    op.execute("alter table shard add column digest bigint default 0 not null")


def downgrade() -> None:
    for name, _ in ARRAYS:
        op.execute(f"alter table feature_detail drop column {name}")
    op.execute("alter table shard drop column digest")
