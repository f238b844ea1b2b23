"""Rows that have to be read anew, because they were read by a mapping that has changed, or because somebody wants it.

Rows of several files share segments, so the old rows of a file can only go with those of the others: all of them are
read again and begin to count together, or nothing changes. When files are missing that would have to be read again,
somebody has to decide what becomes of the rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from agent.index.manifest import Commit
from agent.index.writer import IndexWriter
from agent.intake import Intake, Removed, Source
from agent.intake_report import FileReport, FileStatus, OldRows
from agent.known_files import Decision, Found, Known


class Renewal:
    """Files of a source whose rows have to be read anew, together with all that share segments with them."""

    def __init__(self, source: Source, writer: IndexWriter, *, again: bool, old_rows: OldRows) -> None:
        self._source = source
        self._writer = writer
        self._again = again
        self._old_rows = old_rows

    def run(self, paths: Sequence[Path]) -> dict[int, FileReport]:
        """Index files; the reports by their places in `paths`.

        Raises:
            OSError: the disk refuses. DaySecretError: a day's secret can't be read.
        """
        numbered = list(enumerate(paths))
        known = self._source.known(self._writer)
        changed = {number for number, entry in known.entries.items() if entry.mapping != self._source.digest}
        if changed and self._old_rows is OldRows.KEEP:
            kept = tuple(replace(known.entries[number], mapping=self._source.digest) for number in sorted(changed))
            self._writer.commit(Commit(add_files=kept))
            changed = set()
        if not changed and not self._again:
            return Intake(self._source, self._writer).run(numbered)
        met = self._met(numbered, known)
        stale = changed | ({number for _, entries in met.values() for number in entries} if self._again else set())
        segments = self._touched(stale)
        missing = stale - {number for _, entries in met.values() for number in entries}
        if missing and self._old_rows is not OldRows.FORGET:
            problem = self._refusal([known.entries[number].file for number in sorted(missing)], bool(changed))
            return {number: FileReport(path, FileStatus.FAILED, problem=problem) for number, path in numbered}
        chosen = {number: item for number, item in met.items() if not stale.isdisjoint(item[1])}
        reports = self._renew(chosen, known, Removed(frozenset(missing), frozenset(segments)))
        if any(report.status is FileStatus.FAILED for report in reports.values()):
            return reports
        others = [(number, path) for number, path in numbered if number not in reports]
        return reports | Intake(self._source, self._writer).run(others)

    def _met(self, paths: Iterable[tuple[int, Path]], known: Known) -> dict[int, tuple[Found, tuple[int, ...]]]:
        """The files that are known, or continue what is, with the numbers of the entries; each entry once."""
        from cdr_adapters.raw import AdapterError

        met = {}
        taken: set[int] = set()
        for number, path in paths:
            try:
                found = known.look(path, path.stat())
            except (OSError, AdapterError):
                continue
            entries = tuple(entry.number for entry in known.continued(found) if entry.number not in taken)
            if entries:
                met[number] = (found, entries)
                taken.update(entries)
        return met

    def _touched(self, stale: set[int]) -> set[str]:
        """The segments with rows of these files, to which those are added that share segments with them."""
        entries = [e for e in self._writer.manifest.segments.values() if e.source == self._source.mapping.name]
        touched: set[str] = set()
        while more := [e for e in entries if e.name not in touched and not stale.isdisjoint(e.files)]:
            touched.update(entry.name for entry in more)
            stale.update(number for entry in more for number in entry.files)
        return touched

    def _refusal(self, missing: Sequence[str], changed: bool) -> str:
        name = self._source.mapping.name
        some = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
        why = f"the mapping of source {name} has changed" if changed else f"rows of source {name} are to be read anew"
        return (
            f"{why}, but {len(missing)} of the files that they came from are not here to be read again ({some}); "
            "bring them back, or say --old-rows keep to leave all rows as they were read, "
            "or --old-rows forget to lose those of the missing files"
        )

    def _renew(
        self, chosen: Mapping[int, tuple[Found, tuple[int, ...]]], known: Known, removed: Removed
    ) -> dict[int, FileReport]:
        packer = self._source.packer(self._writer, together=True)
        intake = Intake(self._source, self._writer, packer)
        try:
            for number, (found, numbers) in chosen.items():
                entries = tuple(known.entries[entry] for entry in numbers)
                failed = intake.read(number, found, Decision(FileStatus.REPLACED, entries), anew=True)
                if failed is not None:
                    packer.abandon()
                    together = f"not read anew, because {found.path} could not be and their rows are replaced together"
                    return {
                        other: failed if other == number else replace(failed, path=item[0].path, problem=together)
                        for other, item in chosen.items()
                    }
            intake.commit(removed)
        except BaseException:
            if self._writer.can_go_on:
                with suppress(OSError):
                    packer.abandon()
            raise
        return intake.reports
