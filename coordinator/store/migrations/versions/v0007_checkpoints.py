"""What providers signed about their audit logs, who witnessed it, and what contradicts what.

Revision: 0007, after 0006.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from coordinator.store.models import UtcDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "checkpoint_certificates",
        sa.Column("sha256", sa.LargeBinary(length=32), nullable=False, comment="SHA-256 of `der`"),
        sa.Column("der", sa.LargeBinary(), nullable=False, comment="An evidence certificate (X.509, DER)"),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_checkpoint_certificates")),
        comment="Certificates of keys that signed checkpoints",
    )
    op.create_table(
        "checkpoints",
        sa.Column("sha256", sa.LargeBinary(length=32), nullable=False, comment="SHA-256 of `exact`"),
        sa.Column("provider", sa.String(length=63), nullable=False, comment="Id of the provider whose log it is"),
        sa.Column("size", sa.BigInteger(), nullable=False, comment="Number of entries of the log"),
        sa.Column("root", sa.LargeBinary(length=32), nullable=False, comment="Merkle tree hash of all entries"),
        sa.Column("at", UtcDateTime(), nullable=False, comment="When it was signed, by the provider's clock, UTC"),
        sa.Column(
            "exact",
            sa.LargeBinary(),
            nullable=False,
            comment="The exact bytes of hopback.v1.SignedCheckpoint, one seal",
        ),
        sa.Column(
            "certificate", sa.LargeBinary(length=32), nullable=False, comment="The certificate of the key that signed"
        ),
        sa.Column("received_at", UtcDateTime(), nullable=False, comment="When it came, UTC"),
        sa.Column(
            "linked", sa.Boolean(), nullable=False, comment="Whether a proof of consistency ties it to the others"
        ),
        sa.ForeignKeyConstraint(
            ["certificate"],
            ["checkpoint_certificates.sha256"],
            name=op.f("fk_checkpoints_certificate_checkpoint_certificates"),
        ),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_checkpoints")),
        comment="What providers signed about their audit logs",
    )
    op.create_index("ix_checkpoints_provider_size", "checkpoints", ["provider", "size"], unique=False)
    op.create_index("ix_checkpoints_provider_at", "checkpoints", ["provider", "at"], unique=False)
    op.create_table(
        "checkpoint_witnesses",
        sa.Column("checkpoint", sa.LargeBinary(length=32), nullable=False, comment="Which one"),
        sa.Column(
            "witness", sa.String(length=63), nullable=False, comment="Id of the provider that signed it as a witness"
        ),
        sa.Column("provider", sa.String(length=63), nullable=False, comment="Id of the provider whose log it is"),
        sa.Column("size", sa.BigInteger(), nullable=False, comment="Number of entries of the log"),
        sa.Column(
            "seal", sa.LargeBinary(), nullable=False, comment="The exact bytes of hopback.v1.Seal, domain witness"
        ),
        sa.Column(
            "certificate", sa.LargeBinary(length=32), nullable=False, comment="The certificate of the witness's key"
        ),
        sa.Column("at", UtcDateTime(), nullable=False, comment="When it was signed, by our clock, UTC"),
        sa.ForeignKeyConstraint(
            ["certificate"],
            ["checkpoint_certificates.sha256"],
            name=op.f("fk_checkpoint_witnesses_certificate_checkpoint_certificates"),
        ),
        sa.ForeignKeyConstraint(
            ["checkpoint"], ["checkpoints.sha256"], name=op.f("fk_checkpoint_witnesses_checkpoint_checkpoints")
        ),
        sa.PrimaryKeyConstraint("checkpoint", "witness", name=op.f("pk_checkpoint_witnesses")),
        comment="Other providers' signatures under checkpoints",
    )
    op.create_index(
        "ix_checkpoint_witnesses_provider_witness_size",
        "checkpoint_witnesses",
        ["provider", "witness", "size"],
        unique=False,
    )
    op.create_table(
        "checkpoint_alarms",
        sa.Column("first", sa.LargeBinary(length=32), nullable=False, comment="The earlier one"),
        sa.Column("second", sa.LargeBinary(length=32), nullable=False, comment="The later one"),
        sa.Column("kind", sa.String(length=24), nullable=False, comment="coordinator.audits.checkpoints.AlarmKind"),
        sa.Column("provider", sa.String(length=63), nullable=False, comment="Id of the provider whose log it is"),
        sa.Column("detail", sa.Text(), nullable=False, comment="What is wrong, in words"),
        sa.Column("raised_at", UtcDateTime(), nullable=False, comment="When it was found, UTC"),
        sa.ForeignKeyConstraint(["first"], ["checkpoints.sha256"], name=op.f("fk_checkpoint_alarms_first_checkpoints")),
        sa.ForeignKeyConstraint(
            ["second"], ["checkpoints.sha256"], name=op.f("fk_checkpoint_alarms_second_checkpoints")
        ),
        sa.PrimaryKeyConstraint("first", "second", "kind", name=op.f("pk_checkpoint_alarms")),
        comment="Checkpoints that contradict each other",
    )
