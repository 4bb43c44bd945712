"""Kills and failing disks at every moment of everything that writes: complete or absent."""

import errno
import os
import resource
import shutil
import subprocess
import threading
import time

import numpy as np
import pytest

import keras_flows as kf
from keras_flows.files import complete_folder, locked, writing
from keras_flows.training import run as runner
from tests.faults import jobs, moments

ROUNDS = [pytest.param(kind(), id=kind.__name__) for kind in jobs.QUICK]


@pytest.fixture
def place(tmp_path):
    """A folder to write into, the only thing that faults happen to."""
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("job", ROUNDS)
def test_killed_at_any_moment(job, place, tmp_path):
    job.write(place, new=False)
    before = job.content(place)
    taken = moments.snapshots(place, lambda: job.write(place, new=True), tmp_path / "copies")
    assert job.content(place) == "new" and hidden_names(place) == []
    assert len(taken) >= 6, taken
    found = []
    for moment, left in taken:
        try:
            found.append(job.content(left))
        except Exception as error:
            raise AssertionError(f"killed before {moment}") from error
    # The old, at most once nothing where one takes the place of the other, then the new.
    order = [before, None, "new"]
    assert [order.index(one) for one in found] == sorted(order.index(one) for one in found)
    assert found[0] == before and found[-1] == "new"
    gaps = [left for one, (_, left) in zip(found, taken, strict=True) if one is None]
    if before is not None:
        assert len(gaps) <= 1
    # The next one puts back what a kill took away, and leaves nothing behind.
    for left in (taken[0][1], taken[len(taken) // 2][1], taken[-1][1], *gaps[-1:]):
        if job.name != "history.csv" or (left / job.name).exists():
            job.write(left, new=True)
            assert job.content(left) == "new" and hidden_names(left) == []


def hidden_names(folder):
    return [path.name for path in jobs.hidden(folder)]


def test_a_kill_between_two_renames_is_made_good(place):
    """There is nothing then, for a moment: the next writer puts the old one back first."""
    scratch = place / ".flow.partial"
    (scratch / "replaced").mkdir(parents=True)
    (scratch / "replaced" / "weights").write_text("old")
    (scratch / "new" / "flow").mkdir(parents=True)
    with pytest.raises(KeyError), complete_folder(place / "flow"):
        assert (place / "flow" / "weights").read_text() == "old"
        raise KeyError
    assert (place / "flow" / "weights").read_text() == "old" and hidden_names(place) == []


ERRORS = [errno.ENOSPC, errno.EROFS]


@pytest.mark.parametrize("job", ROUNDS)
@pytest.mark.parametrize("code", ERRORS, ids=["full", "read-only"])
def test_a_disk_that_fails_at_any_moment(job, code, place):
    """An error, and the old one: or, where only the tidying failed, the new one without one."""
    job.write(place, new=False)
    before, number, failures = job.content(place), 0, 0
    spare = place.parent / "spare"
    shutil.copytree(place, spare)
    while True:
        with moments.failing(place, number, code) as failed:
            try:
                job.write(place, new=True)
                raised = None
            except OSError as error:
                raised = error
        if not failed:
            break
        failures += 1
        left = job.content(place)
        assert left == (before if raised else "new"), (failed, raised)
        assert raised is None or os.strerror(code) in str(raised)
        shutil.rmtree(place)
        shutil.copytree(spare, place)
        number += 1
    assert failures >= 6


@pytest.fixture
def short_files():
    """No file of this process gets longer than 1 kB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


LARGE = (jobs.Preset, jobs.NewPreset, jobs.KerasFile, jobs.State, jobs.Scores, jobs.Samples)


@pytest.mark.parametrize("kind", LARGE, ids=lambda kind: kind.__name__)
def test_a_quota(kind, place, request):
    """Files that really end in the middle."""
    job = kind()
    job.write(place, new=False)
    before = job.content(place)
    request.getfixturevalue("short_files")
    with pytest.raises(OSError, match="File too large"):
        job.write(place, new=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert job.content(place) == before and hidden_names(place) == []
    job.write(place, new=True)
    assert job.content(place) == "new"


@pytest.fixture
def disk(tmp_path):
    """A small disk of its own: `disk(options)`; only root may have one."""
    mounted = []

    def mount(options):
        folder = tmp_path / "disk"
        folder.mkdir(exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
        if os.getuid() != 0 or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("only root may mount a disk")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def remount(folder, options):
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


@pytest.mark.parametrize("job", ROUNDS)
def test_a_full_disk(job, disk):
    folder = disk("size=200k")
    job.write(folder, new=False)
    before = job.content(folder)
    with open(folder / "filler", "wb", buffering=0) as file, pytest.raises(OSError):
        while file.write(bytes(4096)):
            pass
    with pytest.raises(OSError, match="No space left on device"):
        job.write(folder, new=True)
    assert job.content(folder) == before and hidden_names(folder) == []
    (folder / "filler").unlink()
    job.write(folder, new=True)
    assert job.content(folder) == "new"


@pytest.mark.parametrize("job", ROUNDS)
def test_a_read_only_disk(job, disk):
    folder = disk("size=1m")
    job.write(folder, new=False)
    before = job.content(folder)
    remount(folder, "ro")
    with pytest.raises(OSError, match=r"read-only|Read-only"):
        job.write(folder, new=True)
    assert job.content(folder) == before and hidden_names(folder) == []


def test_a_folder_that_is_a_disk_is_refused_before_the_work(disk, monkeypatch):
    folder = disk("size=1m")
    monkeypatch.setattr(kf.Flow, "certify", lambda self: pytest.fail("the work began"))
    with pytest.raises(OSError, match="where another file system begins"):
        jobs.flow().save_to_preset(folder)


# Two writers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("job", ROUNDS)
def test_another_writer_is_waited_for(job, place):
    job.write(place, new=False)
    before, seen = job.content(place), []
    with locked(place / f".{job.name}.partial" / "lock", "is a test"):
        writer = threading.Thread(target=job.write, args=(place, True))
        writer.start()
        time.sleep(0.2)
        seen.append(job.content(place))
    writer.join()
    assert seen == [before] and job.content(place) == "new" and hidden_names(place) == []


def test_another_writer_is_not_waited_for_ever(place, monkeypatch):
    monkeypatch.setattr(writing, "PATIENCE", 0.1)
    lock = place / ".scores.csv.partial" / "lock"
    with (
        locked(lock, "is a test"),
        pytest.raises(BlockingIOError, match=r"Another process is writing .*scores\.csv"),
    ):
        jobs.Scores().write(place, new=True)
    assert list(place.iterdir()) == [lock.parent]


def test_two_trainings_into_one_folder(place):
    work = place / "tiny.training"
    work.mkdir()
    with (
        locked(work / "lock", "is a test"),
        pytest.raises(BlockingIOError, match=r"Another process trains into .*tiny\.training"),
    ):
        runner.train("tiny", jobs.RECIPE, place)
    assert [path.name for path in work.iterdir()] == ["lock"]


def test_two_fits_into_one_folder(place):
    work = place / "flow.training"
    work.mkdir()
    rows = np.random.default_rng(0).normal(size=(40, 2))
    with (
        locked(work / "lock", "is a test"),
        pytest.raises(BlockingIOError, match=r"Another process fits into .*flow\.training"),
    ):
        kf.fit(rows, place / "flow", model="RealNVP")
    assert [path.name for path in work.iterdir()] == ["lock"]


def test_an_export_into_a_folder_that_another_has_filled(place, monkeypatch):
    """It was empty when the work began; then the other one ended."""
    monkeypatch.setattr(kf.Flow, "certify", lambda self: pytest.fail("the work began"))
    checks = []

    def fill(folder):
        checks.append(folder)
        if len(checks) == 2:
            (place / "exported").mkdir()
            (place / "exported" / "manifest.json").write_text("{}")
        check(folder)

    check = kf.export.write.check_new
    monkeypatch.setattr(kf.export.write, "check_new", fill)
    with pytest.raises(kf.ExportError, match="exists and is not an empty folder"):
        kf.export.to_onnx(jobs.flow(), place / "exported")
    assert (place / "exported" / "manifest.json").read_text() == "{}"
    assert hidden_names(place) == []
