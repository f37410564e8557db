"""Long work: procrastinate's own tables as its release 3.10.0 makes them, and how far each job is."""

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

PROCRASTINATE = Path(__file__).with_name("0002_procrastinate_3_10_0.sql")

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
    op.execute(PROCRASTINATE.read_text(encoding="utf-8"))
    op.execute(PROGRESS)


def downgrade() -> None:
    op.execute(REMOVED)
