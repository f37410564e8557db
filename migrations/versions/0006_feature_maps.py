"""Where a source's features lie on its map: laid out once by a job, read by a page."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

FEATURE_MAP = """
create table feature_map (
    harvest_id integer not null,
    indexes integer[] not null,
    x real[] not null,
    y real[] not null,
    version text not null,
    created timestamptz default now() not null,
    constraint feature_map_pkey primary key (harvest_id),
    constraint feature_map_harvest_id_fkey foreign key (harvest_id) references harvest (id) on delete cascade
);
"""


def upgrade() -> None:
    op.execute(FEATURE_MAP)


def downgrade() -> None:
    op.execute("drop table feature_map")
