"""The coordinator's configuration: one TOML file, every key known or refused, every path relative to the file.

`load` says everything that is wrong at once, each with its key. `TEMPLATE` is what `init` writes: the same keys with
their defaults, commented; a test holds the two together.
"""

from __future__ import annotations

import tomllib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from coordinator.audits.checkpoints import WitnessTerms
from coordinator.config_tables import MailTable, RegistryTable, RetentionTable, StirTable, TasksTable
from coordinator.deadlines.settings import DeadlinesTable
from coordinator.identity_config import AuthorityTable, EnrolmentTable, ListenTable, Operators, RevocationTable
from coordinator.lookups.batching import LaneTerms
from coordinator.ordering.intake import parse_duration
from coordinator.running.leases import LENGTH
from coordinator.running.limits import Limits
from coordinator.running.scheduler import SchedulerTerms
from coordinator.tracing.chain import DEFAULT_HOP_LIMIT, DEFAULT_WINDOW
from coordinator.tracing.patience import Patience
from protos.hops import QUESTION_LIFE
from protos.identity import ProviderId, parse_provider_id
from protos.orders import MOST_HOPS, Persons
from protos.signing import PublicKey
from protos.types import WINDOW_CAP

FILE_NAME = "coordinator.toml"
MOST_QUESTIONS = 10_000
"""No message holds more; see HopService in hop.proto."""

