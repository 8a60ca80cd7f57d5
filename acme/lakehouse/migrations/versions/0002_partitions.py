"""The manifest of the lake: which file each written partition consists of."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    CREATE TABLE control.partitions (
        run_date date NOT NULL,
        dataset text NOT NULL,
        process text NOT NULL,
        rows bigint NOT NULL CHECK (rows >= 0),
        file_sha256 text NOT NULL CHECK (file_sha256 ~ '^[0-9a-f]{64}$'),
        written_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (run_date, dataset)
    )
    """,
)


def upgrade() -> None:
    """Make the table."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Refused: without the manifest no partition can be trusted."""
    raise RuntimeError("schema `control` is not undone; restore a backup instead")
