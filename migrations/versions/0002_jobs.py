"""Long work: procrastinate's own tables, as the pinned release makes them, and how far each job is.

The tables are made from the package's own schema. A release that changes it brings the change as a file; the migration
that follows that upgrade applies the file where `procrastinate_jobs` was made by an older one.
"""

from alembic import op
from procrastinate.schema import SchemaManager

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

PROGRESS = """
create table job_progress (
    job_id bigint not null,
    fraction real default 0 not null,
    sentence text default '' not null,
    wanted text default 'run' not null,
    crashes smallint default 0 not null,
    failure text,
    updated timestamptz default now() not null,
    constraint job_progress_pkey primary key (job_id),
    constraint job_progress_job_id_fkey foreign key (job_id) references procrastinate_jobs (id) on delete cascade,
    constraint job_progress_fraction_check check (fraction between 0 and 1),
    constraint job_progress_wanted_check check (wanted in ('run', 'pause', 'cancel'))
);
"""

REMOVED = """
drop table job_progress;
drop table procrastinate_events, procrastinate_periodic_defers, procrastinate_jobs, procrastinate_workers cascade;
do $$
declare
    routine regprocedure;
begin
    for routine in
        select oid from pg_proc where pronamespace = current_schema()::regnamespace and proname ^@ 'procrastinate_'
    loop
        execute format('drop function %s', routine);
    end loop;
end
$$;
drop type procrastinate_job_to_defer_v1;
drop type procrastinate_job_status;
drop type procrastinate_job_event_type;
"""


def upgrade() -> None:
    op.execute(SchemaManager.get_schema())
    op.execute(PROGRESS)


def downgrade() -> None:
    op.execute(REMOVED)