TEMPLATE = """\
# hopback coordinator. Paths are relative to this file. Durations: "500ms", "10s", "15m", "24h".

[coordinator]
# Agents know this coordinator as hopback://coordinator/{name}; its certificate says so.
name = "{name}"

[store]
# Where tracebacks and the registry are kept. SQLite is flushed to disk at every step.
url = "sqlite:///coordinator.db"

[tls]
# Mutual TLS towards the agents. These came from the lab authority in ca/, which is for trying out only:
# name the files of your own authority here before anything real is traced.
certificate = "coordinator-{name}.crt"
key = "coordinator-{name}.key"            # must not be readable by others
roots = "ca.crt"

[signing]
# The online key signs the questions. By itself it gets no answer: that takes an order which persons have signed.
key = "coordinator-{name}-evidence.key"
certificate = "coordinator-{name}-evidence.crt"
# roots = "ca.crt"                     # of providers' evidence certificates; those of [tls] where not given

[orders]
approvals = 1                          # so many other persons than the submitter must approve an order

[orders.submitters]
# ann = "ed25519:..."                  # who may submit orders, and who approve them: each person's public key
[orders.approvers]
# bob = "ed25519:..."

# [listen]                             # `serve`: for agents that dial out, and for enrolment
# address = "0.0.0.0:7443"             # for those with a certificate
# enrolment_address = "0.0.0.0:7444"   # for those without one
# inside = "serve.internal:7443"       # where this coordinator's processes on other machines reach it

# [authority]                          # `authority init` makes one; its key is never the online key
# certificate = "authority/root.crt"
# key = "authority/root.key"           # must not be readable by others; or key_command = ["..."], which signs
# ledger = "authority/ledger.db"
# lifetime = "30d"                     # of certificates
# lists_every = "6h"                   # a revocation list at least so often

# [operators]                          # two of them grant an enrolment token: each person's public key
# carol = "ed25519:..."
# dave = "ed25519:..."

# [enrolment]                          # where the authority is another process: who renews this one's certificates
# coordinator = "authority.example:7443"
# name = "hopback://coordinator/other" # who must answer there; this coordinator's own name where not given

# [revocation]                         # where the authority is another process
# list = "revoked.crl"
# every = "15m"
# warn_after = "24h"
# refuse_after = "72h"
# refuse = true                        # false: an older list is only warned of

[trace]
window = "60s"                         # how far from the stated time a record may lie, either side; 300s at most
hop_limit = 15                         # a chain longer than this is closed

[limits]
concurrent = 4000                      # tracebacks that ask or write at the same time
attempt_timeout = "10s"                # one attempt at a question
attempts = 3                           # attempts in a row without an answer before a provider is non-responsive,
unanswered = "15m"                     # and for so long at least, after the first of them failed
foreground = "10s"                     # so long `trace`, `import`, `resume`, `retry` themselves wait for a silent agent
backoff = "500ms"                      # pause after the first failed attempt, doubled after each further one
backoff_cap = "30s"                    # the longest such pause
question_lifetime = "2m"               # after this an answer is of no use, and the question is asked anew
not_yet_pause = "15m"                  # pause when records are not in yet and the provider names no time
not_yet_cap = "24h"                    # the longest pause that a provider may name
longest_nap = "30s"                    # shorter waits are slept through, longer ones left to the store
jitter = 0.2                           # pauses are longer by up to this share, differently for every traceback
lease = "15s"                          # after so long in silence another process takes over what this one drives
block = 1000                           # tracebacks that are claimed at a time
in_flight = 2                          # messages to one provider that may be unanswered at the same time
largest = 1000                         # questions in one message
rate = 0                               # questions to one provider a second; 0: as many as there are
budget = 0                             # questions to one provider a day (UTC), for each process; 0: no bound

[limits.providers]                     # those for whom these four are others than the ones above
# birch = {{ in_flight = 1, largest = 100, rate = 5, budget = 2000 }}

[deadlines]                            # for providers that have none of their own in the registry
zone = "America/New_York"              # of the office that answers
hours = "08:00-17:30"                  # business hours there
workdays = ["monday", "tuesday", "wednesday", "thursday", "friday"]
holidays = "us-federal"                # or "none"
more_holidays = []                     # rules: "december 24 exactly", "last monday of may"
closed = []                            # single days off: "2026-11-27"
open = []                              # and single business days
within = "24h"                         # a request must be answered within this; the clock stands still on days off
reminders = ["12h", "20h"]             # after it counts as received
escalations = ["0h", "12h"]            # after it was due
gives_up = "24h"                       # after it was due: then the provider is non-responsive

[tasks]
# link = "https://traceback.example/answer#{{token}}"   # where people answer; without it, letters ask them to call
link_lifetime = "30d"
review_after = "1h"                    # an agent that holds its answer for longer: its people are written to
signature = "The traceback desk"       # under every letter
# telephone = "+1 202 555 0199"        # in every letter: whom to ask, and who tells that a letter is genuine
# email = "desk@traceback.example"     # the same; the sender of [mail] where not given

# [mail]                               # without it no letters are sent
# host = "mail.example"
# port = 587
# sender = "traceback@traceback.example"
# security = "starttls"                # or "tls"; "none" on the loopback alone
# username = "traceback"
# password_file = "mail.password"      # must not be readable by others
# roots = "mail-ca.crt"                # in place of the system's authorities

[registry]
two_operators = false                  # true: every change is proposed by one and confirmed by another

[checkpoints]                          # watching over the agents' audit logs
witnesses = 2                          # other providers that sign each one's checkpoints; 0: none
witness_every = "1h"                   # how often at most, of one provider
fetch_every = "10m"                    # `run` and `serve` ask every agent for its checkpoint so often

# [access]                             # who else may call `serve`; submitters and approvers of [orders] may
# analysts = ["olga"]
# auditors = ["vic"]

[retention]
pseudonymise_after = "548d"            # closed tracebacks lose their telephone numbers then; see `retention run`
key_file = "retention.key"             # 64 hexadecimal digits; must not be readable by others

[stir]                                 # Identity headers of reported calls: a cross-check, never a hop
# roots = "sti-roots"                  # directory of PEM files: the STI-CAs' roots; without, no signer is verified
# revoked = "sti-pa.crl"               # the STI-PA's list of revoked certificates (DER or PEM), as cron fetches it
# revoked_by = "sti-pa.pem"            # the STI-PA's certificates that sign it, pinned
"""


