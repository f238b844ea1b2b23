"""`hopback-coordinator authority`: the issuing authority: making one, what it issued, revoking, the revocation list."""

from __future__ import annotations

import getpass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coordinator.commands.frame import (
    BadData,
    Failed,
    Misconfigured,
    config_option,
    json_option,
    loaded_config,
    misconfigured,
    now,
    write_json,
)
from protos.printable import printable
from protos.program import Commands

if TYPE_CHECKING:
    from coordinator.authority.authority import Authority
    from coordinator.config import LoadedConfig


@click.group(cls=Commands)
def authority() -> None:
    """Who gets a certificate, and which ones no longer count.

    \b
    hopback-coordinator authority init authority
    hopback-coordinator authority coordinator
    hopback-coordinator authority list --party birch
    hopback-coordinator authority revoke --provider birch --reason "left the industry"
    """


@authority.command("init")
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option("--name", default="hopback authority", show_default=True, help="Common name of the root.")
@click.option(
    "--certificate",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The root of a key that lies elsewhere and signs by key_command; only the ledger is made.",
)
def init(directory: Path, name: str, certificate: Path | None) -> None:
    """Make an authority in DIRECTORY: root certificate, issuing key, ledger.

    Nothing is overwritten. Pin the root in every configuration; it must reach the providers on a way that is trusted.

    \b
    hopback-coordinator authority init authority
    """
    from coordinator.authority.issuing_key import AuthorityError
    from coordinator.authority.ledger import Ledger

    root_file, key_file, ledger_file = (directory / each for each in ("root.crt", "root.key", "ledger.db"))
    if there := [str(file) for file in (root_file, key_file, ledger_file) if file.exists()]:
        raise Misconfigured(f"there is {' and '.join(there)} already: choose another directory")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if certificate is None:
            _make_root(root_file, key_file, name)
        Ledger.create(ledger_file).close()
    except (OSError, AuthorityError) as error:
        raise Misconfigured(str(error)) from None
    key = f'key = "{key_file}"' if certificate is None else 'key_command = ["..."]'
    click.echo(f"""[authority]
certificate = "{certificate or root_file}"
{key}
ledger = "{ledger_file}\"""")
    root = certificate or root_file
    click.echo(f'This goes into coordinator.toml, and in [tls]: roots = "{root}".', err=True)
    click.echo("Then run: hopback-coordinator authority coordinator", err=True)


def _make_root(root_file: Path, key_file: Path, name: str) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509.oid import NameOID

    from coordinator.authority.issuing import BACKDATED, ROOT_LIFETIME, root
    from protos.key_pairs import key_pem, new_tls_key, write_whole

    key = new_tls_key()
    made = root(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key, now() - BACKDATED, now() + ROOT_LIFETIME
    )
    write_whole(key_file, key_pem(key), secret=True)
    write_whole(root_file, made.public_bytes(Encoding.PEM), secret=False)


@authority.command("coordinator")
@config_option
def coordinator(config_path: Path) -> None:
    """Issue this coordinator's own certificates, for TLS and for signing questions, where the configuration says.

    Its keys are made anew. A running `serve` renews them later by itself.
    """
    import asyncio

    from coordinator.authority.issuing import RequestError
    from coordinator.authority.issuing_key import AuthorityError
    from coordinator.config import ConfigError
    from coordinator.party import places_of
    from protos.identity import coordinator_uri
    from protos.renewal import Obtained, RenewalError, obtain_pairs

    loaded, opened = _opened(config_path)
    uri = coordinator_uri(loaded.config.coordinator.name)

    async def obtain(tls_request: bytes, evidence_request: bytes) -> Obtained:
        pair = opened.issue(uri, tls_request, evidence_request, getpass.getuser(), now())
        return Obtained(pair.tls, pair.evidence)

    try:
        places = places_of(loaded)
        asyncio.run(obtain_pairs(uri, places, obtain))
    except ConfigError as error:
        raise misconfigured(error) from None
    except (RenewalError, RequestError, AuthorityError, OSError) as error:
        raise Failed(str(error)) from None
    for pair in (places.tls, places.evidence):
        click.echo(f"{pair.certificate}\n{pair.key}")


