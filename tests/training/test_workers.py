"""Several processes train as one does with the joint batch; one that is killed is missed."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import keras
import numpy as np
import pytest
from typer.testing import CliRunner

from keras_flows.cli.app import app
from keras_flows.training import workers
from tests.training.test_mirrored import compare

PROGRAM, TRAIN = (
    Path(__file__).with_name(f"{name}.py") for name in ("worker_run", "workers_train")
)
CASES = ["residual", "spline", "normalized", "dense"]
SECONDS = 900  # of patience with a busy machine


def free_ports(count):
    """Ports that nothing listens on."""
    sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
    ports = [str(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def start(*arguments):
    """A process whose output is read, both kinds in one."""
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # as on a machine of its own
    )


def end(processes, seconds=SECONDS):
    """Waits for processes, and gives `(return code, output)` of each; none outlives this."""
    try:
        outputs = [process.communicate(timeout=seconds)[0] for process in processes]
        return [(p.returncode, text) for p, text in zip(processes, outputs, strict=True)]
    finally:
        for process in processes:
            process.kill()


def run_all(mode, folder, count, *cases):
    """Runs workers to their end."""
    ports = ",".join(free_ports(count))
    found = end([start(PROGRAM, mode, i, folder, ports, *cases) for i in range(count)])
    for code, text in found:
        assert code == 0, text[-3000:]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """The folder of what two workers and one process alone leave of every case."""
    folder = tmp_path_factory.mktemp("workers")
    (folder / "alone").mkdir()
    ((code, text),) = end([start(PROGRAM, "fit", 0, folder / "alone", "alone", *CASES)])
    assert code == 0, text[-3000:]
    run_all("fit", folder, 2, *CASES)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_workers_do_what_one_does_with_the_joint_batch(fitted, case):
    compare(fitted / "alone" / f"{case}-0.npz", fitted / f"{case}-0.npz")


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_workers_hold_the_same_weights_to_the_last_bit(fitted, case):
    with np.load(fitted / f"{case}-0.npz") as one, np.load(fitted / f"{case}-1.npz") as other:
        for name in one.files:
            np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.slow
def test_workers_notice_that_they_differ_and_share_a_shuffled_epoch(tmp_path):
    run_all("checks", tmp_path, 2)
    for i in range(2):
        found = json.loads((tmp_path / f"checks-{i}.json").read_text())
        # Of a rate of 0: every example once in every epoch, or the means would differ.
        np.testing.assert_allclose(found["shuffled"], found["expected"], rtol=1e-6)
        assert found["predicted"] < 1e-5  # Keras hands on float32
        assert "The data of replica 1 differ" in found["data"]
        assert "The weights of replica 1 differ" in found["weights"]
        assert found["first"] == [0.0, 1.0, 2.0]


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_a_worker_that_is_killed_is_missed_within_a_minute(tmp_path, killed):
    ports = ",".join(free_ports(2))
    processes = [start(PROGRAM, "last", i, tmp_path, ports, "endless") for i in range(2)]
    try:
        for process in processes:
            for line in process.stdout:
                if "TRAINING" in line:
                    break
            else:
                pytest.fail("a worker ended before it trained")
        processes[killed].send_signal(signal.SIGKILL)
        began = time.monotonic()
        text = processes[1 - killed].communicate(timeout=60)[0]
        assert time.monotonic() - began < 60
        assert processes[1 - killed].returncode != 0
        assert "Another worker ended or cannot be reached" in text
    finally:
        for process in processes:
            process.kill()


def train(folder, count, *arguments, kill_at=0):
    """Starts `keras-flows train tiny` on so many workers, of which the last kills itself."""
    options = ["train", "tiny", "-o", folder, *arguments]
    if count == 1:
        return [start(TRAIN, kill_at, *options)]
    addresses = ",".join(f"localhost:{port}" for port in free_ports(count))
    return [
        start(TRAIN, kill_at * (i + 1 == count), *options, "--workers", addresses, "--worker", i)
        for i in range(count)
    ]


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_workers(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    ((code, text),) = end(train(whole, 1))
    assert code == 0, text[-3000:]
    # Two workers to step 5, one to step 8, two to the end.
    (code, text), (last, _) = end(train(killed, 2, kill_at=5))
    assert (code, last) == (1, -signal.SIGKILL), text[-3000:]
    assert "error: Another worker ended" in text
    ((code, text),) = end(train(killed, 1, "--resume", kill_at=8))
    assert code == -signal.SIGKILL, text[-3000:]
    assert "resuming at step 3" in text
    for code, text in end(train(killed, 2, "--resume")):
        assert code == 0, text[-3000:]
        assert "resuming at step 6" in text
    flows = [
        keras.models.load_model(folder / "tiny.training" / "state.keras")
        for folder in (whole, killed)
    ]
    one, other = ([*flow.weights, *flow.optimizer.variables] for flow in flows)
    for expected, got in zip(one, other, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)
    assert (killed / "tiny" / "metadata.json").exists()


def test_who_does_not_listen_is_absent():
    with socket.create_server(("localhost", 0)) as listening:
        here = f"localhost:{listening.getsockname()[1]}"
        there = f"localhost:{free_ports(1)[0]}"
        assert workers.absent([here, there]) == [there]


def test_a_process_that_waits_for_a_worker_that_is_gone_ends(monkeypatch, capsys):
    ended = []

    def end_of_process(code):
        ended.append(code)
        raise SystemExit(code)

    monkeypatch.setattr(workers, "_EVERY", 0.01)
    monkeypatch.setattr(workers, "_GRACE", 0.01)
    monkeypatch.setattr(workers.os, "_exit", end_of_process)
    address = f"localhost:{free_ports(1)[0]}"
    with pytest.raises(SystemExit):
        workers.watch([address], threading.Event())
    assert ended == [1]
    assert f"No answer from {address}" in capsys.readouterr().err


def test_a_process_whose_workers_are_there_goes_on(monkeypatch):
    monkeypatch.setattr(workers, "_EVERY", 0.01)
    over, looks = threading.Event(), []

    def all_there(addresses):
        looks.append(addresses)
        if len(looks) == 5:
            over.set()
        return addresses[: len(looks) % 3]  # one is missing now and then, never three times

    monkeypatch.setattr(workers, "absent", all_there)
    workers.watch(["a:1"], over)
    assert len(looks) == 5


def test_addresses_are_checked():
    assert workers.addresses("a:1, 10.0.0.2:9000") == ["a:1", "10.0.0.2:9000"]
    for text in ("", "a", "a:1,b", "a:1,a:1", "a b:3"):
        with pytest.raises(ValueError, match=r"host and port|address of its own"):
            workers.addresses(text)
    with pytest.raises(ValueError, match="of 2, there is no worker 2"):
        workers.join(["a:1", "b:1"], 2)


@pytest.mark.parametrize("one", [("--workers", "a:1,b:1"), ("--worker", "0")])
def test_workers_and_worker_go_together(one):
    result = CliRunner().invoke(app, ["train", "idensenet_two_moons", *one])
    assert result.exit_code == 1
    assert "give both, or neither" in result.stderr
