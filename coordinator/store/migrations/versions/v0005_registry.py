"""The registry's aliases, contacts, certificates, listing, changes and matches.

Revision: 0005, after 0004.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from coordinator.store.models import UtcDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "name_matches",
        sa.Column("id", sa.Uuid(), nullable=False, comment="Random"),
        sa.Column("typed", sa.Text(), nullable=False, comment="The name as it was typed"),
        sa.Column("folded", sa.Text(), nullable=False, comment="The same without case, legal form and spacing"),
        sa.Column("provider", sa.String(length=63), nullable=False, comment="Id of the provider that was picked"),
        sa.Column("picked_by", sa.Text(), nullable=False, comment="Who picked it"),
        sa.Column("picked_at", UtcDateTime(), nullable=False, comment="When, UTC"),
        sa.Column(
            "suggested",
            sa.Text(),
            nullable=False,
            comment="What was suggested, a JSON array of id and score, best first",
        ),
        sa.Column("about", sa.Text(), nullable=False, comment="What it was for, such as a task's id"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_name_matches")),
        comment="Which typed name was matched to which provider",
    )
    op.create_index("ix_name_matches_folded", "name_matches", ["folded"], unique=False)
    op.create_table(
        "registry_changes",
        sa.Column("id", sa.Uuid(), nullable=False, comment="Random"),
        sa.Column("provider", sa.String(length=63), nullable=False, comment="Id of the provider that it is about"),
        sa.Column("kind", sa.String(length=24), nullable=False, comment="coordinator.registry.changes.ChangeKind"),
        sa.Column("value", sa.Text(), nullable=False, comment="What is to be set, in the form of its kind"),
        sa.Column("before", sa.Text(), nullable=False, comment="What it replaces, as it was when it was proposed"),
        sa.Column("reason", sa.Text(), nullable=False, comment="Why, in words"),
        sa.Column("state", sa.String(length=16), nullable=False, comment="open, confirmed, rejected or stale"),
        sa.Column("proposed_by", sa.Text(), nullable=False, comment="The operator who proposed it"),
        sa.Column("proposed_at", UtcDateTime(), nullable=False, comment="When it was proposed, UTC"),
        sa.Column("decided_by", sa.Text(), nullable=True, comment="The other operator, who decided; null before"),
        sa.Column("decided_at", UtcDateTime(), nullable=True, comment="When it was decided, UTC; null before"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_registry_changes")),
        comment="Changes that one operator proposes and another confirms",
    )
    op.create_index("ix_registry_changes_state_proposed_at", "registry_changes", ["state", "proposed_at"], unique=False)
    op.create_table(
        "provider_aliases",
        sa.Column("provider", sa.String(length=63), nullable=False, comment="Id of the provider"),
        sa.Column("kind", sa.String(length=8), nullable=False, comment="coordinator.registry.aliases.AliasKind"),
        sa.Column(
            "value", sa.String(length=200), nullable=False, comment="The number or name, in the one form that is stored"
        ),
        sa.Column(
            "number", sa.Integer(), autoincrement=False, nullable=False, comment="Of several periods, counted from 1"
        ),
        sa.Column("valid_from", UtcDateTime(), nullable=True, comment="From when it holds, UTC; null for always"),
        sa.Column("valid_to", UtcDateTime(), nullable=True, comment="Before when it holds, UTC; null for still"),
        sa.Column("source", sa.Text(), nullable=False, comment="Where it is from, in words"),
        sa.Column("added_at", UtcDateTime(), nullable=False, comment="When it was added, UTC"),
        sa.Column("added_by", sa.Text(), nullable=False, comment="Who added it, in words"),
        sa.ForeignKeyConstraint(["provider"], ["providers.id"], name=op.f("fk_provider_aliases_provider_providers")),
        sa.PrimaryKeyConstraint("provider", "kind", "value", "number", name=op.f("pk_provider_aliases")),
        comment="Numbers and names by which providers are known",
    )
    op.create_index("ix_provider_aliases_kind_value", "provider_aliases", ["kind", "value"], unique=False)
    op.create_table(
        "provider_certificates",
        sa.Column("provider", sa.String(length=63), nullable=False, comment="Id of the provider"),
        sa.Column(
            "sha256",
            sa.String(length=64),
            nullable=False,
            comment="SHA-256 of the certificate's DER form, in hexadecimal",
        ),
        sa.Column("added_at", UtcDateTime(), nullable=False, comment="When it was accepted, UTC"),
        sa.Column("revoked_at", UtcDateTime(), nullable=True, comment="When it was revoked, UTC; null if it was not"),
        sa.ForeignKeyConstraint(
            ["provider"], ["providers.id"], name=op.f("fk_provider_certificates_provider_providers")
        ),
        sa.PrimaryKeyConstraint("provider", "sha256", name=op.f("pk_provider_certificates")),
        comment="Certificates that were bound to providers out of band",
    )
    op.create_table(
        "provider_contacts",
        sa.Column("provider", sa.String(length=63), nullable=False, comment="Id of the provider"),
        sa.Column("email", sa.String(length=254), nullable=False, comment="Address that letters go to"),
        sa.Column("purpose", sa.String(length=16), nullable=False, comment="traceback or escalation"),
        sa.Column(
            "level",
            sa.Integer(),
            nullable=False,
            comment="Of escalations: from which on this one hears; 1 is the first",
        ),
        sa.Column("name", sa.Text(), nullable=False, comment="Who it is, in words; may be empty"),
        sa.Column("added_at", UtcDateTime(), nullable=False, comment="When it was added, UTC"),
        sa.ForeignKeyConstraint(["provider"], ["providers.id"], name=op.f("fk_provider_contacts_provider_providers")),
        sa.PrimaryKeyConstraint("provider", "email", "purpose", name=op.f("pk_provider_contacts")),
        comment="Whom letters about tasks go to",
    )
    op.create_table(
        "provider_details",
        sa.Column("provider", sa.String(length=63), nullable=False, comment="Id of the provider"),
        sa.Column("roles", sa.Text(), nullable=False, comment="What it does, words with blanks between"),
        sa.Column("reach", sa.String(length=16), nullable=False, comment="agent, dial_out or person: how it is asked"),
        sa.Column("deadlines", sa.Text(), nullable=False, comment="Its own [deadlines] keys as a JSON object"),
        sa.ForeignKeyConstraint(["provider"], ["providers.id"], name=op.f("fk_provider_details_provider_providers")),
        sa.PrimaryKeyConstraint("provider", name=op.f("pk_provider_details")),
        comment="What the registry knows of a provider besides",
    )
    op.create_table(
        "rmd_filings",
        sa.Column(
            "key", sa.String(length=16), nullable=False, comment="RMD number, or FRN and ten digits where there is none"
        ),
        sa.Column(
            "provider", sa.String(length=63), nullable=True, comment="Id of the provider; null where none is known"
        ),
        sa.Column("frn", sa.String(length=10), nullable=True, comment="FCC Registration Number; null if not listed"),
        sa.Column("business_name", sa.Text(), nullable=False, comment="Business name as listed"),
        sa.Column("country", sa.Text(), nullable=False, comment="Country as listed; may be empty"),
        sa.Column(
            "foreign_provider",
            sa.Boolean(),
            nullable=True,
            comment="Whether it is a foreign provider; null if not listed",
        ),
        sa.Column("roles", sa.Text(), nullable=False, comment="voice, gateway, intermediate: those that are listed"),
        sa.Column("implementation", sa.Text(), nullable=False, comment="State of STIR/SHAKEN as listed; may be empty"),
        sa.Column(
            "updated",
            sa.String(length=10),
            nullable=True,
            comment="Date of the last update as listed; null if not listed",
        ),
        sa.Column(
            "recertified",
            sa.String(length=10),
            nullable=True,
            comment="Date of the last recertification as listed; null if not listed",
        ),
        sa.Column("first_seen", UtcDateTime(), nullable=False, comment="When it was imported first, UTC"),
        sa.Column("last_seen", UtcDateTime(), nullable=False, comment="When it was imported last, UTC"),
        sa.Column(
            "gone_at", UtcDateTime(), nullable=True, comment="When an import missed it, UTC; null while it is listed"
        ),
        sa.ForeignKeyConstraint(["provider"], ["providers.id"], name=op.f("fk_rmd_filings_provider_providers")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_rmd_filings")),
        comment="The listing of the Robocall Mitigation Database",
    )
    op.create_index("ix_rmd_filings_frn", "rmd_filings", ["frn"], unique=False)
    op.create_index("ix_rmd_filings_provider", "rmd_filings", ["provider"], unique=False)
