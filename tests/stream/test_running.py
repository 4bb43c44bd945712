"""Runs into a folder: part by part, the same numbers however they are cut, and after every end."""

import errno
import json

import numpy as np
import pandas as pd
import pytest

import keras_flows as kf
from keras_flows import stream
from keras_flows.detect import benjamini_hochberg
from keras_flows.stream import parts, scoring
from keras_flows.stream.row_noise import by_row
from tests.faults.moments import failing, snapshots
from tests.stream.fakes import Fake, Small

N = 43
X = np.random.default_rng(0).normal(0.0, 3.0, size=(N, 2)).astype("float32")


@pytest.fixture
def data(tmp_path):
    pd.DataFrame(X, columns=["a", "b"]).to_parquet(tmp_path / "in.parquet", row_group_size=7)
    return stream.open_input(tmp_path / "in.parquet", Small((2,)))


@pytest.fixture
def text(tmp_path):
    pd.DataFrame(X, columns=["a", "b"]).to_csv(tmp_path / "in.csv", index=False)
    return lambda: stream.open_input(tmp_path / "in.csv", Small((2,)))


def expected(seed=0):
    return by_row(seed, 0, N, 1)[:, 0] - 0.5 * np.sum(X * X, axis=1)


def sums(manifest):
    return [(part.name, part.first_row, part.rows, part.sha256) for part in manifest.parts]


def test_the_numbers_of_a_row_are_its_own():
    whole = by_row(3, 0, 1000, 7)
    assert whole.dtype == np.float32 and abs(whole.mean()) < 0.05 and abs(whole.std() - 1) < 0.03
    assert len(np.unique(whole)) == whole.size
    for first, rows in ((0, 1), (1, 999), (500, 3)):
        np.testing.assert_array_equal(by_row(3, first, rows, 7), whole[first : first + rows])
    assert not np.array_equal(by_row(4, 0, 1000, 7), whole)
    far = by_row(3, 2**40, 2, 7)
    np.testing.assert_array_equal(by_row(3, 2**40 + 1, 1, 7), far[1:])
    correlation = np.corrcoef(whole, rowvar=False) - np.eye(7)
    assert np.abs(correlation).max() < 0.15


def test_parts_in_order_and_a_manifest(data, tmp_path):
    manifest = stream.run(Fake(), data, tmp_path / "out", part_rows=12)
    assert [(part.first_row, part.rows) for part in manifest.parts] == [
        (0, 12), (12, 12), (24, 12), (36, 7),
    ]  # fmt: skip
    assert (manifest.rows, manifest.complete, manifest.batch) == (N, True, 4)
    assert stream.verify(tmp_path / "out") == stream.read_manifest(tmp_path / "out") == manifest
    # The folder is a table to pandas, whatever else is in it.
    written = pd.read_parquet(tmp_path / "out")
    np.testing.assert_allclose(written["log_prob"], expected(), rtol=1e-6)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"_manifest.json", ".lock", *(part.name for part in manifest.parts)}


