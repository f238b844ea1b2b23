"""What the clerk looks for, every minute and every few seconds, is found without reading all that there is.

Chains that ended where a person may have to be asked, and results of tasks that no chain has taken yet: few among
millions, each in an index of its own. The latter takes the place of one that held every task that was ever answered.

Revision: 0011, after 0010.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    left = sa.text("status IN ('no_agent', 'needs_human')")
    op.create_index(
        "ix_tracebacks_for_people",
        "tracebacks",
        ["submitted_at"],
        unique=False,
        sqlite_where=left,
        postgresql_where=left,
    )
    op.drop_index("ix_tasks_result_at_taken_at", table_name="tasks")
    untaken = sa.text("result_at IS NOT NULL AND taken_at IS NULL")
    op.create_index(
        "ix_tasks_untaken", "tasks", ["result_at"], unique=False, sqlite_where=untaken, postgresql_where=untaken
    )
