"""The benchmark: its processes take turns, and its page says what was measured."""

import importlib
import re
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDER = REPOSITORY / "scripts/benchmarks"
WORKER = """
import serving

def prepare(case, threads):
    if case["kind"] == "absent":
        return None
    made = []
    count = serving.repeated(lambda: made.append(1))
    return {"count": count, "made": lambda times: [[len(made), threads]] * times}, {"seen": case}

serving.serve(prepare)
"""


@pytest.fixture
def module(monkeypatch):
    """A function that imports a module of the benchmark."""
    monkeypatch.syspath_prepend(FOLDER)
    names = "serving", "cases", "page"
    yield importlib.import_module
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture
def worker(module, tmp_path, monkeypatch):
    """A function that starts a process without TensorFlow."""
    path = tmp_path / "worker.py"
    path.write_text(WORKER)
    monkeypatch.setenv("PYTHONPATH", str(FOLDER))
    serving = module("serving")
    return lambda kind: serving.Worker(path, {"kind": kind}, threads=3)


def test_workers_answer_in_turns(module, worker):
    serving = module("serving")
    makers = {"one": lambda: worker("a"), "other": lambda: worker("b")}
    makers["absent"] = lambda: worker("absent")
    with serving.open_workers(makers) as workers:
        assert workers.keys() == {"one", "other"}
        assert workers["other"].facts == {"seen": {"kind": "b"}}
        found = serving.in_turns(workers, "count", 4, 3)
        # One call before those that count.
        assert all(side["calls"] == 12 for side in found.values())
        assert workers["one"].run("made", 2)[0] == [[13, 3]] * 2
        assert 0.0 < found["one"]["memory"] < 1.0


def test_a_worker_that_fails_is_an_error(module, tmp_path, worker):
    (tmp_path / "worker.py").write_text("raise SystemExit(1)")
    with pytest.raises(RuntimeError, match=r"\{'kind': 'a'\} ended"):
        worker("a")


def test_summaries(module):
    made = module("serving").summary([[1.0, 10.0], [3.0, 40.0], [2.0, 20.0]])
    assert made["process"] == {"min": 1.0, "median": 2.0}
    assert made["wall"] == {"min": 10.0, "median": 20.0} and made["calls"] == 3


def test_exponents_and_crossings(module):
    page = module("page")
    values = [2, 4, 8, 16]
    assert page.slope(values, [3.0 * v**1.7 for v in values]) == pytest.approx(1.7)
    # 1 x² and 10 x cross at 10.
    square, line = [v**2 for v in values], [10 * v for v in values]
    assert page.crossing((values, square), (values, line)) == pytest.approx(10.0)
    assert page.crossing((values, line), (values, [20 * v for v in values])) is None


def test_the_page_has_a_part_for_every_section(module):
    text = (REPOSITORY / "docs/performance.md").read_text(encoding="utf-8")
    marks = re.findall(r"<!-- scripts/benchmark.py: (\w+) -->", text)
    assert set(marks) == module("cases").SECTIONS.keys() and len(marks) == len(set(marks))


def test_the_growth_has_one_thing_that_grows(module):
    cases = module("cases")
    for what, kinds in cases.GROWING.items():
        for kind, values in kinds.items():
            made = [cases.GROWTH[f"{kind}, {what} {value}"] for value in values]
            assert len({str((case["flow"], case["batch"])) for case in made}) == len(values)
