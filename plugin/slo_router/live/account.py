"""Notices a deployment that refuses everything: out of credit, a revoked key, a model that is gone. Pure.

    trusted ──REFUSALS attempts refused in a row──→ doubted: it is asked at once (a health check)
       │      (one, where it speaks of the account)    ├─ it answers: the requests were wrong; vouched for, for TRUST_S
       ↑                                               └─ it refuses: denied, asked after a pause that doubles
       └───── an answer to a question or a request ────────┘

An HTTP 4xx says that the request is wrong, or that the account is. It comes fast and costs nothing, so without this a
refusing deployment would keep its traffic. One refusal does not tell which of the two is wrong. The question is a
request that is surely right, so its answer tells.

A doubted deployment keeps its traffic while it is asked: ten wrong requests in a row take nothing from it. No request
can cause a refusal that speaks of the account, so one such refusal is enough. The deployment then gets no traffic while
it is asked, for VERIFY_S at most.

A deployment that answered a question in the last TRUST_S seconds is asked again later. It takes 2 × REFUSALS refusals,
or REFUSALS refusals of which one speaks of the account.

Once a deployment is denied, or doubted for its account, the deployments with the same key at the same address are
asked, too. They may have the same fault, and a question shows it before they lose a request.

If a deployment cannot be asked, only refusals that speak of the account count. REFUSALS of them shut it, and after each
pause one request tries it.

Between workers the latest change wins. A change that lies in the future comes from a wrong clock and is ignored.
"""

from __future__ import annotations

from typing import NamedTuple

from slo_router.contract.units import CLOCK_SKEW_S

REFUSALS = 3  # in a row: as many as a circuit waits for
VERIFY_S = 1.0  # a question may take this long; then requests pass again, and their refusals decide nothing
FIRST_PAUSE_S = 15.0  # four questions in the first minute at most
LONGEST_PAUSE_S = 300.0
EARLY_S = 0.5  # a question goes out so much before a request could: two looks of the background job
ASKED_S = 30.0  # a question whose end nobody reported is forgotten after this
TRUST_S = 60.0  # for so long after it answered a question, it takes more refusals to ask again


class Account(NamedTuple):
    """What one deployment's refusals say of its account. Times are Unix seconds."""

    refusals: int = 0  # in a row
    is_account: bool = False  # one of them spoke of the account
    is_shut: bool = False
    changed_at_s: float | None = None  # `None`: it was never doubted
    pause_s: float = VERIFY_S
    asked_at_s: float | None = None


TRUSTED = Account()


def refused(account: Account, now_s: float, sent_at_s: float, *, is_account: bool, can_ask: bool) -> Account:
    """After an attempt, sent at `sent_at_s`, was refused. `is_account`: the refusal speaks of the account."""
    if account.is_shut:  # the attempt took the place of a question, or it was already under way
        return denied(account, now_s) if is_denied(account) and account.asked_at_s == sent_at_s else account
    if not is_account and not can_ask:
        return account
    account = account._replace(refusals=account.refusals + 1, is_account=account.is_account or is_account)
    is_enough = account.refusals >= REFUSALS or (can_ask and not _is_vouched_for(account, now_s))
    if not is_enough or not account.is_account:
        return account
    pause_s = VERIFY_S if can_ask else FIRST_PAUSE_S
    return account._replace(is_shut=True, changed_at_s=now_s, pause_s=pause_s, asked_at_s=None)


def denied(account: Account, now_s: float) -> Account:
    """After a question was refused, too."""
    pause_s = FIRST_PAUSE_S if account.pause_s < FIRST_PAUSE_S else min(account.pause_s * 2, LONGEST_PAUSE_S)
    return account._replace(is_shut=True, changed_at_s=now_s, pause_s=pause_s, asked_at_s=None)


def answered(account: Account, now_s: float) -> Account:
    """After an answer, to a question or to a request."""
    if is_doubted(account):
        return Account(changed_at_s=now_s)
    return account if account.refusals == 0 else account._replace(refusals=0, is_account=False, asked_at_s=None)


def suspected(account: Account) -> Account:
    """After another deployment of the account turned out to refuse everything. Unless vouched for, it is asked now."""
    return account if is_doubted(account) else account._replace(refusals=REFUSALS)


def is_doubted(account: Account) -> bool:
    """Whether the account is shut or doubted, so that the answer to a question counts."""
    return account.is_shut or account.refusals >= REFUSALS


def asked(account: Account, now_s: float) -> Account:
    """After a question went out."""
    return account._replace(asked_at_s=now_s)


def sent(account: Account, now_s: float) -> Account:
    """After a request went out. To a denied deployment it takes the place of a question."""
    return account._replace(asked_at_s=now_s) if is_denied(account) else account


def lets_pass(account: Account, now_s: float) -> bool:
    """Whether a request may go there: it is not shut, or its pause is over.

    If it is denied, no question may be under way either.
    """
    if not account.is_shut or account.changed_at_s is None:
        return True
    is_over = abs(now_s - account.changed_at_s) >= account.pause_s
    return is_over and (not is_denied(account) or _is_asked_by_nobody(account, now_s))


def is_question_due(account: Account, now_s: float) -> bool:
    """Whether to ask it now: at once when it is doubted; when it is denied, EARLY_S before a request could pass."""
    if is_denied(account):
        return lets_pass(account, now_s + EARLY_S)
    enough = 2 * REFUSALS if _is_vouched_for(account, now_s) else REFUSALS
    return (account.is_shut or account.refusals >= enough) and _is_asked_by_nobody(account, now_s)


def latest(own: Account, other: Account, now_s: float) -> Account:
    """What a worker believes after hearing of another's account. A doubt counts only where it arose."""
    if (
        (other.is_shut and not is_denied(other))
        or other.changed_at_s is None
        or other.changed_at_s > now_s + CLOCK_SKEW_S
    ):
        return own
    if own.changed_at_s is not None and own.changed_at_s >= other.changed_at_s:
        return own
    hearsay_s = min(max(other.pause_s, FIRST_PAUSE_S) * 2, LONGEST_PAUSE_S)  # one worker that asks is enough for all
    return other._replace(pause_s=hearsay_s) if other.is_shut else other


def is_denied(account: Account) -> bool:
    """Whether it is shut for longer than a question takes."""
    return account.is_shut and account.pause_s > VERIFY_S


def _is_asked_by_nobody(account: Account, now_s: float) -> bool:
    return account.asked_at_s is None or abs(now_s - account.asked_at_s) >= ASKED_S


def _is_vouched_for(account: Account, now_s: float) -> bool:
    return account.changed_at_s is not None and not account.is_shut and abs(now_s - account.changed_at_s) < TRUST_S
