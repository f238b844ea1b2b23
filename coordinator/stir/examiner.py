"""Cross-checks of tracebacks: their headers, the certificates at hand, the registry's codes, the campaign's sisters."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from cryptography import x509
from sqlalchemy import Engine

from coordinator.config import ConfigError, LoadedConfig
from coordinator.registry.aliases import Alias
from coordinator.registry.book import RegistryBook
from coordinator.reports.figures import Improper
from coordinator.stir.book import IdentityBook
from coordinator.stir.certificates import Grade, Judged, Shelf, SignerError, pem_of, read_roots
from coordinator.stir.crosscheck import CrossCheck, Kind, Sister, crosscheck, provider_of
from coordinator.stir.passport import Identity, PassportError, parse_identity
from coordinator.stir.revocation import LARGEST_LIST, NO_LIST, ListError, Revoked, read_list, read_pinned
from coordinator.stir.survey import Checked, Survey, survey
from coordinator.stir.written import keep
from coordinator.stir.written import kept as read_kept
from coordinator.store.sql_store import SqlStore
from coordinator.tracing.chain import Status, Traceback

_FINISHED = frozenset({Status.ORIGIN_FOUND, Status.GATEWAY_FOUND})


class Examiner:
    """Examines headers with what is in the database when it is made; `roots` are the pinned ones.

    Without `revoked`, revocation is not looked at.
    """

    def __init__(self, engine: Engine, roots: Sequence[x509.Certificate] = (), revoked: Revoked | None = None) -> None:
        self._engine, self._roots = engine, tuple(roots)
        self._book, self._store = IdentityBook(engine), SqlStore(engine)
        self._stamp, self._aliases = self._book.stamp(), _codes(engine)
        self._shelf = Shelf((one.certificate for one in self._book.certificates()), self._roots, revoked)

    def renewed(self, revoked: Revoked | None = None) -> Examiner:
        """This one with the list that is at hand now; a new one where certificates or the registry's codes changed."""
        if (self._book.stamp(), _codes(self._engine)) != (self._stamp, self._aliases):
            return Examiner(self._engine, self._roots, revoked)
        self._shelf.look_at(revoked)
        return self

    def check(self, traceback: Traceback, *, with_sisters: bool = True) -> CrossCheck | None:
        """What this call's header says of its chain; what was found before, where the header is gone; None for none."""
        order = traceback.call.order_sha256
        header = self._book.headers([order]).get(order) if order else None
        if order is None or header is None:
            return None
        if header.text is None:
            return _kept(header.found)
        identity = _read(header.text)
        if identity is None:
            return None
        judged = self._shelf.judge(identity.shaken, traceback.call.at)
        signer = provider_of(judged.signer.codes, self._aliases, identity.shaken.issued) if judged.signer else None
        sisters = self._sisters(order, header.campaign, identity, judged) if with_sisters else ()
        div = [one for one in identity.div if self._shelf.judge(one, traceback.call.at).grade is Grade.VERIFIED]
        return crosscheck(identity, judged, signer, traceback, sisters, div)

    def survey(self, ids: Sequence[uuid.UUID]) -> Survey:
        """What the headers of these tracebacks' calls have in common."""
        return survey(
            Checked(check, one.hops[-1].provider if one.status in _FINISHED and one.hops else None)
            for one, check in self._checked(self._book.that_have_headers(ids))
        )

    def improper(self, since: datetime, until: datetime) -> list[Improper]:
        """Who attested A improperly in tracebacks submitted from `since` until before `until`, by its own answers."""
        return [
            Improper(check.signer, found.facts["question"], one.id)
            for one, check in self._checked(self._book.between(since, until))
            for found in check.of(Kind.IMPROPER_ATTESTATION)
            if check.signer is not None
        ]

    def _checked(self, ids: Iterable[uuid.UUID]) -> Iterator[tuple[Traceback, CrossCheck]]:
        """Tracebacks with what their headers say of them; sisters are not looked for."""
        for kept in map(self._store.load, ids):
            check = self.check(kept.traceback, with_sisters=False) if kept is not None else None
            if kept is not None and check is not None:
                yield kept.traceback, check

    def to_keep(self, traceback_id: uuid.UUID) -> str | None:
        """What is kept of a traceback's cross-check when its header goes; see `coordinator.retention`."""
        kept = self._store.load(traceback_id)
        check = self.check(kept.traceback) if kept is not None else None
        return keep(check) if check is not None else None

    def evidence(self, traceback_id: uuid.UUID) -> tuple[bytes, bytes] | None:
        """The header that came with a traceback's call, and the certificates that it is verified with (PEM)."""
        kept = self._store.load(traceback_id)
        order = kept.traceback.call.order_sha256 if kept is not None else None
        header = self._book.headers([order]).get(order) if order else None
        identity = _read(header.text) if header is not None and header.text is not None else None
        if identity is None:
            return None
        return identity.text.encode(), pem_of(self._shelf.with_chain(self._shelf.judge(identity.shaken)))

    def _sisters(self, order: bytes, campaign: str, identity: Identity, judged: Judged) -> Iterable[Sister]:
        own = _signer_key(identity, judged)
        for text, sister in self._book.sisters(order, campaign, identity.shaken.origid):
            other = _read(text)
            if other is not None and _signer_key(other, self._shelf.judge(other.shaken)) == own:
                yield sister


