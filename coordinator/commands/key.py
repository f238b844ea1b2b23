"""`hopback-coordinator key`: the keys of persons, with which they sign orders, approvals and enrolment tokens.

A key is made where it is used and stays there. What others need is one line, for their configuration.
"""

from __future__ import annotations

from pathlib import Path

import click

from coordinator.commands.frame import Misconfigured
from protos.program import Commands


@click.group(cls=Commands)
def key() -> None:
    """Keys of persons: submitters, approvers, operators."""


@key.command("new")
@click.argument("name")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path(), help="Where to; default here.")
def new(name: str, out: Path) -> None:
    """Make a private key NAME.key, and print the public one, which goes into configurations.

    \b
    hopback-coordinator key new ann
    """
    from protos.key_pairs import key_pem, new_evidence_key, write_whole
    from protos.signing import PublicKey

    file = out / f"{_name(name)}.key"
    if file.exists():
        raise Misconfigured(f"{file} exists: what it signed would lose its key; choose another name or directory")
    made = new_evidence_key()
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_whole(file, key_pem(made), secret=True)
    except OSError as error:
        raise Misconfigured(f"{file} can't be written: {error.strerror}") from None
    click.echo(f'{name} = "{PublicKey.of(made.public_key())}"')
    click.echo(f"{file} is private: it is not encrypted, keep it where nobody else gets at it.", err=True)


@key.command("request")
@click.argument("name")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path(), help="Where to; default here.")
def request(name: str, out: Path) -> None:
    """Make a key for TLS, NAME-tls.key, and a signing request for it, NAME-tls.csr; the key stays here.

    The authority's operator certifies the request; certificate and key are what `hopback-coordinator api` calls with.

    \b
    hopback-coordinator key request ann
    hopback-coordinator authority certify requester ann ann-tls.csr      # the operator
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    from protos.key_pairs import key_pem, new_tls_key, signing_request, write_whole

    key_file, request_file = out / f"{_name(name)}-tls.key", out / f"{name}-tls.csr"
    if key_file.exists():
        raise Misconfigured(f"{key_file} exists: its certificate would lose its key; choose another directory")
    made = new_tls_key()
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_whole(key_file, key_pem(made), secret=True)
        pem = x509.load_der_x509_csr(signing_request(made)).public_bytes(Encoding.PEM)
        write_whole(request_file, pem, secret=False)
    except OSError as error:
        raise Misconfigured(f"{out} can't be written to: {error.strerror}") from None
    click.echo(f"{request_file} is for the authority's operator: `hopback-coordinator authority certify`.")
    click.echo(f"{key_file} is private: it is not encrypted, keep it where nobody else gets at it.", err=True)


def _name(text: str) -> str:
    from protos.identity import InvalidIdentityError, parse_provider_id

    try:
        return parse_provider_id(text)
    except InvalidIdentityError:
        raise click.BadParameter("2 to 63 lower case letters, digits and inner hyphens", param_hint="NAME") from None


@key.command("show")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def show(file: Path) -> None:
    """Print the public key of the private one in FILE.

    \b
    hopback-coordinator key show ann.key
    """
    from protos.signing import KeyFormatError, read_signer

    try:
        click.echo(str(read_signer(file).public))
    except KeyFormatError as error:
        raise Misconfigured(str(error)) from None
