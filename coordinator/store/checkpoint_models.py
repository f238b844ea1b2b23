"""The tables of the watch over providers' audit logs.

checkpoint_certificates  1 --- n  checkpoints          the keys that signed them
checkpoints              1 --- n  checkpoint_witnesses  other providers' signatures under them
                         1 --- n  checkpoint_alarms     what contradicts what
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, LargeBinary, String, Table, Text

from coordinator.store.models import Base, UtcDateTime

checkpoint_certificates = Table(
    "checkpoint_certificates",
    Base.metadata,
    Column("sha256", LargeBinary(32), primary_key=True, comment="SHA-256 of `der`"),
    Column("der", LargeBinary, nullable=False, comment="An evidence certificate (X.509, DER)"),
    comment="Certificates of keys that signed checkpoints",
)

checkpoints = Table(
    "checkpoints",
    Base.metadata,
    Column("sha256", LargeBinary(32), primary_key=True, comment="SHA-256 of `exact`"),
    Column("provider", String(63), nullable=False, comment="Id of the provider whose log it is"),
    Column("size", BigInteger, nullable=False, comment="Number of entries of the log"),
    Column("root", LargeBinary(32), nullable=False, comment="Merkle tree hash of all entries"),
    Column("at", UtcDateTime, nullable=False, comment="When it was signed, by the provider's clock, UTC"),
    Column("exact", LargeBinary, nullable=False, comment="The exact bytes of hopback.v1.SignedCheckpoint, one seal"),
    Column(
        "certificate",
        LargeBinary(32),
        ForeignKey("checkpoint_certificates.sha256"),
        nullable=False,
        comment="The certificate of the key that signed",
    ),
    Column("received_at", UtcDateTime, nullable=False, comment="When it came, UTC"),
    Column("linked", Boolean, nullable=False, comment="Whether a proof of consistency ties it to the others"),
    Index("ix_checkpoints_provider_size", "provider", "size"),
    Index("ix_checkpoints_provider_at", "provider", "at"),
    comment="What providers signed about their audit logs",
)

checkpoint_witnesses = Table(
    "checkpoint_witnesses",
    Base.metadata,
    Column("checkpoint", LargeBinary(32), ForeignKey("checkpoints.sha256"), primary_key=True, comment="Which one"),
    Column("witness", String(63), primary_key=True, comment="Id of the provider that signed it as a witness"),
    Column("provider", String(63), nullable=False, comment="Id of the provider whose log it is"),
    Column("size", BigInteger, nullable=False, comment="Number of entries of the log"),
    Column("seal", LargeBinary, nullable=False, comment="The exact bytes of hopback.v1.Seal, domain witness"),
    Column(
        "certificate",
        LargeBinary(32),
        ForeignKey("checkpoint_certificates.sha256"),
        nullable=False,
        comment="The certificate of the witness's key",
    ),
    Column("at", UtcDateTime, nullable=False, comment="When it was signed, by our clock, UTC"),
    Index("ix_checkpoint_witnesses_provider_witness_size", "provider", "witness", "size"),
    comment="Other providers' signatures under checkpoints",
)

checkpoint_alarms = Table(
    "checkpoint_alarms",
    Base.metadata,
    Column("first", LargeBinary(32), ForeignKey("checkpoints.sha256"), primary_key=True, comment="The earlier one"),
    Column("second", LargeBinary(32), ForeignKey("checkpoints.sha256"), primary_key=True, comment="The later one"),
    Column("kind", String(24), primary_key=True, comment="coordinator.audits.checkpoints.AlarmKind"),
    Column("provider", String(63), nullable=False, comment="Id of the provider whose log it is"),
    Column("detail", Text, nullable=False, comment="What is wrong, in words"),
    Column("raised_at", UtcDateTime, nullable=False, comment="When it was found, UTC"),
    comment="Checkpoints that contradict each other",
)
