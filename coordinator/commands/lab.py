"""`hopback-coordinator init` and `lab-cert`: everything that it takes to try hopback out, made on the spot.

What they make is for that alone: the keys of an authority and of two persons lie side by side, unprotected.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from coordinator.commands.frame import Misconfigured, config_option, loaded_config

if TYPE_CHECKING:
    from coordinator.authority.lab_ca import Credentials
    from coordinator.config import LoadedConfig

SUBMITTER, APPROVER = "ann", "bob"
PERSONS = ("requester", "approver", "analyst", "auditor")


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path), default=Path())
@click.option("--name", default="lab", show_default=True, help="Name in the coordinator's certificate.")
def init(directory: Path, name: str) -> None:
    """Make a coordinator in DIRECTORY: configuration, database, and a lab authority and two persons for trying it out.

    \b
    hopback-coordinator init lab
    """
    from coordinator.authority.lab_ca import LabAuthority, LabAuthorityError, make_person_key
    from coordinator.config import FILE_NAME, TEMPLATE
    from coordinator.store.engine import StoreError, engine_for, migrate
    from protos.identity import InvalidIdentityError, parse_provider_id

    try:
        parse_provider_id(name)
    except InvalidIdentityError as error:
        raise click.BadParameter(str(error), param_hint="--name") from None
    file = directory / FILE_NAME
    if file.exists():
        raise Misconfigured(f"{file} exists already; remove it, or choose another directory")
    people = directory / "people"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        authority = LabAuthority.create(directory / "ca")
        authority.issue_coordinator(name, directory)
        authority.issue_coordinator_evidence(name, directory)
        text = TEMPLATE.format(name=name)
        for person in (SUBMITTER, APPROVER):
            line = f'{person} = "{make_person_key(people / f"{person}.key")}"'
            text = "\n".join(line if known.startswith(f"# {person} = ") else known for known in text.splitlines())
        database = directory / "coordinator.db"
        database.touch(mode=0o600)  # telephone numbers stand in it; what SQLite puts beside it takes this mode too
        with engine_for(f"sqlite:///{database.resolve()}") as engine:
            migrate(engine)
        file.write_text(text + "\n", encoding="utf-8")
    except (OSError, LabAuthorityError, StoreError) as error:
        raise Misconfigured(str(error)) from None
    made = (
        (file, "the configuration; read its comments"),
        (database, "tracebacks, orders and the registry"),
        (directory / f"coordinator-{name}.crt", f"this coordinator's certificate: hopback://coordinator/{name}"),
        (directory / f"coordinator-{name}-evidence.crt", "the certificate of its online key, which signs questions"),
        (people, f"keys of {SUBMITTER}, who submits orders, and {APPROVER}, who approves them: elsewhere in earnest"),
        (directory / "ca", "the lab authority, for trying out only: its key is not protected"),
    )
    width = max(len(str(path)) for path, _ in made)
    for path, what in made:
        click.echo(f"{path!s:<{width}}  {what}")
    click.echo(f"""
Next, in that directory:
  hopback-coordinator lab-cert birch --out birch      certificates for the agent of provider birch
  hopback-coordinator registry import providers.csv   who has which agent: id,name,endpoint
  hopback-coordinator trace --called +1... --at 2026-11-20T18:03:11Z --terminating birch \\
      --submit-key people/{SUBMITTER}.key --approve-key people/{APPROVER}.key""")


@click.command("lab-cert")
@click.argument("provider", metavar="NAME")
@click.option("--role", type=click.Choice(PERSONS), help="NAME is a person, who uses `api` in this role.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Where to; the default is ./NAME.")
@config_option
def lab_cert(provider: str, role: str | None, out: Path | None, config_path: Path) -> None:
    """Issue certificates of the lab authority for a provider, or with --role for a person; for trying out only.

    A provider gets one for mutual TLS and one for signing answers; what belongs into its agent's configuration is
    shown. A person gets one for mutual TLS, with which `hopback-coordinator api` reaches `serve`.

    \b
    hopback-coordinator lab-cert birch --out ../birch
    hopback-coordinator lab-cert ann --role requester --out people
    """
    from coordinator.authority.lab_ca import LabAuthority, LabAuthorityError
    from protos.identity import InvalidIdentityError

    loaded = loaded_config(config_path)
    directory = out or Path(provider)
    try:
        authority = LabAuthority.open(loaded.path("ca"))
        if role is not None:
            _say_how_to_call(loaded, role, provider, authority.issue_caller(role, provider, directory))
            return
        issued = authority.issue_provider(provider, directory)
        evidence = authority.issue_provider_evidence(provider, directory)
    except InvalidIdentityError as error:
        raise click.BadParameter(str(error), param_hint="NAME") from None
    except LabAuthorityError as error:
        raise Misconfigured(str(error)) from None
    files = (issued.certificate, issued.key, issued.roots, evidence.certificate, evidence.key)
    click.echo("\n  ".join(["For trying out only, valid for 90 days:", *map(str, files)]))
    click.echo(f"\nIn {directory}/agent.toml, beside the paths under [listen]:")
    for line in agent_lines(loaded.config.orders, provider):
        click.echo(f"  {line}")


def _say_how_to_call(loaded: LoadedConfig, role: str, name: str, issued: Credentials) -> None:
    """What makes `api` use this certificate, as lines for a shell; and what the configuration still lacks."""
    from coordinator.api.mount import listed
    from coordinator.callers import Role

    server = loaded.config.listen.address if loaded.config.listen else "HOST:PORT"
    click.echo(f"""For trying out only, valid for 90 days:
export HOPBACK_SERVER={server} HOPBACK_SERVER_NAME={loaded.config.coordinator.name}
export HOPBACK_CERTIFICATE={issued.certificate} HOPBACK_KEY={issued.key} HOPBACK_ROOTS={issued.roots}""")
    if name not in listed(loaded)[Role(role)]:
        click.echo(f"{loaded.file.name} doesn't list {name} as {role} yet: see [orders] and [access].", err=True)


def agent_lines(orders: object, provider: str) -> list[str]:
    """What makes an agent take the orders of this coordinator's people, as lines of its configuration."""
    from coordinator.config import OrdersTable

    table = orders if isinstance(orders, OrdersTable) else OrdersTable()
    return [
        "[signing]",
        f'key = "{provider}-evidence.key"',
        f'certificate = "{provider}-evidence.crt"',
        "[orders]",
        f"approvals = {table.approvals}",
        "[orders.submitters]",
        *(f'{name} = "{key}"' for name, key in table.submitters.items()),
        "[orders.approvers]",
        *(f'{name} = "{key}"' for name, key in table.approvers.items()),
    ]
