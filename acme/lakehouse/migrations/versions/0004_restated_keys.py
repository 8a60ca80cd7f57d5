"""A key may be accepted again with other values: what a later file corrects (`rules §10`)."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the run a part of the key."""
    op.execute("ALTER TABLE control.accepted_keys DROP CONSTRAINT accepted_keys_pkey")
    op.execute("ALTER TABLE control.accepted_keys ADD PRIMARY KEY (feed, key, run_date)")


def downgrade() -> None:
    """Refused: a date run again would not know what was accepted before it."""
    raise RuntimeError("schema `control` is not undone; restore a backup instead")
