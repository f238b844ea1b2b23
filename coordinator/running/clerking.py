"""The clerk at work in a process: put together from the configuration, round after round, letters included.

`run` and `serve` keep one at work beside the driver, and `tasks run` does one round; commands that trace in the
foreground leave to them what is for people, and say so. What the database can't do now is tried in the next round.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from coordinator.config import ConfigError, LoadedConfig
from coordinator.config_tables import private_text
from coordinator.registry.book import RegistryBook
from coordinator.store.engine import engine_for
from coordinator.store.sql_store import SqlStore
from coordinator.tasks.clerk import Clerk, ClerkTerms
from coordinator.tasks.desk import TaskDesk
from coordinator.tasks.letters import Sender
from coordinator.tasks.outbox import MailRoom, Outbox
from coordinator.tasks.smtp import SmtpMailer, SmtpServer

if TYPE_CHECKING:
    from sqlalchemy import Engine

ROUND_S: Final = 5.0
"""Between two rounds."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Clerking:
    """A clerk, and the letters that its tasks want."""

    clerk: Clerk
    outbox: Outbox
    mailer: SmtpMailer | None
    now: Callable[[], datetime]

    async def once(self) -> None:
        """One round, and the letters that are due.

        Raises:
            SQLAlchemyError: the database failed.
        """
        done = await self.clerk.round()
        now = self.now()
        await asyncio.to_thread(self.outbox.queue_due, now)
        if self.mailer is not None:
            await asyncio.to_thread(self.outbox.deliver, self.mailer, now)
        if done:
            log.info(
                "people",
                put=done.put,
                taken=done.taken,
                given_up=done.given_up,
                asked_again=done.asked_again,
                withdrawn=done.withdrawn,
                unattested=done.unattested,
            )

    async def keep_working(self) -> None:
        """Round after round; ends by being cancelled."""
        while True:
            try:
                await self.once()
            except SQLAlchemyError as error:
                log.error("people_failed", error=type(error).__name__)  # noqa: TRY400 (the type says it all)
            await asyncio.sleep(ROUND_S)


def mailer_of(loaded: LoadedConfig) -> SmtpMailer | None:
    """What sends letters, None where no [mail] is configured.

    Raises:
        ConfigError: what is configured can't be used.
    """
    config = loaded.config
    mail = config.mail
    if mail is None:
        return None
    try:
        return SmtpMailer(
            SmtpServer(
                host=mail.host,
                port=mail.port,
                sender=mail.sender,
                reply_to=config.tasks.email,
                security=mail.security,
                username=mail.username,
                password=private_text(loaded.path(mail.password_file)) if mail.password_file else None,
                roots=str(loaded.path(mail.roots)) if mail.roots else None,
            )
        )
    except (ValueError, OSError) as error:
        raise ConfigError(loaded.file, [f"mail: {error}"]) from None


def outbox_of(loaded: LoadedConfig, engine: Engine, desk: TaskDesk, book: RegistryBook) -> Outbox:
    """The outbox over this database."""
    config = loaded.config
    domain = config.mail.sender.rpartition("@")[2] if config.mail else "localhost"
    asked = config.tasks.email or (config.mail.sender if config.mail else None)
    room = MailRoom(config.tasks.link, domain, Sender(config.tasks.signature, config.tasks.telephone, asked))
    return Outbox(engine, desk, contacts=book, deadlines=book, registry=book, room=room)


@contextmanager
def clerking(loaded: LoadedConfig, store: SqlStore, owner: str, now: Callable[[], datetime]) -> Iterator[Clerking]:
    """The clerk of this configuration, over `store` and its database.

    Raises:
        ConfigError: [mail] can't be used.
    """
    config, mailer = loaded.config, mailer_of(loaded)
    with engine_for(loaded.store_url) as engine:
        book = RegistryBook(engine, config.deadlines)
        desk = TaskDesk(engine, book, book, link_lifetime=config.tasks.link_lifetime)
        clerk = Clerk(
            engine,
            store,
            desk,
            now,
            f"{owner} clerk",
            patience=config.limits.driver.patience,
            terms=ClerkTerms(review_after=config.tasks.review_after, lease=config.limits.lease),
        )
        yield Clerking(clerk, outbox_of(loaded, engine, desk, book), mailer, now)
