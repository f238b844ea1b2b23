"""Room for a traceback's next version beside the last one, on PostgreSQL.

A traceback's row changes with every step. Where the new version finds room on the page of the old one, and no indexed
column has changed, no index hears of it (heap-only tuples). Pages that are full already stay as they are. The rows of
hops change once: room for that would double the table and save nothing.

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
