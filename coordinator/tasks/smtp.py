"""Sending one letter by SMTP (RFC 5321), with TLS that is checked.

`starttls` (RFC 3207) and `tls` (RFC 8314) verify the server's certificate; a server that offers no STARTTLS is refused,
never spoken to in plain. `none` is for a relay on this machine's loopback alone. What the server refuses with 5xx is
permanent, everything else may pass. Errors name no recipient and no password.
"""

from __future__ import annotations

import ipaddress
import re
import smtplib
import ssl
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Literal

from coordinator.tasks.ports import MailError

_ADDRESS = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z0-9-]{2,63}",
    re.ASCII,
)
_LONGEST_DETAIL = 200


class AddressError(ValueError):
    """A text is no e-mail address."""


def parse_address(text: str) -> str:
    """An address `local@domain` in ASCII, as letters can be sent to.

    Raises:
        AddressError: it is none.
    """
    if len(text) > 254 or _ADDRESS.fullmatch(text) is None:
        raise AddressError("no e-mail address such as traceback@provider.example")
    return text


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """Where letters are handed in, as whom, and who reads replies. `roots`: authorities in place of the system's."""

    host: str
    port: int
    sender: str
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str | None = None
    password: str | None = None
    roots: str | None = None
    reply_to: str | None = None
    timeout_s: float = 30.0

    def __post_init__(self) -> None:
        parse_address(self.sender)
        if self.security == "none" and not _loopback(self.host):
            raise ValueError("mail without TLS may only go to a relay on the loopback: set security to starttls or tls")
        if self.security == "none" and self.username is not None:
            raise ValueError("a password is not sent without TLS")
        if not f"{self.username or ''}{self.password or ''}".isascii():
            raise ValueError("name and password of a mail account must be ASCII")


class SmtpMailer:
    """Implements `coordinator.tasks.ports.Mailer`; a connection for each letter."""

    def __init__(self, server: SmtpServer) -> None:
        self._server = server
        self._tls = None if server.security == "none" else ssl.create_default_context(cafile=server.roots)

    def send(self, *, to: str, subject: str, body: str, message_id: str, at: datetime) -> None:
        """Return when the server has taken the letter.

        Raises:
            MailError: it has not, as far as is known.
        """
        try:
            message = self._message(parse_address(to), subject, body, message_id, at)
        except ValueError as error:
            raise MailError(f"the letter can't be written: {error}", permanent=True) from None
        try:
            with self._connected() as connection:
                connection.send_message(message, self._server.sender, [to])
        except smtplib.SMTPRecipientsRefused as error:
            code, said = next(iter(error.recipients.values()))
            raise _refused("the recipient was refused", code, said, to) from None
        except smtplib.SMTPResponseException as error:
            raise _refused("the server refused", error.smtp_code, error.smtp_error, to) from None
        except smtplib.SMTPNotSupportedError:
            raise MailError("the server offers no STARTTLS or no login: nothing was sent", permanent=False) from None
        except ssl.SSLCertVerificationError as error:
            raise MailError(f"the server's certificate is refused: {error.verify_message}", permanent=False) from None
        except (OSError, smtplib.SMTPException) as error:
            raise MailError(f"the server can't be reached: {type(error).__name__}", permanent=False) from None

    def _connected(self) -> smtplib.SMTP:
        server = self._server
        if server.security == "tls":
            assert self._tls is not None  # noqa: S101  made with the server's settings
            connection: smtplib.SMTP = smtplib.SMTP_SSL(
                server.host, server.port, timeout=server.timeout_s, context=self._tls
            )
        else:
            connection = smtplib.SMTP(server.host, server.port, timeout=server.timeout_s)
        try:
            if server.security == "starttls":
                connection.starttls(context=self._tls)
            if server.username is not None:
                connection.login(server.username, server.password or "")
        except BaseException:
            connection.close()
            raise
        return connection

    def _message(self, to: str, subject: str, body: str, message_id: str, at: datetime) -> EmailMessage:
        message = EmailMessage(policy=SMTP)
        message["From"] = self._server.sender
        message["To"] = to
        if self._server.reply_to is not None:
            message["Reply-To"] = self._server.reply_to
        message["Subject"] = subject
        message["Date"] = format_datetime(at)
        message["Message-ID"] = message_id
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office replies
        message.set_content(body)
        return message


def _refused(what: str, code: int, said: bytes | str, to: str) -> MailError:
    text = said.decode("ascii", "replace") if isinstance(said, bytes) else said
    shown = "".join(char if char.isprintable() else " " for char in text.replace(to, "the recipient"))[:_LONGEST_DETAIL]
    return MailError(f"{what} ({code} {shown})", permanent=500 <= code < 600)


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