@authority.command("certify")
@click.argument("role", type=click.Choice(["requester", "approver", "analyst", "auditor"]))
@click.argument("name")
@click.argument("request", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="The file to write; default NAME-tls.crt.")
@config_option
def certify(role: str, name: str, request: Path, out: Path | None, config_path: Path) -> None:
    """Issue a certificate with which person NAME calls `serve` in a role, for the key of a signing REQUEST.

    Only who the configuration lists in that role is let in ([orders], [access]). It is not renewed by itself.

    \b
    hopback-coordinator key request ann                                  # ann, on her own machine
    hopback-coordinator authority certify requester ann ann-tls.csr
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    from coordinator.api.mount import listed
    from coordinator.authority.issuing import RequestError
    from coordinator.authority.issuing_key import AuthorityError
    from coordinator.callers import Role
    from protos.identity import InvalidIdentityError
    from protos.key_pairs import write_whole

    loaded, opened = _opened(config_path)
    file = out or Path(f"{name}-tls.crt")
    try:
        der = x509.load_pem_x509_csr(request.read_bytes()).public_bytes(Encoding.DER)
    except (OSError, ValueError):
        raise BadData(f"{request} is no signing request (PEM): `hopback-coordinator key request` makes one") from None
    try:
        write_whole(file, opened.certify(Role(role), name, der, getpass.getuser(), now()), secret=False)
    except InvalidIdentityError as error:
        raise click.BadParameter(str(error), param_hint="NAME") from None
    except (RequestError, AuthorityError, OSError) as error:
        raise Failed(str(error)) from None
    click.echo(f"{file}: hopback://{role}/{name}. Send it back, and the roots.")
    if name not in listed(loaded)[Role(role)]:
        click.echo(f"{loaded.file.name} doesn't list {name} as {role} yet: see [orders] and [access].", err=True)


@authority.command("list")
@click.option("--party", help="Only of this provider, or of a URI.")
@click.option("--all", "every", is_flag=True, help="Also those that have expired.")
@json_option
@config_option
def list_certificates(party: str | None, every: bool, as_json: bool, config_path: Path) -> None:
    """List what was issued, the latest first."""
    from coordinator.authority.ledger import Ledger

    loaded, _ = _opened(config_path)
    table = loaded.config.authority
    assert table is not None  # noqa: S101  _opened says so otherwise
    with Ledger(loaded.path(table.ledger)) as ledger:
        found = ledger.certificates(None if party is None else _uri(party), None if every else now())
    rows: list[dict[str, Any]] = [
        {
            "serial": f"{each.serial:x}",
            "party": each.uri,
            "for": each.purpose.value,
            "issued": _text(each.issued_at),
            "valid_to": _text(each.valid_to),
            "basis": each.basis,
            "revoked": None if each.revoked_at is None else _text(each.revoked_at),
            "reason": each.reason,
        }
        for each in found
    ]
    if as_json:
        write_json(rows)
    elif not rows:
        click.echo("Nothing was issued yet.")
    else:
        for row in rows:
            stands = f"revoked {row['revoked']}: {row['reason']}" if row["revoked"] else f"until {row['valid_to']}"
            click.echo(f"{row['serial']}  {row['for']}  {printable(row['party'])}")
            click.echo(f"    issued {row['issued']} ({printable(row['basis'])}), {printable(stands)}")


@authority.command("revoke")
@click.option("--serial", help="One certificate, by its serial number in hex.")
@click.option("--provider", help="All certificates of a provider, and its open tokens.")
@click.option("--reason", required=True, help="In words; it stays in the ledger.")
@config_option
def revoke(serial: str | None, provider: str | None, reason: str, config_path: Path) -> None:
    """Let certificates no longer count. A running `serve` tells everybody who asks, within seconds.

    \b
    hopback-coordinator authority revoke --provider birch --reason "laptop stolen"
    """
    from coordinator.authority.issuing_key import AuthorityError

    if (serial is None) == (provider is None):
        raise click.UsageError("name either --serial or --provider")
    _, opened = _opened(config_path)
    try:
        if serial is not None:
            count = opened.revoke_serial(_serial(serial), reason, now())
        else:
            count = opened.revoke_party(_uri(provider or ""), reason, now())
    except AuthorityError as error:
        raise Failed(str(error)) from None
    click.echo(f"{count} revoked.")


@authority.command("crl")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="File to write, DER.")
@config_option
def crl(out: Path, config_path: Path) -> None:
    """Write the revocation list as it is now (RFC 5280), for those who can't fetch it."""
    from coordinator.authority.issuing_key import AuthorityError
    from protos.key_pairs import write_whole

    _, opened = _opened(config_path)
    try:
        write_whole(out, opened.revocation_list(now()), secret=False)
    except (AuthorityError, OSError) as error:
        raise Failed(str(error)) from None
    click.echo(f"{out}")


def _opened(config_path: Path) -> tuple[LoadedConfig, Authority]:
    from coordinator.config import ConfigError
    from coordinator.serving import open_authority

    loaded = loaded_config(config_path)
    try:
        return loaded, open_authority(loaded)
    except ConfigError as error:
        raise misconfigured(error) from None


def _serial(text: str) -> int:
    try:
        return int(text.replace(":", ""), 16)
    except ValueError:
        raise click.BadParameter("a serial number has hex digits alone", param_hint="--serial") from None


def _uri(text: str) -> str:
    from protos.identity import InvalidIdentityError, parse_provider_id, provider_uri

    if text.startswith("hopback://"):
        return text
    try:
        return provider_uri(parse_provider_id(text))
    except InvalidIdentityError as error:
        raise click.UsageError(str(error)) from None


def _text(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"
