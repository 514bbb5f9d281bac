"""How many changes a cloud gets at a time: more while it answers soon, fewer once it does not."""

import threading
import time

from apps.hosts.providers.openstack.lane import FEWEST, FIRST, Lane

PATIENCE = 30.0
SOON, LATE, BETWEEN = 1.0, 29.0, 6.0


def answered(lane: Lane, *, took: float, times: int = 1) -> int:
    for _ in range(times):
        assert lane.enter(seconds=0)
        lane.leave(took=took)
    return lane.width


def test_a_cloud_begins_with_few_and_gets_more_while_it_answers_soon() -> None:
    lane = Lane(most=16, patience=PATIENCE)
    assert lane.width == FIRST
    assert answered(lane, took=SOON, times=5) == FIRST + 1
    assert answered(lane, took=SOON, times=1000) == 16


def test_one_that_answers_late_gets_half_but_never_none() -> None:
    lane = Lane(most=16, patience=PATIENCE)
    answered(lane, took=SOON, times=1000)
    assert [answered(lane, took=LATE) for _ in range(5)] == [8, 4, FEWEST, FEWEST, FEWEST]


def test_what_takes_neither_short_nor_long_changes_nothing() -> None:
    lane = Lane(most=16, patience=PATIENCE)
    assert answered(lane, took=BETWEEN, times=100) == FIRST


def test_requests_that_are_late_together_count_once() -> None:
    lane = Lane(most=16, patience=PATIENCE)
    answered(lane, took=SOON, times=1000)
    for _ in range(16):
        assert lane.enter(seconds=0)
    for _ in range(16):
        lane.leave(took=LATE)
    assert lane.width == 8


def test_nobody_enters_a_full_lane_until_somebody_leaves() -> None:
    lane = Lane(most=1, patience=PATIENCE)
    assert lane.enter(seconds=0)
    assert not lane.enter(seconds=0.01)
    leaving = threading.Timer(0.05, lane.leave, kwargs={"took": BETWEEN})
    leaving.start()
    begun = time.monotonic()
    assert lane.enter(seconds=5)
    assert time.monotonic() - begun < 4
    leaving.join()


def test_with_a_narrower_lane_those_inside_stay_and_the_next_wait() -> None:
    lane = Lane(most=16, patience=PATIENCE)
    for _ in range(FIRST):
        assert lane.enter(seconds=0)
    lane.leave(took=LATE)
    assert lane.width == FEWEST
    assert not lane.enter(seconds=0)
    lane.leave(took=BETWEEN)
    lane.leave(took=BETWEEN)
    assert lane.enter(seconds=0)
