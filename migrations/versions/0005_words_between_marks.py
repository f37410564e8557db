"""Words of labels between typographic marks: the server's parser, in the locale C, takes “doctor” with its quotation
marks for one word, so marks are made blanks before it sees them."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

MARKS = "“”„‟‘’‚‛«»‹›…–—―·•→"
READ = f"to_tsvector('english'::regconfig, translate(text, '{MARKS}', '{' ' * len(MARKS)}'))"


def upgrade() -> None:
    _written(READ)


def downgrade() -> None:
    _written("to_tsvector('english'::regconfig, text)")


def _written(read: str) -> None:
    """Rewrites the labels: a second for some hundred thousand. The column keeps its name and type, so code that is
    still running reads it as before."""
    op.execute("-- squawk-ignore ban-drop-column\nalter table label drop column words")
    op.execute(
        "-- squawk-ignore adding-field-with-default\n"
        f"alter table label add column words tsvector generated always as ({read}) stored not null"
    )
    op.execute("create index label_words_index on label using gin (words)")
