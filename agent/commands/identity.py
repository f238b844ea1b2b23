"""`hopback-agent enrol` and `hopback-agent identity`: this agent's certificates."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from agent.commands.frame import AS_JSON, CONFIG, console, fail, failures
from protos.program import Commands

if TYPE_CHECKING:
    from agent.config import AgentConfig

ENV_TOKEN: Final = "HOPBACK_ENROLMENT_TOKEN"  # noqa: S105 (its name)


@click.command()
@CONFIG
@click.option("--token", envvar=ENV_TOKEN, show_envvar=True, help="The one-time token; asked for when left out.")
@click.option("--again", is_flag=True, help="Even though the present certificates are still valid.")
def enrol(config: Path, token: str | None, again: bool) -> None:
    """Get this agent's first certificates, with a token that the coordinator's operators granted.

    Keys are made on this machine and never leave it. CONFIG says where keys and certificates go, the roots must lie
    there already, from a source that is trusted. A running agent renews them later by itself.

    \b
    hopback-agent enrol /etc/hopback/agent.toml
    """
    with failures():
        import asyncio

        from agent.config import load
        from agent.identity import places_of
        from agent.identity_config import coordinator_of
        from agent.mistakes import ConfigError, Mistake
        from protos.enrolling import by_token
        from protos.identity import provider_uri
        from protos.renewal import RenewalError, obtain_pairs

        loaded = load(config)
        table = loaded.enrolment
        if table is None or table.first is None:
            what = "missing: write which coordinator issues certificates, such as coordinator.example.net:7444"
            raise ConfigError(str(config), [Mistake("enrolment.first", what)])
        places = places_of(loaded)
        places.recover()
        if not again and (until := _valid_until(loaded)) is not None:
            fail(f"there is a certificate that is valid until {until:%Y-%m-%d}: to replace it say --again")
        try:
            roots = places.roots.read_bytes()
        except OSError as error:
            what = f"{places.roots} can't be read ({error.strerror}): get it from the coordinator's operator first"
            raise ConfigError(str(config), [Mistake("listen.roots", what)]) from None
        given = token or click.prompt("Token", hide_input=True, err=True)
        coordinator = coordinator_of(table, loaded.listen.coordinators)
        try:
            obtain = by_token(table.first, coordinator, roots, given.strip())
            asyncio.run(obtain_pairs(provider_uri(loaded.me), places, obtain))
        except RenewalError as error:
            fail(f"not enrolled: {error}")
        for pair in (places.tls, places.evidence):
            click.echo(f"{pair.certificate}\n{pair.key}")
        click.echo(f"Now run: hopback-agent check-config {config}", err=True)


@click.group(cls=Commands)
def identity() -> None:
    """What this agent shows to others, and whom it no longer lets in."""


@identity.command("show")
@CONFIG
@AS_JSON
def show(config: Path, as_json: bool) -> None:
    """Show certificates with the days that are left, roots, and the list of revoked certificates.

    \b
    hopback-agent identity show /etc/hopback/agent.toml
    """
    with failures():
        from agent.config import load
        from agent.tables import new_table, row

        found = described(load(config), datetime.now(UTC))
        if as_json:
            click.echo(json.dumps(found, indent=2))
        else:
            screen = console()
            table = new_table("Certificates", "for", "party", "valid until", "days left", "renewal")
            for each in found["certificates"]:
                until = each["valid_to"].partition("T")[0]
                row(table, each["for"], each["party"], until, each["days_left"], each["renewal"])
            if found["certificates"]:
                screen.print(table)
            for each in found["certificates"]:
                screen.print(f"{each['for']} serial {each['serial']}", markup=False)
            for root in found["roots"]:
                screen.print(f"root {root['name']}, until {root['valid_to']}, SHA-256 {root['sha256']}", markup=False)
            if found["revocation_list"] is not None:
                listed = found["revocation_list"]
                issued = listed["issued"] or "never"
                screen.print(f"revoked certificates: list of {issued}, {listed['age']}, {listed['revoked']} revoked")
        for warning in found["warnings"]:
            console(stderr=True).print(warning, style="yellow", markup=False)


def described(config: AgentConfig, now: datetime) -> dict[str, Any]:
    """Everything that `identity show` tells."""
    from cryptography import x509

    warnings: list[str] = []
    files = [("TLS", config.listen.certificate)]
    files += [] if config.signing is None else [("evidence", config.signing.certificate)]
    certificates = [
        described_one
        for purpose, path in files
        if (described_one := _certificate(config, purpose, path, now, warnings)) is not None
    ]
    roots: list[dict[str, str]] = []
    try:
        roots += map(_root, x509.load_pem_x509_certificates(config.listen.roots.read_bytes()))
    except (OSError, ValueError) as error:
        warnings.append(f"roots {config.listen.roots} can't be read: {getattr(error, 'strerror', None) or error}")
    return {
        "provider": config.me,
        "certificates": certificates,
        "roots": roots,
        "revocation_list": _revocation_list(config, now, warnings),
        "warnings": warnings,
    }


def _certificate(
    config: AgentConfig, purpose: str, path: Path, now: datetime, warnings: list[str]
) -> dict[str, Any] | None:
    from cryptography import x509

    from protos.renewal import Life, is_late

    try:
        leaf = x509.load_pem_x509_certificates(path.read_bytes())[0]
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound) as error:
        warnings.append(f"certificate {path} can't be read: {getattr(error, 'strerror', None) or error}")
        return None
    life = Life(leaf.not_valid_before_utc, leaf.not_valid_after_utc)
    days = (life.valid_to - now).days
    renews = config.enrolment is not None and config.enrolment.renew
    if now >= life.valid_to:
        warnings.append(f"certificate {path} expired {-days} days ago: enrol with a new token")
    elif is_late([life], now):
        todo = "look into the log of the agent for what keeps it" if renews else "nobody renews it: see [enrolment]"
        warnings.append(f"certificate {path} should have been renewed long ago: {todo}")
    return {
        "for": purpose,
        "file": str(path),
        "party": ", ".join(names.get_values_for_type(x509.UniformResourceIdentifier)),
        "serial": f"{leaf.serial_number:x}",
        "valid_from": _text(life.valid_from),
        "valid_to": _text(life.valid_to),
        "days_left": days,
        "renewal": f"about {life.after(0.475):%Y-%m-%d}" if renews else "by hand",
    }


def _root(root: Any) -> dict[str, str]:
    from cryptography.hazmat.primitives.hashes import SHA256

    return {
        "name": root.subject.rfc4514_string(),
        "valid_to": _text(root.not_valid_after_utc),
        "sha256": root.fingerprint(SHA256()).hex(),
    }


def _revocation_list(config: AgentConfig, now: datetime, warnings: list[str]) -> dict[str, Any] | None:
    from agent.identity import roots_of
    from protos.revocation import ListAge, RevocationError, Revocations

    table = config.revocation
    if table is None:
        return None
    revocations = Revocations(roots_of(config), table.warn_after, table.refuse_after)
    count = 0
    try:
        revocations.take(table.list.read_bytes(), now)
        count = revocations.count
    except (OSError, RevocationError) as error:
        warnings.append(f"revocation list {table.list}: {getattr(error, 'strerror', None) or error}")
    age, issued = revocations.age(now), revocations.issued
    if age in (ListAge.TOO_OLD, ListAge.NONE) and table.when_too_old == "refuse":
        warnings.append("the list of revoked certificates is missing or too old: nobody's questions are answered")
    elif age is not ListAge.FRESH:
        warnings.append("the list of revoked certificates is old")
    return {
        "file": str(table.list),
        "issued": None if issued is None else _text(issued),
        "age": age.value,
        "revoked": count,
    }


def _valid_until(config: AgentConfig) -> datetime | None:
    """Until when the present TLS certificate is valid; None where there is none that is."""
    from agent.inspection import read_tls
    from agent.mistakes import ConfigError

    try:
        return read_tls(config, datetime.now(UTC)).valid_to
    except ConfigError:
        return None


def _text(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"
