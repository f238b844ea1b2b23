"""`hopback-coordinator stir`: Identity headers by themselves, and the certificates that they are verified with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coordinator.commands.frame import (
    BadData,
    config_option,
    json_option,
    misconfigured,
    now,
    numbers_option,
    opened_engine,
    show_rich,
    text_of,
    write_json,
)
from coordinator.commands.registry import operator_option
from coordinator.commands.tables import iso, minute, table
from protos.program import Commands

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography import x509
    from sqlalchemy import Engine

    from coordinator.config import LoadedConfig
    from coordinator.stir.certificates import Judged
    from coordinator.stir.examiner import Examiner
    from coordinator.stir.passport import Passport
    from coordinator.stir.revocation import StiList

OLD_LIST = 3
_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(cls=Commands)
def stir() -> None:
    """STIR/SHAKEN: what the Identity headers of reported calls claim. A cross-check, never a hop.

    \b
    hopback-coordinator stir certificates import birch.pem
    hopback-coordinator stir check header.txt
    hopback-coordinator order new --called ... --identity header.txt
    """


@stir.command("check")
@click.argument("file", type=_file)
@click.option("--certificates", "pem", type=_file, help="Signers' certificates (PEM) in place of those imported.")
@click.option("--roots", type=_file, help="Roots (PEM) in place of those of [stir] roots.")
@click.option("--revoked", type=_file, help="The STI-PA's list of revoked certificates in place of [stir] revoked.")
@click.option("--revoked-by", type=_file, help="Who signs it (PEM) in place of [stir] revoked_by.")
@json_option
@numbers_option
@config_option
def check(
    file: Path,
    pem: Path | None,
    roots: Path | None,
    revoked: Path | None,
    revoked_by: Path | None,
    as_json: bool,
    show_numbers: bool,
    config_path: Path,
) -> None:
    """Read the Identity header in FILE, and say how much is known of who signed it.

    With --certificates and --roots nothing of the coordinator is needed. Neither a certificate nor a list is ever
    fetched. Whether the certificate was revoked is judged as of the time in the header.
    """
    from coordinator.present.stir import passport_rows
    from coordinator.stir.certificates import Shelf, SignerError, read_pem, read_roots
    from coordinator.stir.examiner import revoked_of, roots_of
    from coordinator.stir.passport import PassportError, parse_identity
    from coordinator.stir.revocation import Revoked

    if (revoked is None) != (revoked_by is None):
        raise click.UsageError("--revoked and --revoked-by go together: a list counts by who signed it")
    try:
        identity = parse_identity(text_of(file))
    except PassportError as error:
        raise BadData(f"{file}: {error}") from None
    try:
        certificates = read_pem(pem.read_bytes()) if pem else None
    except SignerError as error:
        raise BadData(f"{pem}: {error}") from None
    try:
        trusted = read_roots(roots.read_bytes()) if roots else None
    except SignerError as error:
        raise BadData(f"{roots}: {error}") from None
    listed = None
    if revoked is not None and revoked_by is not None:
        listed = Revoked(_list_in(revoked, _pinned_in(revoked_by)), now())
    if certificates is None or trusted is None:
        with opened_engine(config_path) as (loaded, engine):
            certificates = _imported(engine) if certificates is None else certificates
            trusted = roots_of(loaded) if trusted is None else trusted  # a ConfigError ends the command
            listed = listed or revoked_of(loaded, now())
    shelf = Shelf(certificates, trusted, listed or Revoked("no list of revoked certificates was given", now()))
    judged = [(one, shelf.judge(one)) for one in (identity.shaken, *identity.div)]
    if as_json:
        write_json([_passport_json(*one) for one in judged])
        return
    for passport, found in judged:
        show_rich(table(("PASSporT", passport.kind), passport_rows(passport, found, show=show_numbers)))


@stir.command("revoked")
@click.argument("file", type=_file, required=False)
@json_option
@config_option
def revoked_list(file: Path | None, as_json: bool, config_path: Path) -> None:
    """Say of the STI-PA's list of revoked certificates, or of FILE in its place, whether it counts.

    \b
    Exit codes: 0 it is in force; 3 it is old, and only what it names counts; 65 it doesn't count at all.
    """
    from coordinator.commands.frame import loaded_config
    from coordinator.config import ConfigError
    from coordinator.stir.examiner import pinned_for_lists
    from coordinator.stir.revocation import Revoked

    loaded = loaded_config(config_path)
    try:
        pinned = pinned_for_lists(loaded)
    except ConfigError as error:
        raise misconfigured(error) from None
    named = loaded.config.stir.revoked
    place = file or (loaded.path(named) if named else None)
    if place is None:
        raise click.UsageError("name a FILE: [stir] revoked names none")
    found = _list_in(place, pinned)
    why = Revoked(found, now()).out_of_force
    if as_json:
        write_json(
            {
                "issuer": found.issuer.rfc4514_string(),
                "number": found.number,
                "issued": iso(found.issued),
                "due": iso(found.due),
                "certificates": len(found.entries),
                "in_force": not why,
            }
        )
    else:
        said = (
            f"{len(found.entries):,} revoked certificates, of {minute(found.issued)} UTC, due {minute(found.due)} UTC"
        )
        click.echo(f"{said}: {why or 'in force'}.")
    if why:
        raise SystemExit(OLD_LIST)


@stir.group()
def certificates() -> None:
    """Certificates of signers, and of the authorities between them and the roots."""


@certificates.command("import")
@click.argument("file", type=_file)
@operator_option
@json_option
@config_option
def import_certificates(file: Path, operator: str, as_json: bool, config_path: Path) -> None:
    """Add the certificates of FILE (PEM): signers', as a header's x5u leads to, and those between them and a root."""
    from coordinator.stir.book import IdentityBook
    from coordinator.stir.certificates import SignerError, read_pem

    try:
        found = read_pem(file.read_bytes())
    except SignerError as error:
        raise BadData(f"{file}: {error}") from None
    with opened_engine(config_path) as (_, engine):
        new = IdentityBook(engine).add_certificates(found, operator, now())
    if as_json:
        write_json({"new": new, "known": len(found) - new})
    else:
        click.echo(f"{new:,} new, {len(found) - new:,} known already.")


@certificates.command("list")
@json_option
@config_option
def list_certificates(as_json: bool, config_path: Path) -> None:
    """List the certificates: to whom they were issued, as the registry has it now, until when, who imported them."""
    from coordinator.registry.book import RegistryBook
    from coordinator.stir.book import IdentityBook
    from coordinator.stir.certificates import described
    from coordinator.stir.crosscheck import provider_of

    with opened_engine(config_path) as (_, engine):
        found = [(one, described(one.certificate)) for one in IdentityBook(engine).certificates()]
        aliases = RegistryBook(engine).aliases()
    rows = [(kept, signer, provider_of(signer.codes, aliases, now())) for kept, signer in found]
    if as_json:
        write_json(
            [
                {
                    "sha256": signer.sha256,
                    "subject": signer.subject,
                    "codes": list(signer.codes),
                    "provider": provider,
                    "valid_from": iso(signer.valid_from),
                    "valid_to": iso(signer.valid_to),
                    "added_at": iso(kept.added_at),
                    "added_by": kept.added_by,
                }
                for kept, signer, provider in rows
            ]
        )
    elif rows:
        columns = ("SHA-256", "Subject", "SPC", "Provider", "Valid to (UTC)", "Imported by")
        show_rich(
            table(
                columns,
                [
                    (one.sha256[:8], one.subject, " ".join(one.codes), who, minute(one.valid_to), kept.added_by)
                    for kept, one, who in rows
                ],
            )
        )
    else:
        click.echo("No certificates yet: `hopback-coordinator stir certificates import FILE`.")


# What the commands share


def examiner_of(loaded: LoadedConfig, engine: Engine) -> Examiner:
    """Who examines headers, with what is at hand now; what is wrong with the pinned roots ends the command."""
    from coordinator.config import ConfigError
    from coordinator.stir.examiner import Examiner, revoked_of, roots_of

    try:
        return Examiner(engine, roots_of(loaded), revoked_of(loaded, now()))
    except ConfigError as error:
        raise misconfigured(error) from None


def _list_in(file: Path, pinned: Sequence[x509.Certificate]) -> StiList:
    from coordinator.stir.examiner import list_file
    from coordinator.stir.revocation import ListError, read_list

    try:
        return read_list(list_file(file), pinned)
    except ListError as error:
        raise BadData(f"{file}: {error}") from None


def _pinned_in(file: Path) -> list[x509.Certificate]:
    from coordinator.stir.revocation import ListError, read_pinned

    try:
        return read_pinned(file.read_bytes())
    except ListError as error:
        raise BadData(f"{file}: {error}") from None


def _imported(engine: Engine) -> list[bytes]:
    from coordinator.stir.book import IdentityBook

    return [one.certificate for one in IdentityBook(engine).certificates()]


def _passport_json(passport: Passport, judged: Judged) -> dict[str, Any]:
    from coordinator.stir.written import revocation_json

    return {
        "kind": passport.kind,
        "attestation": passport.attestation or None,
        "orig": passport.orig or None,
        "dest": list(passport.dest),
        "diverted": passport.diverted or None,
        "issued": iso(passport.issued),
        "origid": passport.origid or None,
        "x5u": passport.x5u,
        "grade": judged.grade.value,
        "why": judged.why or None,
        "revocation": revocation_json(judged.revocation),
        "codes": list(judged.signer.codes) if judged.signer else [],
        "certificate": judged.signer.sha256 if judged.signer else None,
    }
