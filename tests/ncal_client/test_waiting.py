"""When a request is sent again."""

import pytest

from ncal_client.errors import (
    DeadlineExceeded,
    InvalidInput,
    NcalError,
    Overloaded,
    ServiceError,
    Unreachable,
)
from ncal_client.waiting import Budget, choose_wait

BUSY = Overloaded("busy", status=503, retry_after_s=3.0)


def test_never_earlier_than_the_service_says_and_not_all_at_once() -> None:
    assert choose_wait(BUSY, 0, 0.0) == choose_wait(BUSY, 7, 0.0) == 3.0
    assert 3.0 < choose_wait(BUSY, 0, 0.5) < choose_wait(BUSY, 0, 0.999) < 4.0


def test_longer_each_time_where_nothing_is_said_and_never_very_long() -> None:
    waits = [choose_wait(Unreachable("gone"), attempt, 0.0) for attempt in range(8)]
    assert waits[:4] == [0.5, 1.0, 2.0, 4.0] and set(waits[4:]) == {5.0}


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (BUSY, True),
        (Unreachable("gone"), True),
        (ServiceError("a gateway", status=502), True),
        (ServiceError("early", status=425), True),
        (InvalidInput("wrong", status=422), False),
        *((ServiceError("no", status=status), False) for status in (400, 401, 403, 404, 413, 501)),
    ],
)
def test_only_what_passes_is_sent_again(error: NcalError, again: bool) -> None:
    budget = Budget(patience_s=60.0, deadline_s=None, draw=lambda: 0.0)
    if again:
        assert budget.spend(error) >= 0.5
    else:
        with pytest.raises(type(error)):
            budget.spend(error)


def test_patience_and_deadline_end_it() -> None:
    with pytest.raises(Overloaded):
        Budget(patience_s=2.9, deadline_s=None).spend(BUSY)
    with pytest.raises(Overloaded):
        Budget(patience_s=60.0, deadline_s=2.9).spend(BUSY)
    budget = Budget(patience_s=60.0, deadline_s=0.2)
    assert 0.1 <= (budget.measure_timeout() or 0) <= 0.2
    with pytest.raises(DeadlineExceeded):
        budget.spend(Unreachable("no answer"))
    with pytest.raises(DeadlineExceeded):
        Budget(patience_s=60.0, deadline_s=0.0).measure_timeout()
    assert Budget(patience_s=0.0, deadline_s=None).measure_timeout() is None
