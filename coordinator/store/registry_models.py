"""The tables of the registry beside `providers`: aliases, people, certificates, the listing, changes, matches.

providers  1 --- n  provider_aliases, provider_contacts, provider_certificates
           1 --- 1  provider_details
rmd_filings         the listing of the Robocall Mitigation Database as it was imported last
registry_changes    who proposed and who confirmed what
name_matches        which typed name was matched to which provider, by whom, from which suggestions
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, String, Table, Text, Uuid

from coordinator.store.models import Base, UtcDateTime

provider_aliases = Table(
    "provider_aliases",
    Base.metadata,
    Column("provider", String(63), ForeignKey("providers.id"), primary_key=True, comment="Id of the provider"),
    Column("kind", String(8), primary_key=True, comment="coordinator.registry.aliases.AliasKind"),
    Column("value", String(200), primary_key=True, comment="The number or name, in the one form that is stored"),
    Column("number", Integer, primary_key=True, autoincrement=False, comment="Of several periods, counted from 1"),
    Column("valid_from", UtcDateTime, comment="From when it holds, UTC; null for always"),
    Column("valid_to", UtcDateTime, comment="Before when it holds, UTC; null for still"),
    Column("source", Text, nullable=False, comment="Where it is from, in words"),
    Column("added_at", UtcDateTime, nullable=False, comment="When it was added, UTC"),
    Column("added_by", Text, nullable=False, comment="Who added it, in words"),
    Index("ix_provider_aliases_kind_value", "kind", "value"),
    comment="Numbers and names by which providers are known",
)

provider_details = Table(
    "provider_details",
    Base.metadata,
    Column("provider", String(63), ForeignKey("providers.id"), primary_key=True, comment="Id of the provider"),
    Column("roles", Text, nullable=False, comment="What it does, words with blanks between"),
    Column("reach", String(16), nullable=False, comment="agent, dial_out or person: how it is asked"),
    Column("deadlines", Text, nullable=False, comment="Its own [deadlines] keys as a JSON object"),
    comment="What the registry knows of a provider besides",
)

provider_contacts = Table(
    "provider_contacts",
    Base.metadata,
    Column("provider", String(63), ForeignKey("providers.id"), primary_key=True, comment="Id of the provider"),
    Column("email", String(254), primary_key=True, comment="Address that letters go to"),
    Column("purpose", String(16), primary_key=True, comment="traceback or escalation"),
    Column("level", Integer, nullable=False, comment="Of escalations: from which on this one hears; 1 is the first"),
    Column("name", Text, nullable=False, comment="Who it is, in words; may be empty"),
    Column("added_at", UtcDateTime, nullable=False, comment="When it was added, UTC"),
    comment="Whom letters about tasks go to",
)

provider_certificates = Table(
    "provider_certificates",
    Base.metadata,
    Column("provider", String(63), ForeignKey("providers.id"), primary_key=True, comment="Id of the provider"),
    Column("sha256", String(64), primary_key=True, comment="SHA-256 of the certificate's DER form, in hexadecimal"),
    Column("added_at", UtcDateTime, nullable=False, comment="When it was accepted, UTC"),
    Column("revoked_at", UtcDateTime, comment="When it was revoked, UTC; null if it was not"),
    comment="Certificates that were bound to providers out of band",
)

rmd_filings = Table(
    "rmd_filings",
    Base.metadata,
    Column("key", String(16), primary_key=True, comment="RMD number, or FRN and ten digits where there is none"),
    Column("provider", String(63), ForeignKey("providers.id"), comment="Id of the provider; null where none is known"),
    Column("frn", String(10), comment="FCC Registration Number; null if not listed"),
    Column("business_name", Text, nullable=False, comment="Business name as listed"),
    Column("country", Text, nullable=False, comment="Country as listed; may be empty"),
    Column("foreign_provider", Boolean, comment="Whether it is a foreign provider; null if not listed"),
    Column("roles", Text, nullable=False, comment="voice, gateway, intermediate: those that are listed"),
    Column("implementation", Text, nullable=False, comment="State of STIR/SHAKEN as listed; may be empty"),
    Column("updated", String(10), comment="Date of the last update as listed; null if not listed"),
    Column("recertified", String(10), comment="Date of the last recertification as listed; null if not listed"),
    Column("first_seen", UtcDateTime, nullable=False, comment="When it was imported first, UTC"),
    Column("last_seen", UtcDateTime, nullable=False, comment="When it was imported last, UTC"),
    Column("gone_at", UtcDateTime, comment="When an import missed it, UTC; null while it is listed"),
    Index("ix_rmd_filings_frn", "frn"),
    Index("ix_rmd_filings_provider", "provider"),
    comment="The listing of the Robocall Mitigation Database",
)

registry_changes = Table(
    "registry_changes",
    Base.metadata,
    Column("id", Uuid, primary_key=True, comment="Random"),
    Column("provider", String(63), nullable=False, comment="Id of the provider that it is about"),
    Column("kind", String(24), nullable=False, comment="coordinator.registry.changes.ChangeKind"),
    Column("value", Text, nullable=False, comment="What is to be set, in the form of its kind"),
    Column("before", Text, nullable=False, comment="What it replaces, as it was when it was proposed"),
    Column("reason", Text, nullable=False, comment="Why, in words"),
    Column("state", String(16), nullable=False, comment="open, confirmed, rejected or stale"),
    Column("proposed_by", Text, nullable=False, comment="The operator who proposed it"),
    Column("proposed_at", UtcDateTime, nullable=False, comment="When it was proposed, UTC"),
    Column("decided_by", Text, comment="The other operator, who decided; null before"),
    Column("decided_at", UtcDateTime, comment="When it was decided, UTC; null before"),
    Index("ix_registry_changes_state_proposed_at", "state", "proposed_at"),
    comment="Changes that one operator proposes and another confirms",
)

name_matches = Table(
    "name_matches",
    Base.metadata,
    Column("id", Uuid, primary_key=True, comment="Random"),
    Column("typed", Text, nullable=False, comment="The name as it was typed"),
    Column("folded", Text, nullable=False, comment="The same without case, legal form and spacing"),
    Column("provider", String(63), nullable=False, comment="Id of the provider that was picked"),
    Column("picked_by", Text, nullable=False, comment="Who picked it"),
    Column("picked_at", UtcDateTime, nullable=False, comment="When, UTC"),
    Column("suggested", Text, nullable=False, comment="What was suggested, a JSON array of id and score, best first"),
    Column("about", Text, nullable=False, comment="What it was for, such as a task's id"),
    Index("ix_name_matches_folded", "folded"),
    comment="Which typed name was matched to which provider",
)