class ConfigError(Exception):
    """The configuration can't be used; `problems` says of every key what is wrong."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        super().__init__(f"{path}: " + "; ".join(problems))
        self.path = path
        self.problems = tuple(problems)


def _duration(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError('write a duration as text, such as "60s"')  # noqa: TRY004
    return parse_duration(value)


def _name(value: str) -> str:
    return str(parse_provider_id(value))


Duration = Annotated[timedelta, BeforeValidator(_duration), Field(gt=timedelta(0))]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class CoordinatorTable(_Table):
    """Who this coordinator is."""

    name: Annotated[str, BeforeValidator(_name)]


class StoreTable(_Table):
    """Where it keeps what it knows."""

    url: str = "sqlite:///coordinator.db"


class TlsTable(_Table):
    """What it shows to agents, and whom it trusts."""

    certificate: str
    key: str
    roots: str


class SigningTable(_Table):
    """The online key, and its evidence certificate; `roots` certify providers' keys, those of [tls] where not given."""

    key: str
    certificate: str
    roots: str | None = None


def _public_key(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError('write a key as text, such as "ed25519:..."')  # noqa: TRY004
    return PublicKey.parse(value)


PersonKeys = dict[Annotated[str, BeforeValidator(_name)], Annotated[PublicKey, BeforeValidator(_public_key)]]


class OrdersTable(_Table):
    """Whose signatures make an order, and how many approvals it takes."""

    approvals: int = Field(default=1, ge=1, le=8)
    submitters: PersonKeys = Field(default_factory=dict)
    approvers: PersonKeys = Field(default_factory=dict)

    @property
    def persons(self) -> Persons:
        """As orders are judged by."""
        return Persons(self.submitters, self.approvers, self.approvals)


class TraceTable(_Table):
    """Defaults of a traceback."""

    window: Annotated[Duration, Field(le=WINDOW_CAP)] = DEFAULT_WINDOW
    hop_limit: int = Field(default=DEFAULT_HOP_LIMIT, ge=1, le=MOST_HOPS)


class LaneTable(_Table):
    """How one provider is asked, where that is told; see `coordinator.lookups.batching.LaneTerms`."""

    in_flight: int | None = Field(default=None, ge=1, le=100)
    largest: int | None = Field(default=None, ge=1, le=MOST_QUESTIONS)
    rate: float | None = Field(default=None, ge=0, strict=False)
    budget: int | None = Field(default=None, ge=0)

    def terms(self, others: LaneTerms) -> LaneTerms:
        """These terms; what they don't tell is as in `others`."""
        told: dict[str, Any] = {name: value or None for name, value in self.model_dump(exclude_none=True).items()}
        return replace(others, **told)


class LimitsTable(_Table):
    """Bounds of the driver; see `coordinator.running.limits.Limits` and `coordinator.tracing.patience.Patience`."""

    concurrent: int = Field(default=Limits().concurrent, ge=1, le=20_000)
    attempt_timeout: Duration = Limits().attempt_timeout
    attempts: int = Field(default=Patience().attempts, ge=1, le=100)
    unanswered: Annotated[timedelta, BeforeValidator(_duration), Field(ge=timedelta(0))] = Patience().unanswered
    foreground: Annotated[timedelta, BeforeValidator(_duration), Field(ge=timedelta(0))] = timedelta(seconds=10)
    backoff: Duration = Patience().backoff
    backoff_cap: Duration = Patience().backoff_cap
    question_lifetime: Annotated[Duration, Field(le=QUESTION_LIFE)] = Patience().question_lifetime
    not_yet_pause: Duration = Patience().not_yet_pause
    not_yet_cap: Duration = Patience().not_yet_cap
    longest_nap: Duration = Limits().longest_nap
    jitter: float = Field(default=Patience().jitter, ge=0, le=1)
    lease: Annotated[Duration, Field(ge=timedelta(seconds=1))] = LENGTH
    block: int = Field(default=SchedulerTerms().block, ge=1, le=10_000)
    in_flight: int = Field(default=LaneTerms().in_flight, ge=1, le=100)
    largest: int = Field(default=LaneTerms().largest, ge=1, le=MOST_QUESTIONS)
    rate: float = Field(default=0.0, ge=0, strict=False)
    budget: int = Field(default=0, ge=0)
    providers: dict[Annotated[str, BeforeValidator(_name)], LaneTable] = Field(default_factory=dict)

    @property
    def driver(self) -> Limits:
        """As the driver takes them."""
        lane = LaneTerms(
            in_flight=self.in_flight, largest=self.largest, rate=self.rate or None, budget=self.budget or None
        )
        return Limits(
            concurrent=self.concurrent,
            attempt_timeout=self.attempt_timeout,
            longest_nap=self.longest_nap,
            patience=Patience(
                attempts=self.attempts,
                unanswered=self.unanswered,
                backoff=self.backoff,
                backoff_cap=self.backoff_cap,
                question_lifetime=self.question_lifetime,
                not_yet_pause=self.not_yet_pause,
                not_yet_cap=self.not_yet_cap,
                jitter=self.jitter,
            ),
            lane=lane,
            lanes=tuple((ProviderId(name), table.terms(lane)) for name, table in sorted(self.providers.items())),
        )


class CheckpointsTable(_Table):
    """How the agents' audit logs are watched over; see `coordinator.audits.checkpoints`."""

    witnesses: int = Field(default=WitnessTerms().count, ge=0, le=6)
    witness_every: Duration = WitnessTerms().every
    fetch_every: Duration = timedelta(minutes=10)

    @property
    def terms(self) -> WitnessTerms:
        """As the watch takes them."""
        return WitnessTerms(self.witnesses, self.witness_every)


Name = Annotated[str, BeforeValidator(_name)]


class AccessTable(_Table):
    """Who may use the coordinator's own service, besides submitters, approvers and providers; by certificate."""

    analysts: list[Name] = Field(default_factory=list)
    auditors: list[Name] = Field(default_factory=list)


class Config(_Table):
    """The whole file."""

    coordinator: CoordinatorTable
    store: StoreTable = StoreTable()
    tls: TlsTable
    signing: SigningTable | None = None
    orders: OrdersTable = OrdersTable()
    trace: TraceTable = TraceTable()
    limits: LimitsTable = LimitsTable()
    deadlines: DeadlinesTable = DeadlinesTable()
    tasks: TasksTable = TasksTable()
    mail: MailTable | None = None
    registry: RegistryTable = RegistryTable()
    checkpoints: CheckpointsTable = CheckpointsTable()
    retention: RetentionTable = RetentionTable()
    stir: StirTable = StirTable()
    listen: ListenTable | None = None
    access: AccessTable = AccessTable()
    authority: AuthorityTable | None = None
    operators: Operators = Field(default_factory=dict)
    enrolment: EnrolmentTable | None = None
    revocation: RevocationTable | None = None


class LoadedConfig:
    """A configuration together with the file that it came from, whose directory its paths are relative to."""

    def __init__(self, config: Config, file: Path) -> None:
        self.config = config
        self.file = file
        self.directory = file.parent

    def path(self, text: str) -> Path:
        """A path of the configuration."""
        return self.directory / text

    @property
    def store_url(self) -> str:
        """The database URL; a relative SQLite path is made absolute."""
        scheme, separator, rest = self.config.store.url.partition(":///")
        if not scheme.startswith("sqlite") or not separator or rest.startswith(("/", ":memory:")) or not rest:
            return self.config.store.url
        return f"{scheme}:///{(self.directory / rest).resolve()}"


def load(path: Path) -> LoadedConfig:
    """Read and check the file at `path`.

    Raises:
        ConfigError: it is missing, no TOML, or says something that can't be; all problems at once.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        problem = (
            f"can't be read ({error.strerror}): name it with --config, or make one with `hopback-coordinator init`"
        )
        raise ConfigError(path, [problem]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(path, [f"is no TOML: {error}"]) from None
    try:
        return LoadedConfig(Config.model_validate(data), path.resolve())
    except ValidationError as error:
        raise ConfigError(path, [_problem(item) for item in error.errors(include_url=False)]) from None


def _problem(item: Any) -> str:
    key = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return f"{key}: no such key"
    if item["type"] == "missing":
        return f"{key}: missing"
    return f"{key}: {str(item['msg']).removeprefix('Value error, ')}"
