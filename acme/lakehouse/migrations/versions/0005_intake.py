"""Schema `intake`: who may send orders, what was answered, what leaves for the lake."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ORDER = (
    "o.order_id, o.source, o.source_ref, o.pot_id, o.kind, o.asset_id, o.to_asset_id, o.units,"
    " o.amount, o.risk_profile_id, o.stated_at"
)
STATEMENTS = (
    "CREATE SCHEMA intake",
    # A source may act on the pots it is granted, or on all of them.
    """
    CREATE TABLE intake.sources (
        source text PRIMARY KEY CHECK (source <> '' AND position(E'\\n' IN source) = 0),
        all_pots boolean NOT NULL DEFAULT false,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp()
    )
    """,
    """
    CREATE TABLE intake.source_pots (
        source text NOT NULL REFERENCES intake.sources,
        pot_id text COLLATE "C" NOT NULL,
        granted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (source, pot_id)
    )
    """,
    # The secret itself is nowhere: only its SHA-256, of 256 random bits.
    """
    CREATE TABLE intake.api_keys (
        key_id text PRIMARY KEY,
        source text NOT NULL REFERENCES intake.sources,
        scopes text[] NOT NULL CHECK (scopes <@ ARRAY['submit', 'read', 'compliance']),
        secret_sha256 bytea NOT NULL CHECK (length(secret_sha256) = 32),
        label text NOT NULL DEFAULT '',
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        expires_at timestamptz,
        revoked_at timestamptz
    )
    """,
    "CREATE INDEX api_keys_by_source ON intake.api_keys (source)",
    # One row for every accepted order, never changed. Its time is that of its commit
    # (track_commit_timestamp); calendar_sequence and drained_until are what its answer was
    # reckoned with, so that the same answer can be given for ever. An order that came in a bulk
    # has them there, and no hash of its own.
    """
    CREATE TABLE intake.orders (
        order_id text COLLATE "C" PRIMARY KEY CHECK (order_id ~ '^[0-9a-f]{32}$'),
        source text NOT NULL,
        source_ref text NOT NULL,
        pot_id text NOT NULL,
        kind text NOT NULL,
        asset_id text,
        to_asset_id text,
        units numeric(24, 6),
        amount numeric(24, 6),
        risk_profile_id text,
        stated_at timestamptz,
        body_sha256 bytea,
        calendar_sequence bigint,
        drained_until date,
        bulk_id bigint,
        bulk_line int,
        CHECK ((bulk_id IS NULL) = (body_sha256 IS NOT NULL)),
        CHECK ((bulk_id IS NULL) = (calendar_sequence IS NOT NULL))
    )
    """,
    "CREATE INDEX orders_by_bulk ON intake.orders (bulk_id) WHERE bulk_id IS NOT NULL",
    # One row for every bulk that was accepted: lines without effect are not among `created`.
    """
    CREATE TABLE intake.bulks (
        bulk_id bigint PRIMARY KEY,
        lines bigint NOT NULL CHECK (lines > 0),
        created bigint NOT NULL CHECK (created BETWEEN 0 AND lines),
        first_order_id text NOT NULL,
        last_order_id text NOT NULL,
        stated_from timestamptz,
        stated_until timestamptz,
        calendar_sequence bigint NOT NULL,
        drained_until date
    )
    """,
    # What was answered under which key, for ever: the order a key stands for, or a whole bulk.
    """
    CREATE TABLE intake.requests (
        source text COLLATE "C" NOT NULL,
        idempotency_key text COLLATE "C" NOT NULL,
        body_sha256 bytea NOT NULL,
        order_id text,
        bulk_id bigint,
        PRIMARY KEY (source, idempotency_key),
        CHECK ((order_id IS NULL) <> (bulk_id IS NULL))
    )
    """,
    """
    CREATE TABLE intake.cancellations (
        order_id text PRIMARY KEY REFERENCES intake.orders
    )
    """,
    # What still has to reach the lake, in the order of its sequence.
    """
    CREATE TABLE intake.outbox (
        sequence bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        kind text NOT NULL CHECK (kind IN ('order', 'cancellation', 'bulk')),
        order_id text,
        bulk_id bigint UNIQUE REFERENCES intake.bulks,
        UNIQUE (order_id, kind),
        CHECK ((order_id IS NULL) <> (bulk_id IS NULL)),
        CHECK ((kind = 'bulk') = (bulk_id IS NOT NULL))
    )
    """,
    # Order by order, however it came; within a bulk (one sequence) by line.
    f"""
    CREATE VIEW intake.outbox_orders AS
    SELECT b.sequence, 0 AS bulk_line, o.xmin AS transaction, {_ORDER}
    FROM intake.outbox AS b JOIN intake.orders AS o ON o.order_id = b.order_id
    WHERE b.kind = 'order'
    UNION ALL
    SELECT b.sequence, o.bulk_line, o.xmin, {_ORDER}
    FROM intake.outbox AS b JOIN intake.orders AS o ON o.bulk_id = b.bulk_id
    WHERE b.kind = 'bulk'
    """,
    # The run of a date takes the outbox up to last_sequence: fixed under the gate, once.
    """
    CREATE TABLE intake.drains (
        run_date date PRIMARY KEY,
        last_sequence bigint NOT NULL,
        drained_at timestamptz NOT NULL DEFAULT clock_timestamp()
    )
    """,
    # The times of drained orders, kept beyond the server's memory of commit times.
    """
    CREATE TABLE intake.received (
        order_id text COLLATE "C" PRIMARY KEY REFERENCES intake.orders,
        received_at timestamptz NOT NULL,
        run_date date NOT NULL REFERENCES intake.drains
    )
    """,
    # Orders and cancellations hold the gate together, a drain alone: a drain misses nobody.
    """
    CREATE FUNCTION intake.enter() RETURNS date LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_advisory_xact_lock_shared(4113503, 0);
        RETURN (SELECT max(run_date) FROM intake.drains);
    END $$
    """,
    """
    CREATE FUNCTION intake.received_at(of_order text) RETURNS timestamptz LANGUAGE sql STABLE AS $$
        SELECT coalesce(
            (SELECT received_at FROM intake.received WHERE order_id = of_order),
            (SELECT pg_xact_commit_timestamp(xmin) FROM intake.orders WHERE order_id = of_order)
        )
    $$
    """,
    # One order as the gateway hands it over: number in the batch, source, key, hash, order_id, …
    """
    CREATE TYPE intake.incoming AS (
        n int, s text, k text, h text, o text, r text, p text, kind text, asset_id text,
        to_asset_id text, units numeric, amount numeric, risk_profile_id text,
        received_at timestamptz
    )
    """,
    """
    CREATE FUNCTION intake.may_act(who text, pot text) RETURNS boolean LANGUAGE sql STABLE AS $$
        SELECT EXISTS (SELECT FROM intake.sources WHERE source = who AND all_pots)
            OR EXISTS (SELECT FROM intake.source_pots WHERE source = who AND pot_id = pot)
    $$
    """,
    # Whether an order that came in a bulk, and so has no hash, has other values than an incoming one.
    """
    CREATE FUNCTION intake.differs(stored intake.orders, given intake.incoming) RETURNS boolean
    LANGUAGE sql IMMUTABLE AS $$
        SELECT (
            stored.pot_id, stored.kind, stored.asset_id, stored.to_asset_id, stored.units,
            stored.amount, stored.risk_profile_id, stored.stated_at
        ) IS DISTINCT FROM (
            given.p, given.kind, given.asset_id, given.to_asset_id, given.units,
            given.amount, given.risk_profile_id, given.received_at
        )
    $$
    """,
    # Accepts many orders in one transaction; a bad one never fails its neighbours.
    # Keys, then orders are inserted in their own sort order, so that two batches never deadlock.
    # Whatever is not simply new is looked at afterwards, with what others have committed meanwhile.
    """
    CREATE FUNCTION intake.accept(batch json, calendar bigint)
    RETURNS TABLE (n int, outcome text) LANGUAGE plpgsql AS $$
    #variable_conflict use_column
    DECLARE
        drained date := intake.enter();
        given intake.incoming[];
        created text[];
    BEGIN
        PERFORM set_config('acme.xid', pg_current_xact_id()::text, false),
            set_config('acme.drained', coalesce(drained::text, ''), false);
        given := ARRAY(SELECT i FROM json_populate_recordset(NULL::intake.incoming, batch) AS i);
        WITH input AS MATERIALIZED (
            SELECT i.*, decode(i.h, 'hex') AS hash FROM unnest(given) AS i
            WHERE intake.may_act(i.s, i.p)
        ), keyed AS (
            INSERT INTO intake.requests (source, idempotency_key, body_sha256, order_id)
            SELECT s, k, hash, o FROM input ORDER BY s COLLATE "C", k COLLATE "C"
            ON CONFLICT DO NOTHING
            RETURNING source, idempotency_key, body_sha256
        ), stored AS (
            INSERT INTO intake.orders
            SELECT o, s, r, p, kind, asset_id, to_asset_id, units, amount, risk_profile_id,
                received_at, hash, calendar, drained
            FROM input JOIN keyed ON source = s AND idempotency_key = k AND body_sha256 = hash
            ORDER BY o COLLATE "C"
            ON CONFLICT DO NOTHING
            RETURNING order_id
        ), sent AS (
            INSERT INTO intake.outbox (kind, order_id) SELECT 'order', order_id FROM stored
        )
        SELECT array_agg(order_id) INTO created FROM stored;
        IF cardinality(created) = cardinality(given) THEN
            RETURN QUERY SELECT i.n, 'created' FROM unnest(given) AS i;
            RETURN;
        END IF;
        -- An order of that reference is there already, with other values: this one has no effect.
        DELETE FROM intake.requests AS q
        USING unnest(given) AS i, intake.orders AS known
        WHERE q.source = i.s AND q.idempotency_key = i.k AND q.xmin = pg_current_xact_id()::xid
            AND q.body_sha256 = decode(i.h, 'hex')
            AND known.order_id = i.o
            AND coalesce(known.body_sha256 <> decode(i.h, 'hex'), intake.differs(known, i));
        RETURN QUERY
        SELECT i.n, CASE
            WHEN NOT intake.may_act(i.s, i.p) THEN 'pot_forbidden'
            WHEN q.body_sha256 IS NULL THEN 'reference_conflict'
            WHEN q.body_sha256 <> decode(i.h, 'hex') THEN 'key_conflict'
            WHEN i.o = ANY (created) THEN 'created'
            ELSE 'repeated'
        END
        FROM unnest(given) AS i
        LEFT JOIN intake.requests AS q ON q.source = i.s AND q.idempotency_key = i.k;
    END $$
    """,
    # Cancels an order unless the run of its dealing date has taken it: exactly one wins.
    """
    CREATE FUNCTION intake.cancel(of_order text, dealing_date date) RETURNS text
    LANGUAGE plpgsql AS $$
    DECLARE
        drained date := intake.enter();
    BEGIN
        IF EXISTS (SELECT FROM intake.cancellations WHERE order_id = of_order) THEN
            RETURN 'cancelled';
        END IF;
        IF drained >= dealing_date THEN
            RETURN 'too_late';
        END IF;
        INSERT INTO intake.cancellations VALUES (of_order) ON CONFLICT DO NOTHING;
        INSERT INTO intake.outbox (kind, order_id) VALUES ('cancellation', of_order)
        ON CONFLICT DO NOTHING;
        RETURN 'cancelled';
    END $$
    """,
    # What third parties may know of orders: written in the transaction that publishes a date.
    "CREATE SCHEMA served",
    """
    CREATE TABLE served.order_states (
        order_id text COLLATE "C" PRIMARY KEY,
        source text NOT NULL,
        source_ref text NOT NULL,
        book text NOT NULL,
        pot_id text NOT NULL,
        state text NOT NULL,
        reason text,
        batch_id text,
        dealing_date date,
        run_date date NOT NULL
    )
    """,
    "CREATE INDEX order_states_by_run ON served.order_states (run_date)",
    # Every call, for ever; no body and no personal data.
    """
    CREATE TABLE intake.audit (
        at timestamptz NOT NULL DEFAULT clock_timestamp(),
        request_id text NOT NULL,
        key_id text,
        source text,
        method text NOT NULL,
        route text NOT NULL,
        status int NOT NULL,
        reason text,
        order_id text,
        duration_us bigint NOT NULL
    )
    """,
    "CREATE INDEX audit_by_time ON intake.audit USING brin (at)",
)


def upgrade() -> None:
    """Make both schemas."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Refused: these tables are the record of what was answered."""
    raise NotImplementedError("schema `intake` is not undone; restore a backup instead")
