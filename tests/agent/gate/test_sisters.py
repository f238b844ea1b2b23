"""Sister calls: which of them the gate lets count, field by field, and what becomes of a question that names them.

Two calls came to birch for one number, five seconds apart: the first from alder, the second from a customer. Both went
to cedar. About the second one birch answers without doubt; about the first it finds both, because it is asked late.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from agent.audit.book import read_entry
from agent.audit.sealing import AuditKey
from protos.codec import digest
from protos.hops import Named
from protos.identity import ProviderId, coordinator_uri
from protos.orders import Granted
from protos.signing import Domain
from protos.types import Answer, Handover, Outcome, Question, RefusalReason, Sister
from tests.agent.authority import BOB, Kit, asked
from tests.agent.gate.gated import SECRET, Gated
from tests.agent.provider import ALDER, BIRCH, CALL_TIME, CALLED, CEDAR, COVERAGE, LEG, OTHER, FakeRecords

SECOND = timedelta(seconds=1)
SCOPE = b"cedar to" + b"OTHER..."
FIRST = LEG._replace(egress_trunk="OUT-CEDAR", call_ref=0xA, row=1, earliest=CALL_TIME, latest=CALL_TIME)
LATER = FIRST._replace(
    ingress_trunk="IN-CUSTOMER", call_ref=0xB, row=2, earliest=CALL_TIME + 5 * SECOND, latest=CALL_TIME + 5 * SECOND
)


def tag(call: str, scope: str = "cedar 1 ") -> bytes:
    """What cedar says by which it tells calls apart."""
    return scope.encode() + call.encode().ljust(8)


@dataclass
class Told:
    """A call that cedar says came from birch, and what birch answered about it."""

    granted: Granted
    named: Named
    question: Question
    answer: Answer

    @property
    def sister(self) -> Sister:
        """As another question names it."""
        return Sister(digest(self.named.exact), self.question.question_id)


@dataclass
class Story:
    """Birch's agent, asked about calls to OTHER that cedar named it for."""

    gated: Gated
    asked: list[Question] = field(default_factory=list)

    @property
    def kit(self) -> Kit:
        """Everybody's keys."""
        return self.gated.kit

    async def tell(self, seconds: float, call: str = "", *, by: str = "lab", **naming: object) -> Told:
        """Cedar names birch for a call at that time; the coordinator asks birch about it."""
        at = CALL_TIME + timedelta(seconds=seconds)
        granted = self.kit.granted(terminating=CEDAR, called=OTHER, at=at, coordinator=by)
        (named,) = self.kit.name([granted], **{"tags": [tag(call)] if call else (), **naming})  # type: ignore[arg-type]
        question = self.kit.ask(granted, named)
        party = self.kit.party(coordinator_uri(by))
        (answer,) = await self.gated.ask([question], [granted], [named], by=party, uris=[party.uri])
        return Told(granted, named, question, answer)

    async def again(self, told: Told, sisters: Sequence[Told | Sister], namings: Sequence[Named] = ()) -> Answer:
        """Ask about this call once more, naming sister calls; `namings` travel beside those of `Told` ones."""
        named = [one.named for one in sisters if isinstance(one, Told)]
        said = tuple(one.sister if isinstance(one, Told) else one for one in sisters)
        question = self.kit.ask(told.granted, told.named, sisters=said)
        self.asked.append(question)
        (answer,) = await self.gated.ask([question], [told.granted], [told.named, *named, *namings])
        return answer

    async def refused(self, told: Told, sisters: Sequence[Told | Sister], namings: Sequence[Named] = ()) -> None:
        """It is refused for the sisters' sake, and nothing is read."""
        reads = self.gated.records.reads
        answer = await self.again(told, sisters, namings)
        assert (answer.outcome, answer.refusal) == (Outcome.REFUSED, RefusalReason.SISTERS)
        assert self.gated.records.reads == reads


@pytest.fixture
async def story(kit: Kit, tmp_path: Path) -> AsyncIterator[Story]:
    agent = Gated(kit, tmp_path / "birch", FakeRecords({OTHER: [FIRST, LATER], CALLED: [FIRST]}))
    yield Story(agent)
    await agent.close()


