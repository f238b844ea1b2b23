"""Orders, their signatures, and which traceback stands under which order.

Tracebacks that were submitted before have no order, and no agent answers them any more but in a trial.

Revision: 0003, after 0002.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from coordinator.store.models import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "order_sets",
        sa.Column("id", sa.Uuid(), nullable=False, comment="Follows from `root`"),
        sa.Column(
            "root",
            sa.LargeBinary(length=32),
            nullable=False,
            comment="Root of the Merkle tree of the orders' exact bytes",
        ),
        sa.Column("size", sa.Integer(), nullable=False, comment="Number of orders"),
        sa.Column(
            "submitter", sa.String(length=63), nullable=False, comment="Name of the person who is to submit them"
        ),
        sa.Column("drafted_at", UtcDateTime(), nullable=False, comment="When they were drafted, UTC"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_order_sets")),
        comment="Orders that were drafted, and are signed, together",
    )
    op.create_index("ix_order_sets_drafted_at", "order_sets", ["drafted_at"], unique=False)
    op.create_table(
        "orders",
        sa.Column("sha256", sa.LargeBinary(length=32), nullable=False, comment="SHA-256 of `exact`"),
        sa.Column("set_id", sa.Uuid(), nullable=False, comment="The set it belongs to"),
        sa.Column("position", sa.Integer(), nullable=False, comment="Place in the set, from 0: index of the leaf"),
        sa.Column("order_id", sa.Uuid(), nullable=False, comment="Id in the order"),
        sa.Column("exact", sa.LargeBinary(), nullable=False, comment="The exact bytes of hopback.v1.Order"),
        sa.Column(
            "path", sa.LargeBinary(), nullable=False, comment="Inclusion path in the set's tree, 32 bytes a node"
        ),
        sa.Column("campaign", sa.String(length=100), nullable=False, comment="Campaign that the call belongs to"),
        sa.Column("expires", UtcDateTime(), nullable=False, comment="Until when it counts, UTC"),
        sa.ForeignKeyConstraint(["set_id"], ["order_sets.id"], name=op.f("fk_orders_set_id_order_sets")),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_orders")),
        comment="One call that may be traced, once its set is signed by those who must",
    )
    op.create_index("ix_orders_set_id_position", "orders", ["set_id", "position"], unique=True)
    op.create_index("ix_orders_order_id", "orders", ["order_id"], unique=True)
    op.create_table(
        "order_seals",
        sa.Column("set_id", sa.Uuid(), nullable=False, comment="The set that is signed"),
        sa.Column("domain", sa.String(length=16), nullable=False, comment="order (submission) or approval"),
        sa.Column("key_id", sa.LargeBinary(length=32), nullable=False, comment="Id of the key that signed"),
        sa.Column(
            "person",
            sa.String(length=63),
            nullable=False,
            comment="Whose key it was, by the configuration at that time",
        ),
        sa.Column("seal", sa.LargeBinary(), nullable=False, comment="The exact bytes of hopback.v1.Seal"),
        sa.Column("signed_at", UtcDateTime(), nullable=False, comment="When the signature was taken in, UTC"),
        sa.ForeignKeyConstraint(["set_id"], ["order_sets.id"], name=op.f("fk_order_seals_set_id_order_sets")),
        sa.PrimaryKeyConstraint("set_id", "domain", "key_id", name=op.f("pk_order_seals")),
        comment="One person's signature over a set of orders",
    )
    op.add_column(
        "tracebacks",
        sa.Column(
            "order_sha256",
            sa.LargeBinary(length=32),
            nullable=True,
            comment="Digest of the order that it stands under; null in a trial",
        ),
    )
    op.add_column(
        "tracebacks",
        sa.Column(
            "expires", UtcDateTime(), nullable=True, comment="Until when that order counts, UTC; null in a trial"
        ),
    )