@pytest.mark.parametrize("part_rows", [4, 8, 20, 44, 400])
def test_the_size_of_parts_changes_nothing(data, text, tmp_path, part_rows):
    whole = scoring.in_memory(Fake(), data)["log_prob"]
    for source in (data, text()):
        folder = tmp_path / source.name.rpartition(".")[2]
        manifest = stream.run(Fake(), source, folder, part_rows=part_rows)
        np.testing.assert_array_equal(pd.read_parquet(folder)["log_prob"], whole)
        assert len(manifest.parts) == -(-N // part_rows)


def test_every_batch_begins_at_a_multiple_of_its_size(data, tmp_path):
    scorer = Fake()
    stream.run(scorer, data, tmp_path / "out", part_rows=12)
    assert scorer.calls == [(first, min(4, N - first)) for first in range(0, N, 4)]
    with pytest.raises(ValueError, match="a multiple of 4 rows, which are computed at a time; got"):
        stream.run(scorer, data, tmp_path / "other", part_rows=6)


@pytest.mark.parametrize("source", ["parquet", pytest.param("csv", marks=pytest.mark.slow)])
def test_a_kill_at_any_moment(data, text, tmp_path, source):
    """What is left at every moment is resumed to the same bytes; one part is computed again."""
    again = (lambda: data) if source == "parquet" else text
    whole = stream.run(Fake(), again(), tmp_path / "whole", part_rows=12)
    (tmp_path / "root").mkdir()
    (tmp_path / "copies").mkdir()

    def job():
        stream.run(Fake(), again(), tmp_path / "root" / "out", part_rows=12)

    taken = snapshots(tmp_path / "root", job, tmp_path / "copies")
    assert len(taken) > 20
    for moment, copy in taken:
        folder = copy / "out"
        written = {path.name for path in folder.glob("part-*")}
        scorer = Fake()
        manifest = stream.run(scorer, again(), folder, resume=True, part_rows=12)
        assert sums(manifest) == sums(whole), moment
        assert stream.verify(folder) == manifest, moment
        # Those that were complete are not computed again.
        computed = {first // 12 for first, _ in scorer.calls}
        assert computed == {n for n in range(4) if parts.name_of(n) not in written}, moment
        left = {path.name for path in folder.iterdir() if path.name != ".lock"}
        assert left == {"_manifest.json", *(part.name for part in whole.parts)}, moment


@pytest.mark.slow
def test_a_disk_that_fails_at_any_moment(data, tmp_path):
    whole = stream.run(Fake(), data, tmp_path / "whole", part_rows=12)
    for number in range(1000):
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            with failing(folder, number, errno.ENOSPC) as failed:
                stream.run(Fake(), data, folder / "out", part_rows=12)
        except OSError as error:
            assert error.errno == errno.ENOSPC and failed
        if not failed:
            break
        manifest = stream.run(Fake(), data, folder / "out", resume=True, part_rows=12)
        assert sums(manifest) == sums(whole), failed
    assert number > 20


def test_a_run_that_is_there_is_not_written_over(data, tmp_path):
    first = stream.run(Fake(), data, tmp_path / "out", part_rows=12)
    with pytest.raises(kf.StreamError, match=r"all of the scores of in.parquet, in 4 parts. Go on"):
        stream.run(Fake(), data, tmp_path / "out", part_rows=12)
    scorer = Fake()
    # Without a size the parts stay as large as they are.
    assert stream.run(scorer, data, tmp_path / "out", resume=True) == first
    assert scorer.calls == []
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(kf.StreamError, match="holds no scores; it is left as it is"):
        stream.run(Fake(), data, tmp_path / "mine", resume=True)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]
    with pytest.raises(kf.StreamError, match="is a file"):
        stream.run(Fake(), data, tmp_path / "in.parquet", resume=True)
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        stream.run(Fake(), data, tmp_path / "no" / "out")


OTHERS = {
    "input": (lambda: Fake(), {}, r"of another input: in.parquet \(SHA-256"),
    "flow": (lambda: Fake(sha256="0" * 64), {}, "by another flow: fake"),
    "seed": (lambda: Fake(seed=1), {}, "of the seed 0; this run has 1"),
    "task": (lambda: Fake("encode"), {}, "of the task score; this run has encode"),
    "parts": (lambda: Fake(), {"part_rows": 8}, "in parts of so many rows: 12; this run has 8"),
    "options": (lambda: Fake(), {"columns": "b,a"}, "with the options {}; this run has"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_another_run_is_refused(data, tmp_path, what):
    stream.run(Fake(), data, tmp_path / "out", part_rows=12)
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    make, options, message = OTHERS[what]
    if what == "input":
        pd.DataFrame(X + 1, columns=["a", "b"]).to_parquet(tmp_path / "in.parquet")
        data = stream.open_input(tmp_path / "in.parquet", Small((2,)))
    with pytest.raises(kf.StreamError, match=message):
        stream.run(make(), data, tmp_path / "out", resume=True, **options)
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}


def test_an_input_that_changes_meanwhile(data, tmp_path):
    class Slow(Fake):
        def scores(self, x, context, first):
            if first == 24:
                pd.DataFrame(X + 1, columns=["a", "b"]).to_parquet(tmp_path / "in.parquet")
            return super().scores(x, context, first)

    with pytest.raises(ValueError, match=r"in.parquet changed while it was read"):
        stream.run(Slow(), data, tmp_path / "out", part_rows=12)
    there = stream.read_manifest(tmp_path / "out")
    assert [part.first_row for part in there.parts] == [0, 12] and not there.complete
    with pytest.raises(kf.StreamError, match="is not complete: 24 rows are there"):
        stream.verify(tmp_path / "out")


@pytest.mark.parametrize("damage", ["cut", "gone", "turned"])
def test_a_part_that_was_damaged(data, tmp_path, damage):
    whole = stream.run(Fake(), data, tmp_path / "out", part_rows=12)
    path = tmp_path / "out" / "part-00001.parquet"
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content[:-9] if damage == "cut" else content[:40] + b"?" + content[41:])
    with pytest.raises(kf.StreamError, match=r"part-00001.parquet (is missing|has another SHA)"):
        stream.verify(tmp_path / "out")
    notes, scorer = [], Fake()
    manifest = stream.run(scorer, data, tmp_path / "out", resume=True, note=notes.append)
    assert manifest == whole and path.read_bytes() == content
    assert len(notes) == 1 and "written again" in notes[0]
    assert {first // 12 for first, _ in scorer.calls} == {1}


def test_a_part_of_another_run_is_not_taken(data, tmp_path):
    """One that is not in the manifest, and has the right name."""
    whole = stream.run(Fake(), data, tmp_path / "out", part_rows=12)
    stream.run(Fake(seed=1), data, tmp_path / "other", part_rows=12)
    for name, part in (("part-00002.parquet", "other"), ("part-00003.parquet", "out")):
        forget(tmp_path / "out", name)
        (tmp_path / part / name).rename(tmp_path / "taken")
        (tmp_path / "out" / name).unlink(missing_ok=True)
        (tmp_path / "taken").rename(tmp_path / "out" / name)
    scorer = Fake()
    assert stream.run(scorer, data, tmp_path / "out", resume=True) == whole
    assert {first // 12 for first, _ in scorer.calls} == {2}


def forget(folder, name):
    """Takes a part out of the manifest."""
    path = folder / "_manifest.json"
    content = json.loads(path.read_text())
    content["parts"] = [part for part in content["parts"] if part["name"] != name]
    path.write_text(json.dumps({**content, "complete": False}))


def test_a_manifest_that_was_changed(data, tmp_path):
    stream.run(Fake(), data, tmp_path / "out", part_rows=12)
    forget(tmp_path / "out", "part-00001.parquet")
    path = tmp_path / "out" / "_manifest.json"
    path.write_text(path.read_text().replace('"complete": false', '"complete": true'))
    with pytest.raises(kf.StreamError, match=r"part-00002.parquet begins at row 24; the parts bef"):
        stream.verify(tmp_path / "out")
    path.write_text("{")
    with pytest.raises(kf.StreamError, match="is damaged: it is not valid JSON"):
        stream.run(Fake(), data, tmp_path / "out", resume=True)


def test_decisions_are_counted_and_discovered(data, tmp_path):
    whole = scoring.in_memory(Fake("detect"), data)
    for fdr in (0.3, 0.6, 1.0):
        folder = tmp_path / str(fdr)
        manifest = stream.run(Fake("detect", fdr=fdr), data, folder, part_rows=12)
        found = benjamini_hochberg(whole["p_value"], fdr)
        assert manifest.discoveries["discoveries"] == found.sum()
        np.testing.assert_array_equal(whole["p_value"] <= manifest.discoveries["p_value"], found)
        assert manifest.count("flagged") == whole["flag"].sum()
    assert found.sum() > 0 and parts.discoveries({0.5: 3}, 0.1)["discoveries"] == 0
    assert stream.run(Fake("detect"), data, tmp_path / "none", part_rows=12).discoveries is None


def test_latents_that_are_arrays(data, tmp_path):
    manifest = stream.run(Fake("encode"), data, tmp_path / "out", part_rows=12)
    assert manifest.columns == {"z": "float32[2, 2]"}
    z = np.stack(pd.read_parquet(tmp_path / "out")["z"]).reshape(-1, 2, 2)
    np.testing.assert_array_equal(z, np.repeat(X, 2, axis=1).reshape(-1, 2, 2))


def test_two_processes_do_not_share_a_folder(data, tmp_path):
    from keras_flows.files import locked

    with (
        locked(tmp_path / "out" / ".lock", "writes"),
        pytest.raises(BlockingIOError, match="Another process writes into"),
    ):
        stream.run(Fake(), data, tmp_path / "out")


def test_no_rows(tmp_path):
    (tmp_path / "in.csv").write_text("a,b\n")
    data = stream.open_input(tmp_path / "in.csv", Small((2,)))
    with pytest.raises(ValueError, match="is empty: it holds no rows"):
        stream.run(Fake(), data, tmp_path / "out")
    with pytest.raises(ValueError, match="is empty: it holds no rows"):
        scoring.in_memory(Fake(), data)
    np.save(tmp_path / "in.npy", np.empty((0, 2)))
    with pytest.raises(ValueError, match="is empty: it holds no rows"):
        stream.open_input(tmp_path / "in.npy", Small((2,)))