async def both(story: Story) -> tuple[Told, Told]:
    """The call that is ambiguous, and its sister."""
    told, sister = await story.tell(1, "one"), await story.tell(5, "two")
    assert told.answer.outcome is Outcome.AMBIGUOUS
    assert (sister.answer.outcome, sister.answer.handover) == (Outcome.ORIGINATED_HERE, Handover.CONFIRMED)
    return told, sister


class TestAnAmbiguousCall:
    async def test_is_what_remains_once_its_sister_is_left_out(self, story: Story) -> None:
        told, sister = await both(story)
        answer = await story.again(told, [sister])
        assert (answer.outcome, answer.upstream, answer.handover) == (Outcome.UPSTREAM, ALDER, Handover.CONFIRMED)

    async def test_gets_that_answer_again_without_a_search(self, story: Story) -> None:
        told, sister = await both(story)
        answer = await story.again(told, [sister])
        reads = story.gated.records.reads
        (again,) = await story.gated.ask([story.asked[-1]], [told.granted], [told.named, sister.named])
        assert again == answer
        assert story.gated.records.reads == reads

    async def test_has_the_sisters_in_the_log(self, story: Story) -> None:
        told, sister = await both(story)
        await story.again(told, [sister])
        log = story.gated.log
        last = read_entry(log, log.size - 1, log.entry(log.size - 1), AuditKey(SECRET))
        assert last.opened is not None
        assert digest(sister.named.exact) in last.opened.question

    async def test_stays_so_without_naming_any(self, story: Story) -> None:
        told, _ = await both(story)
        assert (await story.again(told, [])).outcome is Outcome.AMBIGUOUS

    async def test_costs_the_day_no_more_time_of_the_number(self, story: Story) -> None:
        told, sister = await both(story)
        await story.again(told, [sister])
        budgets = story.gated.memory.budgets_at(0)
        number = story.gated.memory.pseudonym(OTHER)
        spans = budgets._numbers[number]
        assert [last - first for first, last in spans] == [124_000]


