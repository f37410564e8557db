"""Lists keep what they were made of: the name of a feature outlives its source, so that a list can say what is gone and
have it again when the source is back. And a text to try a list's features on."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

UP = """
alter table shelf add column test_text text default '' not null;
alter table shelf_item add column named text default '' not null;
update shelf_item set named = model.name || '/' || source.name || '/' || shelf_item.index
    from source join model on model.id = source.model_id where source.id = shelf_item.source_id;
update shelf_item set
    named = model.name || '/' || split_part(site, '.', 2) || '-vectors-' || replace(split_part(site, '.', 1), '_', '-')
        || '/' || own_vector.public_id
    from own_vector join model on model.id = own_vector.model_id where own_vector.id = shelf_item.vector_id;
-- squawk-ignore ban-drop-constraint
alter table shelf_item drop constraint shelf_item_target_check;
alter table shelf_item add constraint shelf_item_target_check
    check (
        (source_id is not null and index is not null and vector_id is null)
        or (source_id is null and (vector_id is not null or named <> ''))
    );
-- squawk-ignore ban-drop-constraint
alter table shelf_item drop constraint shelf_item_source_id_fkey;
alter table shelf_item add constraint shelf_item_source_id_fkey
    foreign key (source_id) references source (id) on delete set null;
-- squawk-ignore ban-drop-constraint
alter table shelf_item drop constraint shelf_item_vector_id_fkey;
alter table shelf_item add constraint shelf_item_vector_id_fkey
    foreign key (vector_id) references own_vector (id) on delete set null;
"""
DOWN = """
delete from shelf_item where source_id is null and vector_id is null;
update shelf_item set index = null where source_id is null;
alter table shelf_item drop constraint shelf_item_vector_id_fkey;
alter table shelf_item add constraint shelf_item_vector_id_fkey
    foreign key (vector_id) references own_vector (id) on delete cascade;
alter table shelf_item drop constraint shelf_item_source_id_fkey;
alter table shelf_item add constraint shelf_item_source_id_fkey
    foreign key (source_id) references source (id) on delete cascade;
alter table shelf_item drop constraint shelf_item_target_check;
alter table shelf_item add constraint shelf_item_target_check
    check ((source_id is null) = (index is null) and (source_id is null) = (vector_id is not null));
alter table shelf_item drop column named;
alter table shelf drop column test_text;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
