"""What left the inbox by which file: read back by its SHA-256, held against the lake."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

STATEMENTS = (
    # content_sha256 is reckoned from the inbox itself, never from the file.
    """
    CREATE TABLE intake.drained_files (
        run_date date NOT NULL REFERENCES intake.drains,
        feed text NOT NULL CHECK (feed IN ('orders', 'cancellations')),
        file_sha256 text NOT NULL CHECK (length(file_sha256) = 64),
        rows bigint NOT NULL CHECK (rows > 0),
        content_sha256 text NOT NULL CHECK (length(content_sha256) = 64),
        PRIMARY KEY (run_date, feed)
    )
    """,
    "CREATE INDEX drained_files_by_sha ON intake.drained_files (feed, file_sha256)",
    # Each would lock a row of another table for every order; both are read to insert it anyway.
    "ALTER TABLE intake.received DROP CONSTRAINT received_order_id_fkey",
    "ALTER TABLE intake.received DROP CONSTRAINT received_run_date_fkey",
    "CREATE INDEX received_by_run ON intake.received (run_date)",
)


def upgrade() -> None:
    """Make the table."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Refused: the times of drained orders are read by these rows."""
    raise NotImplementedError("schema `intake` is not undone; restore a backup instead")