class TestNoSister:
    """Refused before any record is read."""

    @pytest.mark.parametrize("other", ["one", ""])
    async def test_is_a_call_whose_tag_does_not_tell_it_apart(self, story: Story, other: str) -> None:
        told, sister = await story.tell(1, "one"), await story.tell(5, other)
        await story.refused(told, [sister])

    async def test_is_one_whose_tag_does_not_compare(self, story: Story) -> None:
        told, sister = await story.tell(1, "one"), await story.tell(5, tags=[tag("two", "cedar 2 ")])
        await story.refused(told, [sister])

    @pytest.mark.parametrize("tags", [[b""], [b"cedar 1 "[:8] + b"two     "]])
    async def test_is_any_where_the_own_naming_has_no_tag(self, story: Story, tags: list[bytes]) -> None:
        told, sister = await story.tell(1, tags=[b""]), await story.tell(5, tags=tags)
        await story.refused(told, [sister])

    async def test_is_one_that_is_another_sister_again(self, story: Story) -> None:
        told, sister = await both(story)
        double = await story.tell(5, "two")
        await story.refused(told, [sister, double])
        await story.refused(told, [sister, sister])

    async def test_is_the_call_itself(self, story: Story) -> None:
        told = await story.tell(5, "two")
        await story.refused(told, [told])

    async def test_is_a_call_about_which_birch_was_not_asked(self, story: Story) -> None:
        told, sister = await both(story)
        await story.refused(told, [Sister(sister.sister.naming_sha256, uuid4())], [sister.named])

    async def test_is_a_call_whose_answer_was_to_another_naming(self, story: Story) -> None:
        told, sister = await both(story)
        (other,) = story.kit.name([sister.granted], tags=[tag("three")])
        await story.refused(told, [Sister(digest(other.exact), sister.question.question_id)], [other])

    async def test_is_a_naming_that_did_not_come_along(self, story: Story) -> None:
        told, sister = await both(story)
        await story.refused(told, [sister.sister])

    async def test_is_one_that_birch_answered_to_another_coordinator(self, story: Story) -> None:
        told = await story.tell(1, "one")
        sister = await story.tell(5, "two", by="other")
        assert sister.answer.outcome is Outcome.ORIGINATED_HERE
        await story.refused(told, [sister])

    async def test_is_one_about_which_there_was_doubt(self, story: Story) -> None:
        told, sister = await story.tell(1, "one"), await story.tell(2, "two")
        assert sister.answer.outcome is Outcome.AMBIGUOUS
        await story.refused(told, [sister])

    async def test_is_one_that_was_refused(self, story: Story) -> None:
        told = await story.tell(1, "one")
        sister = await story.tell(5, "two", signer=story.kit.provider(ALDER).signer)
        assert sister.answer.refusal is RefusalReason.NAMING_SIGNATURE
        await story.refused(told, [sister])

    async def test_is_one_whose_handover_the_records_don_t_show(self, story: Story) -> None:
        story.gated.records.legs[OTHER] = [FIRST, LATER._replace(egress_trunk=None)]
        told, sister = await story.tell(1, "one"), await story.tell(5, "two")
        assert sister.answer.handover is Handover.UNSPECIFIED
        await story.refused(told, [sister])

    async def test_is_one_that_was_answered_while_records_were_missing(self, story: Story) -> None:
        told = await story.tell(1, "one")
        (source,) = COVERAGE.sources
        story.gated.records.covers = replace(COVERAGE, sources=(replace(source, covered_from=CALL_TIME + 9 * SECOND),))
        sister = await story.tell(5, "two")
        assert sister.answer.outcome is Outcome.ORIGINATED_HERE
        await story.refused(told, [sister])

    @pytest.mark.parametrize("bent", ["proof", "finding"])
    async def test_is_one_whose_signature_is_wrong(self, story: Story, bent: str) -> None:
        told, sister = await both(story)
        seal = replace(sister.named.proof.seal, signature=bytes(64))
        broken = {
            "proof": replace(sister.named, proof=replace(sister.named.proof, seal=seal)),
            "finding": replace(sister.named, finding_sha256=bytes(32)),
        }[bent]
        await story.refused(told, [sister.sister], [broken])

    async def test_is_one_whose_signer_s_certificate_was_revoked_since(self, story: Story) -> None:
        told, sister = await both(story)
        der = story.kit.provider(CEDAR).certificate
        story.gated.revoked.add(story.kit.roots.certified(der).serial)
        answer = await story.again(told, [sister])
        assert answer.refusal is RefusalReason.NAMING_SIGNATURE  # already of the question's own naming

    @pytest.mark.parametrize(
        ("by", "upstream", "called"),
        [(ALDER, BIRCH, OTHER), (CEDAR, ALDER, OTHER), (CEDAR, BIRCH, CALLED)],
        ids=["by another neighbour", "naming another provider", "about another number"],
    )
    async def test_is_one(self, story: Story, by: ProviderId, upstream: ProviderId, called: str) -> None:
        told, sister = await both(story)
        granted = story.kit.granted(terminating=by, called=called)
        (other,) = story.kit.name([granted], by=by, upstream=upstream, tags=[tag("three")])
        asked = sister.question.question_id
        if upstream == BIRCH:
            question = story.kit.ask(granted, other)
            await story.gated.ask([question], [granted], [other])
            asked = question.question_id
        await story.refused(told, [Sister(digest(other.exact), asked)], [other])

    async def test_stands_beside_a_naming_that_a_person_said(self, story: Story) -> None:
        """An attestation counts only where cedar has no certificate, and without one no naming of cedar's counts."""
        told, sister = await both(story)
        (proof,) = BOB.prove(Domain.ATTESTATION, [told.named.leaf])
        attested = replace(told, named=replace(told.named, proof=proof))
        question = story.kit.ask(told.granted, attested.named, sisters=(sister.sister,))
        answer = await self.without_certificate(story, question, [attested.named, sister.named], told.granted)
        assert answer.refusal is RefusalReason.SISTERS

    async def without_certificate(
        self, story: Story, question: Question, namings: Sequence[Named], granted: Granted
    ) -> Answer:
        request = story.kit.envelope([question], [granted], namings, certificates=[story.kit.lab.certificate])
        ((answer, _),) = story.gated.check(await story.gated.send(request), [asked(question)])
        return answer


