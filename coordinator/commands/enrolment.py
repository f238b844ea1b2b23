"""`hopback-coordinator enrolment`: tokens with which providers get their first certificates; two operators grant one.

The first operator makes the token and signs for it, the second signs the same and puts it into the ledger. The token
itself goes to the provider, on a way that is trusted, and nowhere else: the file that travels between the operators
holds its digest. It is good for 600 seconds, once.
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

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
    text_of,
    write_json,
)
from protos.program import Commands

if TYPE_CHECKING:
    from coordinator.authority.operators import Signed
    from protos.signing import Signer

_file = click.Path(exists=True, dir_okay=False, path_type=Path)
_as_option = click.option("--as", "operator", required=True, help="Your name, as [operators] has it.")
_key_option = click.option("--key", "key_path", type=_file, required=True, help="Your private key (PEM, Ed25519).")


@click.group(cls=Commands)
def enrolment() -> None:
    """Letting providers in: one operator invites, another approves, the provider enrols with the token.

    \b
    hopback-coordinator enrolment invite birch --as carol --key carol.key
    hopback-coordinator enrolment approve birch.invitation.json --as dave --key dave.key
    hopback-coordinator enrolment tokens
    """


@enrolment.command("invite")
@click.argument("provider")
@_as_option
@_key_option
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Default: PROVIDER.invitation.json.")
def invite(provider: str, operator: str, key_path: Path, out: Path | None) -> None:
    """Make a token for PROVIDER and sign for it; it counts once another operator has approved.

    \b
    hopback-coordinator enrolment invite birch --as carol --key carol.key
    """
    from coordinator.authority.authority import token_digest
    from coordinator.authority.operators import TOKEN_LIFETIME, Signed, Token, to_json
    from protos.identity import InvalidIdentityError, parse_provider_id

    try:
        checked = parse_provider_id(provider)
    except InvalidIdentityError as error:
        raise click.BadParameter(str(error), param_hint="PROVIDER") from None
    signer = _signer(key_path)
    token = secrets.token_urlsafe(32)
    expires = (now() + TOKEN_LIFETIME - timedelta(seconds=1)).replace(microsecond=0)
    signed = Signed(Token(checked, token_digest(token), expires)).by(operator, signer)
    file = out or Path(f"{checked}.invitation.json")
    try:
        file.write_text(to_json(signed), encoding="utf-8")
    except OSError as error:
        raise Failed(f"{file} can't be written: {error.strerror}") from None
    click.echo(token)
    click.echo(
        f"This token is for {checked} alone, until {expires:%H:%M:%S} UTC; nobody keeps it.\n"
        f"{file} is for the other operator: hopback-coordinator enrolment approve {file} --as NAME --key KEY",
        err=True,
    )


@enrolment.command("approve")
@click.argument("file", type=_file)
@_as_option
@_key_option
@config_option
def approve(file: Path, operator: str, key_path: Path, config_path: Path) -> None:
    """Sign the invitation in FILE as the second operator, and let its token be used.

    \b
    hopback-coordinator enrolment approve birch.invitation.json --as dave --key dave.key
    """
    from coordinator.authority.authority import NotGrantedError
    from coordinator.authority.issuing_key import AuthorityError
    from coordinator.config import ConfigError
    from coordinator.serving import open_authority

    signed, signer = _read(file), _signer(key_path)
    loaded = loaded_config(config_path)
    try:
        open_authority(loaded).grant(signed.by(operator, signer), now())
    except ConfigError as error:
        raise misconfigured(error) from None
    except (NotGrantedError, AuthorityError) as error:
        raise Failed(str(error)) from None
    token = signed.statement
    names = sorted({name for name, _ in signed.signatures} | {operator})
    click.echo(f"{token.provider} may enrol until {token.expires:%H:%M:%S} UTC, by leave of {' and '.join(names)}.")


@enrolment.command("tokens")
@json_option
@config_option
def tokens(as_json: bool, config_path: Path) -> None:
    """List the tokens that were granted; the tokens themselves are not kept."""
    from coordinator.authority.issuing_key import AuthorityError
    from coordinator.authority.ledger import Ledger

    loaded = loaded_config(config_path)
    table = loaded.config.authority
    if table is None:
        raise Misconfigured(
            f"{loaded.file}: authority: not configured; `hopback-coordinator authority init` prints the lines"
        )
    try:
        with Ledger(loaded.path(table.ledger)) as ledger:
            found = ledger.tokens()
    except AuthorityError as error:
        raise Failed(str(error)) from None
    rows = [
        {
            "provider": each.provider,
            "expires": f"{each.expires:%Y-%m-%dT%H:%M:%SZ}",
            "used": None if each.used_at is None else f"{each.used_at:%Y-%m-%dT%H:%M:%SZ}",
        }
        for each in found
    ]
    if as_json:
        write_json(rows)
        return
    for row in rows:
        click.echo(f"{row['provider']}  until {row['expires']}  {'used ' + row['used'] if row['used'] else 'not used'}")
    if not rows:
        click.echo("No token was granted yet.")


def _signer(path: Path) -> Signer:
    from protos.signing import KeyFormatError, read_signer

    try:
        return read_signer(path)
    except KeyFormatError as error:
        raise Misconfigured(str(error)) from None


def _read(file: Path) -> Signed:
    from coordinator.authority.operators import StatementError, from_json

    try:
        return from_json(text_of(file))
    except StatementError as error:
        raise BadData(f"{file}: {error}") from None
