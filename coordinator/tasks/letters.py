"""What letters say: plain text, no number of a subscriber, nothing about the call but that there is a question. Pure.

Mail travels unprotected beyond the first server, so that the question itself is only shown to who opens the link, or
told to who asks the desk for it. Every letter says whom to ask: a link in a letter from strangers is nothing to trust.
Times are told in the provider's own zone and in UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from coordinator.tasks.task import Kind, NoticeKind, Task

_AGAIN = """\
You have told us before who did. The provider you named says it did not
hand you this call: please look again. Where your records still say so,
say so again."""
_HELD = """\
Your agent holds its answer for your review. On its machine,
"hopback-agent review list" shows it; approve, correct or refuse it there."""


@dataclass(frozen=True, slots=True)
class Letter:
    """Subject and body of a letter."""

    subject: str
    body: str


@dataclass(frozen=True, slots=True)
class Sender:
    """Who writes: `name` stands under every letter, telephone and e-mail address are where questions go."""

    name: str
    telephone: str | None = None
    email: str | None = None


def letter(
    task: Task, kind: NoticeKind, *, provider_name: str, link: str | None, zone: ZoneInfo, sender: Sender, now: datetime
) -> Letter:
    """The letter of `kind` about `task`; `link` answers it. Without one, the answer is told to the sender."""
    due = f"{_local(task.plan.due, zone)} ({task.plan.due:%Y-%m-%d %H:%M} UTC)"
    overdue = now > task.plan.due
    opening = {
        NoticeKind.INVITATION: "A call is being traced, and your records tell where it came from.",
        NoticeKind.REMINDER: "You have a traceback request that is not answered yet.",
        NoticeKind.ESCALATION: "A traceback request to your company is overdue: nobody has answered it.",
    }[kind]
    subject = {
        NoticeKind.INVITATION: "Traceback request",
        NoticeKind.REMINDER: "Reminder: traceback request",
        NoticeKind.ESCALATION: "Overdue: traceback request",
    }[kind]
    what = {
        Kind.NO_AGENT: "Which provider handed you this call?",
        Kind.REVIEW: _HELD,
        Kind.SECOND_LOOK: _AGAIN,
    }[task.asked.kind]
    body = f"""\
To {provider_name}

{opening}
{what}

Reference:   {str(task.id)[:8]}
Answer by:   {due}{_by_how_much(now - task.plan.due) if overdue else ""}

{_how(sender) if link is None else _where(task.asked.kind, link)}

Providers must answer traceback requests fully within 24 hours (47 CFR
64.1200(n)(1)); the time above follows your business hours. A late answer
still counts: please give it also when the time has passed.

{_ask(sender)}
{sender.name}
"""
    return Letter(f"{subject} {str(task.id)[:8]}, answer by {_local(task.plan.due, zone)}", body)


def _where(kind: Kind, link: str) -> str:
    return f"""\
See the question{"" if kind is Kind.REVIEW else " and answer it"} here:

{link}

The link is for your company alone, works once, and needs no password: pass
it on to nobody outside."""


def _how(sender: Sender) -> str:
    ways = "Call us" if sender.telephone else "Write to us"
    return f"""\
{ways}, and give the reference: we tell you number and time of the call,
and take down your answer."""


def _ask(sender: Sender) -> str:
    """Whom to ask, and how to know that the letter is genuine."""
    lines = [f"Telephone:   {sender.telephone}"] if sender.telephone else []
    lines += [f"E-mail:      {sender.email}"] if sender.email else []
    if not lines:
        return ""
    opening = "If you have a question, or doubt that this letter is ours, ask us:"
    return "\n".join([opening, "", *lines, ""])


def _local(at: datetime, zone: ZoneInfo) -> str:
    return f"{at.astimezone(zone):%a %d %b %Y, %H:%M %Z}"


def _by_how_much(over: timedelta) -> str:
    hours = over // timedelta(hours=1)
    return f"\n             overdue by {hours} hours" if hours > 1 else "\n             overdue"
