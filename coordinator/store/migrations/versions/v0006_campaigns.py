"""Campaigns and their calls.

Revision: 0006, after 0005.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from coordinator.store.models import UtcDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "campaigns",
        sa.Column("name", sa.String(length=200), nullable=False, comment="Name, as orders call it"),
        sa.Column("description", sa.Text(), nullable=False, comment="What is said in these calls; may be empty"),
        sa.Column("created_at", UtcDateTime(), nullable=False, comment="When it was first imported, UTC"),
        sa.Column("created_by", sa.Text(), nullable=False, comment="Who imported it first"),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_campaigns")),
        comment="Named sets of calls with the same script",
    )
    op.create_table(
        "campaign_calls",
        sa.Column("campaign", sa.String(length=200), nullable=False, comment="Name of the campaign"),
        sa.Column(
            "number", sa.Integer(), autoincrement=False, nullable=False, comment="Counted from 1 within the campaign"
        ),
        sa.Column(
            "called", sa.String(length=16), nullable=False, comment="E.164 of the called number; a pseudonym once old"
        ),
        sa.Column("at", UtcDateTime(), nullable=False, comment="Seizure time, UTC, whole ms"),
        sa.Column("terminating", sa.String(length=63), nullable=False, comment="Id of the terminating provider"),
        sa.Column(
            "calling",
            sa.String(length=16),
            nullable=True,
            comment="E.164 shown as caller ID; null if none; a pseudonym once old",
        ),
        sa.Column(
            "window_ms", sa.Integer(), nullable=False, comment="How far from `at` records may lie, either side, in ms"
        ),
        sa.Column("reports", sa.Integer(), nullable=False, comment="How many rows reported it"),
        sa.Column("imported_at", UtcDateTime(), nullable=False, comment="When it was first imported, UTC"),
        sa.ForeignKeyConstraint(["campaign"], ["campaigns.name"], name=op.f("fk_campaign_calls_campaign_campaigns")),
        sa.PrimaryKeyConstraint("campaign", "number", name=op.f("pk_campaign_calls")),
        comment="The distinct calls of a campaign",
    )
    op.create_index("ix_campaign_calls_called_at", "campaign_calls", ["called", "at"], unique=False)
