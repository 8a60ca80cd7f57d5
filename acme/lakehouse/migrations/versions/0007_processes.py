"""Runs of other teams' processes, and every version of what they wrote."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    CREATE TABLE control.process_runs (
        process text NOT NULL,
        run_date date NOT NULL,
        epoch bigint NOT NULL CHECK (epoch > 0),
        state text NOT NULL CHECK (state IN ('running', 'failed', 'finished')),
        holder text NOT NULL,
        started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        finished_at timestamptz,
        PRIMARY KEY (process, run_date)
    )
    """,
    # control.partitions names the version that is read; its file and those before it are kept.
    """
    CREATE TABLE control.partition_versions (
        run_date date NOT NULL,
        dataset text NOT NULL,
        version integer NOT NULL CHECK (version > 0),
        process text NOT NULL,
        rows bigint NOT NULL CHECK (rows >= 0),
        file_sha256 text NOT NULL CHECK (file_sha256 ~ '^[0-9a-f]{64}$'),
        inputs_sha256 text NOT NULL CHECK (inputs_sha256 ~ '^[0-9a-f]{64}$'),
        code_version text NOT NULL,
        written_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (run_date, dataset, version)
    )
    """,
)


def upgrade() -> None:
    """Make the tables."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Refused: without its versions a partition's history is lost."""
    raise RuntimeError("schema `control` is not undone; restore a backup instead")
