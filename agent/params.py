"""What may be written on the command line: numbers, moments, providers, durations, parsed once and refused in words.

A number is not repeated in a refusal: terminals are logged and shared.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import click

from protos.e164 import E164, parse_e164
from protos.identity import ProviderId, parse_provider_id


class Number(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4, here from 8.1
    """A telephone number in E.164 form, nothing else."""

    name = "+E164"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> E164:
        try:
            return parse_e164(value)
        except ValueError as error:
            self.fail(f"{error}, for example +12025550143.", param, ctx)


class Moment(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4, here from 8.1
    """A moment with its zone; `past` refuses the future too."""

    name = "TIME"

    def __init__(self, *, past: bool) -> None:
        self._past = past

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time: write it as 2026-11-20T15:00:00Z.", param, ctx)
        if moment.utcoffset() is None:
            self.fail(
                f"{value!r} has no zone, so that nobody can tell which moment it is: add Z for UTC, or the offset, as "
                "in 2026-11-20T10:00:00-05:00.",
                param,
                ctx,
            )
        if self._past and moment > datetime.now(UTC):
            self.fail(f"{value!r} lies in the future: no record can exist of it. Check year and zone.", param, ctx)
        return moment.astimezone(UTC)


class Provider(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4, here from 8.1
    """A provider id."""

    name = "PROVIDER"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> ProviderId:
        try:
            return parse_provider_id(value)
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4, here from 8.1
    """A duration with its unit."""

    name = "DURATION"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        from cdr_adapters.durations import parse_duration

        try:
            duration = parse_duration(value)
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)
        if duration <= timedelta(0):
            self.fail("must be more than nothing.", param, ctx)
        return duration
