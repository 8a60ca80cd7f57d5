"""Who holds the run of a date: the process whose sessions end when another takes over."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.execute("ALTER TABLE control.runs ADD COLUMN holder text")


def downgrade() -> None:
    """Refused: a run that is overtaken could not be fenced off."""
    raise RuntimeError("schema `control` is not undone; restore a backup instead")
