"""The first tables. Their SQL lies beside this file; what they are for is written in app/db/tables."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = """
    saved_view, note, shelf_item, shelf, own_vector, score, label, example, feature_detail, feature_stat, shard,
    harvest, passage, corpus, evaluation, source, source_set, dictionary, checkpoint, model, token, tokenizer,
    api_key, principal
"""


def upgrade() -> None:
    op.execute(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    op.execute(f"drop table {TABLES}")