class TestASisterIsLeftOutOnlyIfThatIsCertain:
    """Else the call stays ambiguous."""

    @pytest.mark.parametrize(
        "change",
        [
            {"disposition": "unanswered"},
            {"disposition": None},
            {"call_ref": None},
            {"source": "another:file"},
        ],
        ids=["not answered", "nobody knows whether answered", "without a call id", "in another source"],
    )
    @pytest.mark.parametrize("which", [0, 1])
    async def test_not_if_either_call_is(self, story: Story, change: dict[str, str | None], which: int) -> None:
        legs = [FIRST, LATER]
        legs[which] = legs[which]._replace(**change)  # type: ignore[arg-type]
        story.gated.records.legs[OTHER] = legs
        told, sister = await both(story)
        assert (await story.again(told, [sister])).outcome is Outcome.AMBIGUOUS

    async def test_not_if_it_was_handed_over_twice(self, story: Story) -> None:
        twice = LATER._replace(row=3, earliest=CALL_TIME + 60 * SECOND, latest=CALL_TIME + 60 * SECOND)
        story.gated.records.legs[OTHER] = [FIRST, LATER, twice]
        told, sister = await both(story)
        assert (await story.again(told, [sister])).outcome is Outcome.AMBIGUOUS

    async def test_not_if_a_third_call_fits(self, story: Story) -> None:
        third = FIRST._replace(ingress_trunk="IN-ABROAD", call_ref=0xC, row=3, earliest=CALL_TIME - 3 * SECOND)
        story.gated.records.legs[OTHER] = [FIRST, LATER, third._replace(latest=third.earliest)]
        told, sister = await both(story)
        assert (await story.again(told, [sister])).outcome is Outcome.AMBIGUOUS

    async def test_not_if_a_record_that_came_later_makes_the_sister_doubtful(self, story: Story) -> None:
        told, sister = await both(story)
        late = FIRST._replace(call_ref=0xC, row=3, earliest=CALL_TIME + 6 * SECOND, latest=CALL_TIME + 6 * SECOND)
        story.gated.records.legs[OTHER].append(late)
        assert (await story.again(told, [sister])).outcome is Outcome.AMBIGUOUS

    async def test_not_if_the_sister_leads_elsewhere_by_now(self, story: Story) -> None:
        told, sister = await both(story)
        story.gated.records.legs[OTHER][1] = LATER._replace(ingress_trunk="IN-ABROAD")
        assert (await story.again(told, [sister])).outcome is Outcome.AMBIGUOUS

    async def test_not_if_records_of_that_time_are_missing(self, story: Story) -> None:
        told, sister = await both(story)
        (source,) = COVERAGE.sources
        story.gated.records.covers = replace(COVERAGE, sources=(replace(source, covered_from=CALL_TIME),))
        assert (await story.again(told, [sister])).outcome is Outcome.AMBIGUOUS

    async def test_never_if_the_call_was_not_ambiguous(self, story: Story) -> None:
        told, sister = await both(story)
        story.gated.records.legs[OTHER] = [LATER._replace(call_ref=0xD)]
        again = await story.again(told, [sister])
        assert again.outcome is Outcome.ORIGINATED_HERE  # as if no sister had been named
        story.gated.records.legs[OTHER] = []
        assert (await story.again(told, [sister])).outcome is Outcome.NOT_FOUND

    async def test_never_if_the_call_itself_was_found_without_doubt(self, story: Story) -> None:
        """Then cedar's tags and birch's records contradict each other."""
        told, sister = await story.tell(5, "one"), await story.tell(5, "two")
        assert (await story.again(told, [sister])) == told.answer

    async def test_a_sister_that_another_one_tells_counts(self, story: Story) -> None:
        """Three calls: the last is clear, the middle one is told by it, the first by both."""
        middle = FIRST._replace(ingress_trunk="IN-ABROAD", call_ref=0xC, row=3, earliest=CALL_TIME + 5.5 * SECOND)
        last = LATER._replace(earliest=CALL_TIME + 11 * SECOND, latest=CALL_TIME + 11 * SECOND)
        story.gated.records.legs[OTHER] = [FIRST, middle._replace(latest=middle.earliest), last]
        first, second, third = [await story.tell(at, name) for at, name in ((3, "one"), (7, "two"), (11, "three"))]
        assert [one.answer.outcome for one in (first, second)] == [Outcome.AMBIGUOUS] * 2
        resolved = await story.again(second, [third])
        assert (resolved.outcome, resolved.upstream) == (Outcome.FOREIGN_UPSTREAM, ProviderId("abroad"))
        second = replace(second, question=story.asked[-1], answer=resolved)
        assert (await story.again(first, [third])).outcome is Outcome.AMBIGUOUS
        assert (await story.again(first, [second])).outcome is Outcome.AMBIGUOUS
        assert (await story.again(first, [second, third])).upstream == ALDER