def _codes(engine: Engine) -> list[Alias]:
    return [one for one in RegistryBook(engine).aliases() if one.kind.is_number]


def pinned_roots(directory: Path | None) -> list[x509.Certificate]:
    """The roots in a directory of PEM files; none where there is no directory.

    Raises:
        SignerError: it can't be read, has no PEM file, or one holds no authority's certificates; the file is named.
    """
    if directory is None:
        return []
    try:
        files = sorted(one for one in directory.iterdir() if one.suffix in (".pem", ".crt"))
        contents = [(file, file.read_bytes()) for file in files]
    except OSError as error:
        raise SignerError(f"{directory} can't be read: {error.strerror}") from None
    if not files:
        raise SignerError(f"{directory} holds no .pem or .crt file")
    found = []
    for file, content in contents:
        try:
            found += read_roots(content)
        except SignerError as error:
            raise SignerError(f"{file}: {error}") from None
    return found


def roots_of(loaded: LoadedConfig) -> list[x509.Certificate]:
    """The roots that the configuration pins.

    Raises:
        ConfigError: what is wrong with them.
    """
    named = loaded.config.stir.roots
    try:
        return pinned_roots(loaded.path(named) if named else None)
    except SignerError as error:
        raise ConfigError(loaded.file, [f"stir.roots: {error}"]) from None


def pinned_for_lists(loaded: LoadedConfig) -> list[x509.Certificate]:
    """The certificates that the configuration pins for lists of revoked ones.

    Raises:
        ConfigError: what is wrong with them.
    """
    named = loaded.config.stir.revoked_by
    if named is None:
        return []
    try:
        return read_pinned(loaded.path(named).read_bytes())
    except OSError as error:
        raise ConfigError(loaded.file, [f"stir.revoked_by: {named} can't be read: {error.strerror}"]) from None
    except ListError as error:
        raise ConfigError(loaded.file, [f"stir.revoked_by: {named}: {error}"]) from None


def revoked_of(loaded: LoadedConfig, now: datetime) -> Revoked:
    """The list that the configuration names, as its file is now; why there is none where it doesn't count.

    Raises:
        ConfigError: the certificates that are pinned for it can't be used.
    """
    pinned, named = pinned_for_lists(loaded), loaded.config.stir.revoked
    if named is None:
        return Revoked(NO_LIST, now)
    try:
        return Revoked(read_list(list_file(loaded.path(named)), pinned), now)
    except ListError as error:
        return Revoked(f"{named}: {error}", now)


def list_file(path: Path) -> bytes:
    """The bytes of a file with a list, and of one that is too large no more than show it.

    Raises:
        ListError: it can't be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(LARGEST_LIST + 1)
    except OSError as error:
        raise ListError(f"it can't be read: {error.strerror}") from None


def _signer_key(identity: Identity, judged: Judged) -> tuple[str, ...]:
    """By what two headers are of one signer: the codes of its certificate, or else where that is said to lie."""
    return judged.signer.codes if judged.signer else (identity.shaken.x5u,)


def _read(text: str) -> Identity | None:
    try:
        return parse_identity(text)
    except PassportError:  # a later version may refuse what this one took
        return None


def _kept(found: str | None) -> CrossCheck | None:
    try:
        return read_kept(found) if found else None
    except ValueError:
        return None
