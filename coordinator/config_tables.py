"""The tables of the configuration beside tracing: tasks, mail, the registry, what is kept how long, STIR/SHAKEN.

Belongs to `coordinator.config`, which says how a file is read; [deadlines] stands in `coordinator.deadlines.settings`.
"""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from coordinator.ordering.intake import parse_duration
from coordinator.tasks.smtp import parse_address

_LINK = re.compile(r"https://[^\s{}]+\{token\}|http://(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]+)?/[^\s{}]*\{token\}")


def _duration(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError('write a duration as text, such as "30d"')  # noqa: TRY004
    return parse_duration(value)


def _link(value: str) -> str:
    if _LINK.fullmatch(value) is None:
        raise ValueError(
            'a link is an https URL that ends in {token}, such as "https://traceback.example/answer#{token}"'
        )
    return value


Duration = Annotated[timedelta, BeforeValidator(_duration), Field(gt=timedelta(0))]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class TasksTable(_Table):
    """How people at providers answer, and whom they may ask; letters name `email`, or else who sent them."""

    link: Annotated[str, AfterValidator(_link)] | None = None
    link_lifetime: Duration = timedelta(days=30)
    review_after: Duration = timedelta(hours=1)
    signature: str = Field(default="The traceback desk", min_length=1, max_length=76)
    telephone: str | None = Field(default=None, min_length=1, max_length=60, pattern=r"^[ -~]+$")
    email: Annotated[str, AfterValidator(parse_address)] | None = None


class MailTable(_Table):
    """The server that letters are handed in at; see `coordinator.tasks.smtp`. Paths are relative to the file."""

    host: str
    port: int = Field(default=587, ge=1, le=65535)
    sender: Annotated[str, AfterValidator(parse_address)]
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str | None = None
    password_file: str | None = None
    roots: str | None = None


class RegistryTable(_Table):
    """Who may change the registry; `two_operators`: nothing but by proposal and confirmation, the set-up included."""

    two_operators: bool = False


class RetentionTable(_Table):
    """When closed tracebacks lose their telephone numbers; `key_file` holds 64 hexadecimal digits."""

    pseudonymise_after: Annotated[Duration, Field(ge=timedelta(days=1))] = timedelta(days=548)
    key_file: str = "retention.key"


class StirTable(_Table):
    """What Identity headers are verified with.

    `roots` is a directory of PEM files, the STI-CAs' roots; `revoked` the STI-PA's list of revoked certificates, which
    one of the certificates in `revoked_by` (PEM) must have signed.
    """

    roots: str | None = None
    revoked: str | None = None
    revoked_by: str | None = None

    @model_validator(mode="after")
    def _a_list_needs_who_signed_it(self) -> Self:
        if self.revoked is not None and self.revoked_by is None:
            raise ValueError("revoked needs revoked_by: the STI-PA's certificates that sign lists, in a PEM file")
        return self


def private_text(path: Path) -> str:
    """The text of a file that holds a secret.

    Raises:
        ValueError: it can't be read, is empty, or may be read by others.
    """
    try:
        if path.stat().st_mode & 0o077:
            raise ValueError(f"{path} may be read by others: chmod 600 {path}")
        text = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ValueError(f"{path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} can't be read: it is no text") from None
    if not text:
        raise ValueError(f"{path} is empty")
    return text
