"""Measurements of exported functions, by a clock that is known."""

import pytest

from keras_flows.export import cost


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still but for what is added to `clock[0]`, in seconds."""
    now = [0.0]
    monkeypatch.setattr(cost.time, "perf_counter", lambda: now[0])
    return now


def test_a_call_is_timed_in_milliseconds(clock):
    def wait(seconds):
        clock[0] += seconds
        return "done"

    result, milliseconds = cost.timed(wait, 0.25)
    assert result == "done" and milliseconds == pytest.approx(250.0)


@pytest.mark.parametrize(
    "seconds, runs", [(0.001, 1 + 50), (0.1, 1 + 10), (3.0, 1 + 5)], ids=["fast", "some", "slow"]
)
def test_latency_is_the_median_after_the_first_run(clock, seconds, runs):
    seen = []

    def run(inputs):
        seen.append(inputs)
        # The first and one other are far slower.
        clock[0] += 50.0 * seconds if len(seen) in (1, 4) and seconds != 0.1 else seconds

    assert cost.latency(run, {"x": 1}) == pytest.approx(1000.0 * seconds)
    assert len(seen) == runs and seen[0] == {"x": 1}
