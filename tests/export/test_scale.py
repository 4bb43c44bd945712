"""The jobs on Ray and Beam: the parts and the bytes of one machine, whoever is killed meanwhile.

A real cluster of two Ray nodes on this machine, and Beam's own runner with several processes.
"""

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import keras_flows as kf
from keras_flows import stream
from keras_flows.transforms import Affine, Chain, Logit, UniformDequantization

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPTS = REPOSITORY / "export" / "scale"
PART, PARTS = 10_000, 40
ROWS = PART * PARTS - 77

with_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="ray is not installed: keras-flows[ray]"
)
with_beam = pytest.mark.skipif(
    importlib.util.find_spec("apache_beam") is None,
    reason="apache-beam is not installed: keras-flows[beam]",
)


def sums(folder):
    """The parts of a complete folder, without what depends on when they were written."""
    return [
        (part.name, part.first_row, part.rows, part.sha256) for part in stream.verify(folder).parts
    ]


def export(folder, shift=0.3):
    """A flow whose log_prob is random: every row needs its own numbers, wherever it is scored."""
    chain = Chain([UniformDequantization(2), Logit(), Affine([shift, -0.1], [0.7, 1.4])])
    kf.export.to_onnx(kf.Flow(chain, (2,)), folder)
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The rows, two exports, and the scores by one machine."""
    root = tmp_path_factory.mktemp("scale")
    export(root / "deployed")
    export(root / "other", 0.9)
    x = np.random.default_rng(0).integers(0, 4, (ROWS, 2)).astype("float32")
    pd.DataFrame(x, columns=["a", "b"]).to_parquet(root / "rows.parquet", row_group_size=33_000)
    scorer = stream.OnnxScorer(root / "deployed", "score")
    data = stream.open_input(root / "rows.parquet", scorer.takes)
    stream.run(scorer, data, root / "single", part_rows=PART)
    return root


class Program:
    """One of the scripts, running.

    Args:
        name: Of the script.
        root: Where the export and the rows are.
        output: Where the scores go.
        options: More arguments.
        deployed: The export.
    """

    def __init__(self, name, root, output, *options, deployed="deployed"):
        paths = [root / deployed, root / "rows.parquet", output]
        self.lines = []
        self.process = subprocess.Popen(
            [sys.executable, "-u", SCRIPTS / name, *paths, "--part-rows", str(PART), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            start_new_session=True,
        )

    def until(self, enough):
        """Reads what it says until a condition holds, or it ends."""
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            if enough(self.lines):
                return
        raise AssertionError("it ended early:\n" + "\n".join(self.lines))

    def end(self):
        """Waits for its end; the exit code, and all that it said."""
        self.lines += [line.rstrip() for line in self.process.stdout]
        return self.process.wait(), "\n".join(self.lines)

    def kill(self):
        """Kills it, and what it started here."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def made(lines):
    """How many parts were recorded."""
    return sum(" parts: part-" in line for line in lines)


def workers(lines):
    """The nodes and processes that made parts, in order."""
    return re.findall(r"by node (\w+), process (\d+)", "\n".join(lines))


# Ray ----------------------------------------------------------------------------------------------


NODE = {"num_cpus": 1, "object_store_memory": 100 * 2**20}


def patiently(start, tries=4):
    """Starts a node of Ray, which gives up after a quarter of a minute where others keep busy."""
    for left in reversed(range(tries)):
        try:
            return start()
        except Exception as error:  # Ray raises no kind of its own here
            if "timed out" not in str(error).lower() or not left:
                raise


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of one processor each; `second` is the one without the head."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(REPOSITORY))
        from ray.cluster_utils import Cluster

        cluster = patiently(
            lambda: Cluster(
                initialize_head=True, head_node_args={**NODE, "include_dashboard": False}
            )
        )
        cluster.second = patiently(lambda: cluster.add_node(**NODE))
        yield cluster
        cluster.shutdown()


def on_ray(cluster, root, output, *options, **more):
    shared = ("--workers", "2", "--address", cluster.address)
    return Program("ray_scores.py", root, output, *shared, *options, **more)


@with_ray
def test_a_node_of_ray_is_killed(cluster, root, tmp_path):
    program = on_ray(cluster, root, tmp_path / "scores")
    second = cluster.second.node_id[:8]
    program.until(lambda lines: second in dict(workers(lines)) and made(lines) >= 5)
    assert made(program.lines) < PARTS
    cluster.remove_node(cluster.second, allow_graceful=False)
    code, said = program.end()
    cluster.second = patiently(lambda: cluster.add_node(**NODE))
    assert code == 0, said
    assert len({node for node, _ in workers(program.lines)}) == 2
    assert sums(tmp_path / "scores") == sums(root / "single")


