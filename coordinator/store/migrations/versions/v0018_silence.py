"""Since when a provider's agent does not answer, and who waits for it.

Revision: 0018, after 0017.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from coordinator.store.models import UtcDateTime

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("hops") as hops:
        hops.add_column(
            sa.Column(
                "silent_since",
                UtcDateTime(),
                nullable=True,
                comment="When the first attempt of those in a row failed, UTC; stays when the answer came",
            )
        )
    with op.batch_alter_table("tracebacks") as tracebacks:
        tracebacks.add_column(
            sa.Column(
                "waits_for",
                sa.String(length=63),
                nullable=True,
                comment="Id of the provider whose agent does not answer; null where it waits for none",
            )
        )
    waiting = sa.text("waits_for IS NOT NULL")
    op.create_index(
        "ix_tracebacks_waits_for",
        "tracebacks",
        ["waits_for", "claimable"],
        unique=False,
        sqlite_where=waiting,
        postgresql_where=waiting,
    )
