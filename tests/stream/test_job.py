"""A run of many machines: parts in any order, more than once, and by workers that fail."""

import numpy as np
import pandas as pd
import pytest

import keras_flows as kf
from keras_flows import stream
from keras_flows.stream import job as jobs
from tests.stream.fakes import Fake, Small

N = 43
X = np.random.default_rng(0).normal(size=(N, 2)).astype("float32")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Rows, their scores by one machine, and jobs whose flow is whatever `export` says."""

    def fake(export, task, seed, threads, sha256):
        made = Fake(task, seed, sha256=(tmp_path / "export").read_text())
        if sha256 not in (None, made.scored_by.sha256):
            raise kf.ExportError(f"{export} was replaced.")
        return made

    monkeypatch.setattr(jobs, "OnnxScorer", fake)
    (tmp_path / "export").write_text("f" * 64)
    write(tmp_path, X)
    data = stream.open_input(tmp_path / "rows.parquet", Small((2,)))
    stream.run(Fake(), data, tmp_path / "single", part_rows=8)
    return tmp_path


def write(folder, x):
    pd.DataFrame(x, columns=["a", "b"]).to_parquet(folder / "rows.parquet", row_group_size=7)


def make(folder, resume=False):
    shared = {"part_rows": 8, "resume": resume}
    return stream.Job(folder / "export", folder / "rows.parquet", folder / "scores", **shared)


def sums(folder):
    return [
        (part.name, part.first_row, part.rows, part.sha256) for part in stream.verify(folder).parts
    ]


def quiet(text):
    pass


def test_parts_in_any_order_and_more_than_once(folder):
    job, said = make(folder), []
    with job.held(said.append) as (missing, record):
        assert missing == list(range(6))
        workers = [job.open(), job.open()]
        for place, number in enumerate([5, 0, 3, 3, 1, 4, 0, 2]):
            record(job.make(*workers[place % 2], number))
    assert sums(folder / "scores") == sums(folder / "single")
    assert job.manifest.complete and said[-1].startswith("complete: 43 rows in 6 parts")


def test_what_a_worker_wrote_is_found_by_the_next_run(folder):
    """The machine that held the run died: what was recorded, and what was not, is there."""
    job = make(folder)
    with pytest.raises(RuntimeError), job.held(quiet) as (_, record):
        worker = job.open()
        record(job.make(*worker, 4))
        job.make(*worker, 1)
        raise RuntimeError("killed")
    assert [part.first_row for part in stream.read_manifest(folder / "scores").parts] == [32]
    with (
        pytest.raises(kf.StreamError, match="Go on with them by --resume"),
        make(folder).held(quiet),
    ):
        pass
    job = make(folder, resume=True)
    with job.held(quiet) as (missing, _):
        assert missing == [0, 2, 3, 5]
        worker = job.open()
        for number in missing:
            job.make(*worker, number)
        job.look()  # as Beam's program does
    assert sums(folder / "scores") == sums(folder / "single")


def test_a_part_that_nobody_made_is_missed(folder):
    job = make(folder)
    with (
        pytest.raises(
            kf.StreamError, match=r"part-00002.parquet begins at row 16; the parts before"
        ),
        job.held(quiet) as (missing, record),
    ):
        worker = job.open()
        for number in missing:
            if number != 1:
                record(job.make(*worker, number))
    assert not stream.read_manifest(folder / "scores").complete


def test_an_export_that_is_replaced(folder):
    job = make(folder)
    with pytest.raises(kf.ExportError, match="was replaced"), job.held(quiet) as (_, record):
        record(job.make(*job.open(), 0))
        (folder / "export").write_text("0" * 64)
        job.open()
    with pytest.raises(kf.StreamError, match="by another flow"), make(folder, True).held(quiet):
        pass


def test_rows_that_change(folder):
    job = make(folder)
    with (
        pytest.raises(ValueError, match=r"rows.parquet changed since"),
        job.held(quiet) as (_, record),
    ):
        worker = job.open()
        record(job.make(*worker, 0))
        write(folder, np.concatenate([X, X]))
        record(job.make(*worker, 1))
    assert [part.first_row for part in stream.read_manifest(folder / "scores").parts] == [0]
    with pytest.raises(kf.StreamError, match="of another input"), make(folder, True).held(quiet):
        pass


def test_who_holds_the_run(folder):
    with make(folder).held(quiet) as (missing, record):
        job = make(folder, resume=True)
        with pytest.raises(BlockingIOError, match="Another process writes"), job.held(quiet):
            pass
        worker = job.open()
        job.manifest = stream.read_manifest(folder / "scores")
        for number in missing:
            record(job.make(*worker, number))


def test_what_many_machines_cannot_read(folder):
    pd.DataFrame(X, columns=["a", "b"]).to_csv(folder / "rows.csv", index=False)
    job = stream.Job(folder / "export", folder / "rows.csv", folder / "scores")
    with pytest.raises(ValueError, match="convert it to Parquet"), job.held(quiet):
        pass
    with pytest.raises(ValueError, match="has not begun"):
        job.write(None, 0, {}, {})
