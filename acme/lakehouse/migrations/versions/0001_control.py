"""Schema `control`: scheme, intake, runs and publication."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

STATEMENTS = (
    # One row for ever: an installation is one scheme.
    """
    CREATE TABLE control.scheme (
        only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
        currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
        cutoff time NOT NULL,
        timezone text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp()
    )
    """,
    """
    CREATE TABLE control.runs (
        run_date date PRIMARY KEY,
        epoch bigint NOT NULL DEFAULT 0 CHECK (epoch >= 0),
        inputs_fixed_at timestamptz,
        known_at timestamptz,
        state text NOT NULL DEFAULT 'created'
            CHECK (state IN ('created', 'running', 'failed', 'finished', 'published')),
        started_at timestamptz,
        finished_at timestamptz,
        CHECK ((inputs_fixed_at IS NULL) = (known_at IS NULL))
    )
    """,
    # The sequence is given under a table lock: a serial would leave gaps after a rollback.
    """
    CREATE TABLE control.landed_files (
        sequence bigint PRIMARY KEY CHECK (sequence > 0),
        feed text NOT NULL,
        name text NOT NULL,
        file_sha256 text NOT NULL CHECK (file_sha256 ~ '^[0-9a-f]{64}$'),
        size bigint NOT NULL CHECK (size >= 0),
        rows bigint NOT NULL CHECK (rows >= 0),
        received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        verdict text NOT NULL CHECK (verdict IN ('accepted', 'quarantined')),
        findings jsonb NOT NULL,
        run_date date REFERENCES control.runs,
        UNIQUE (feed, file_sha256, verdict)
    )
    """,
    "CREATE INDEX landed_files_by_name ON control.landed_files (feed, name)",
    "CREATE INDEX landed_files_by_run ON control.landed_files (run_date)",
    # No foreign key to landed_files: checked once a file, not once for each of 100,000 rows.
    """
    CREATE TABLE control.reference_keys (
        kind text NOT NULL CHECK (kind IN ('asset', 'holiday', 'pot', 'risk_profile')),
        key text COLLATE "C" NOT NULL,
        sequence bigint NOT NULL,
        detail jsonb NOT NULL,
        PRIMARY KEY (kind, key, sequence)
    )
    """,
    # The hash is checked by length alone: a pattern costs a second in 100,000 rows.
    """
    CREATE TABLE control.accepted_keys (
        feed text NOT NULL,
        key text COLLATE "C" NOT NULL,
        values_sha256 text NOT NULL CHECK (length(values_sha256) = 64),
        run_date date NOT NULL,
        PRIMARY KEY (feed, key)
    )
    """,
    "CREATE INDEX accepted_keys_by_run ON control.accepted_keys (feed, run_date)",
    """
    CREATE TABLE control.run_outcomes (
        run_date date NOT NULL,
        part text NOT NULL CHECK (part IN ('morning', 'dealing')),
        check_name text NOT NULL,
        passed boolean NOT NULL,
        detail text NOT NULL,
        recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (run_date, part, check_name)
    )
    """,
    """
    CREATE TABLE control.publications (
        run_date date PRIMARY KEY REFERENCES control.runs,
        published_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        manifest jsonb NOT NULL,
        seals jsonb NOT NULL,
        snapshot_id bigint NOT NULL
    )
    """,
    """
    CREATE TABLE control.dispatches (
        run_date date NOT NULL REFERENCES control.publications,
        custodian_id text NOT NULL,
        file_name text NOT NULL,
        sha256 text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
        content bytea NOT NULL,
        sent_at timestamptz,
        PRIMARY KEY (run_date, custodian_id, file_name),
        CHECK (sha256 = encode(sha256(content), 'hex'))
    )
    """,
    "CREATE INDEX dispatches_unsent ON control.dispatches (run_date) WHERE sent_at IS NULL",
)


def upgrade() -> None:
    """Make the tables; migrate() has made the schema itself, for Alembic's version table."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Refused: these tables are the record of what was received and published."""
    raise NotImplementedError("schema `control` is not undone; restore a backup instead")