@with_ray
def test_an_actor_of_ray_is_killed(cluster, root, tmp_path):
    program = on_ray(cluster, root, tmp_path / "scores")
    program.until(lambda lines: made(lines) >= 3 and workers(lines))
    victim = workers(program.lines)[0][1]
    os.kill(int(victim), signal.SIGKILL)
    code, said = program.end()
    assert code == 0, said
    assert sums(tmp_path / "scores") == sums(root / "single")
    assert {process for _, process in workers(program.lines)} > {victim}


@with_ray
def test_the_program_on_ray_is_killed_and_resumed(cluster, root, tmp_path):
    """What it had recorded is not made again; another export in its place is refused."""
    deployed = shutil.copytree(root / "deployed", tmp_path / "deployed")
    (tmp_path / "rows.parquet").symlink_to(root / "rows.parquet")
    program = on_ray(cluster, tmp_path, tmp_path / "scores")
    program.until(lambda lines: made(lines) >= 5)
    program.kill()
    there = stream.read_manifest(tmp_path / "scores")
    assert 5 <= len(there.parts) < PARTS and not there.complete
    times = {
        part.name: (tmp_path / "scores" / part.name).stat().st_mtime_ns for part in there.parts
    }
    shutil.rmtree(deployed)
    shutil.copytree(root / "other", deployed)
    code, said = on_ray(cluster, tmp_path, tmp_path / "scores", "--resume").end()
    assert code == 1 and "is by another flow" in said
    shutil.rmtree(deployed)
    shutil.copytree(root / "deployed", deployed)
    code, said = on_ray(cluster, tmp_path, tmp_path / "scores", "--resume").end()
    assert code == 0, said
    assert sums(tmp_path / "scores") == sums(root / "single")
    for name, time_ns in times.items():
        assert (tmp_path / "scores" / name).stat().st_mtime_ns == time_ns


@with_ray
def test_an_export_that_is_replaced_while_ray_runs(cluster, root, tmp_path):
    """An actor that starts then refuses it, and no part is by two flows."""
    deployed = shutil.copytree(root / "deployed", tmp_path / "deployed")
    (tmp_path / "rows.parquet").symlink_to(root / "rows.parquet")
    program = on_ray(cluster, tmp_path, tmp_path / "scores")
    program.until(lambda lines: made(lines) >= 3 and workers(lines))
    shutil.rmtree(deployed)
    shutil.copytree(root / "other", deployed)
    for _, process in set(workers(program.lines)):
        os.kill(int(process), signal.SIGKILL)
    code, said = program.end()
    if code == 0:  # an actor that had loaded the first export made all the others
        assert sums(tmp_path / "scores") == sums(root / "single")
        return
    assert "was replaced" in said
    right = {name: checksum for name, _, _, checksum in sums(root / "single")}
    for part in stream.read_manifest(tmp_path / "scores").parts:
        assert part.sha256 == right[part.name]


# Beam ---------------------------------------------------------------------------------------------


def processes(group, word):
    """The processes of a group whose command has a word in it."""
    listed = subprocess.run(["ps", "-eo", "pgid,args"], capture_output=True, text=True, check=True)
    lines = (line.split(maxsplit=1) for line in listed.stdout.splitlines()[1:])
    return [args for pgid, args in lines if int(pgid) == group and word in args]


@with_beam
def test_beam_with_several_processes(root, tmp_path):
    code, said = Program("beam_scores.py", root, tmp_path / "scores", "--workers", "2").end()
    assert code == 0, said
    assert sums(tmp_path / "scores") == sums(root / "single")


@with_beam
def test_beam_is_killed_and_resumed(root, tmp_path):
    program = Program("beam_scores.py", root, tmp_path / "scores", "--workers", "2")
    folder, end = tmp_path / "scores", time.monotonic() + 300
    while len(list(folder.glob("part-*"))) < 3:
        assert program.process.poll() is None and time.monotonic() < end, program.end()
        time.sleep(0.01)
    assert len(processes(program.process.pid, "sdk_worker")) >= 2
    program.kill()
    there = {path.name: path.stat().st_mtime_ns for path in folder.glob("part-*")}
    assert len(there) < PARTS and not stream.read_manifest(folder).complete
    code, said = Program("beam_scores.py", root, folder, "--workers", "2", "--resume").end()
    assert code == 0, said
    assert sums(folder) == sums(root / "single")
    for name, time_ns in there.items():
        assert (folder / name).stat().st_mtime_ns == time_ns
