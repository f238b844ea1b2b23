"""Identity headers of calls, and the certificates that they are verified with.

Revision: 0015, after 0014.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from coordinator.store.models import UtcDateTime

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "order_identities",
        sa.Column(
            "order_sha256",
            sa.LargeBinary(length=32),
            nullable=False,
            comment="Digest of the order whose call it came with",
        ),
        sa.Column("campaign", sa.String(length=100), nullable=False, comment="Campaign that the call belongs to"),
        sa.Column(
            "header", sa.Text(), comment="The Identity header or headers, one a line; null once old: it holds numbers"
        ),
        sa.Column(
            "origid",
            sa.String(length=128),
            comment="Its origid, as it is searched by; null once old where it is no UUID",
        ),
        sa.Column("found", sa.Text(), comment="What was found when the header went, JSON without numbers; null before"),
        sa.Column("taken_at", UtcDateTime(), nullable=False, comment="When it was taken in, UTC"),
        sa.PrimaryKeyConstraint("order_sha256", name=op.f("pk_order_identities")),
        comment="Identity headers that came with the calls of orders",
    )
    op.create_index("ix_order_identities_origid", "order_identities", ["origid"], unique=False)
    op.create_table(
        "campaign_identities",
        sa.Column("campaign", sa.String(length=200), nullable=False, comment="Name of the campaign"),
        sa.Column(
            "number", sa.Integer(), autoincrement=False, nullable=False, comment="Number of the call in the campaign"
        ),
        sa.Column(
            "header", sa.Text(), nullable=False, comment="The Identity header or headers, one a line; gone once old"
        ),
        sa.ForeignKeyConstraint(
            ["campaign", "number"],
            ["campaign_calls.campaign", "campaign_calls.number"],
            name=op.f("fk_campaign_identities_campaign_campaign_calls"),
        ),
        sa.PrimaryKeyConstraint("campaign", "number", name=op.f("pk_campaign_identities")),
        comment="Identity headers that came with the calls of campaigns",
    )
    op.create_table(
        "stir_certificates",
        sa.Column("sha256", sa.LargeBinary(length=32), nullable=False, comment="SHA-256 of `certificate`"),
        sa.Column(
            "certificate",
            sa.LargeBinary(),
            nullable=False,
            comment="X.509, DER: a signer's, or an authority's in between",
        ),
        sa.Column("added_at", UtcDateTime(), nullable=False, comment="When it was imported, UTC"),
        sa.Column("added_by", sa.Text(), nullable=False, comment="Who imported it"),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_stir_certificates")),
        comment="Certificates that Identity headers are verified with",
    )
