"""How long a user waits for the first update of a flow, and how much memory it takes.

Every case runs in a process of its own: it makes the flow, and fits it for some updates. Counted
are the seconds of processor time from `fit` to the end of the first update, the median of those of
the later updates, and the peak memory of the process. With `--against REV` the same cases run on
that commit too, in turns with this one. Results go to docs/performance.json and
docs/performance.md.

    python scripts/benchmark_first_step.py [CASE …] [--against REV] [--rounds 3]
"""

import datetime
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import marked
import rich.console
import typer

ROOT = Path(__file__).resolve().parents[1]
RESULTS, PAGE = ROOT / "docs/performance.json", ROOT / "docs/performance.md"
SCRIPT = "scripts/benchmark_first_step.py"
UPDATES = 6
# Of a case: what it is, the flow, the shape of a batch, whether it is of integers.
CASES = {
    "toy": ("`idensenet_lc_two_moons`, 500 points", "zoo:idensenet_lc_two_moons", 500),
    "columns": ("exact `IDenseNet` on 30 columns, 200 rows", "IDenseNet", 200),
    "spline": ("`SplineFlow` on 30 columns, 200 rows", "SplineFlow", 200),
    "denseflow": ("`denseflow_mnist`, 32 images", "zoo:denseflow_mnist", 32),
    "image": ("`idensenet_lc_mnist`, 32 images", "zoo:idensenet_lc_mnist", 32),
}
_err = rich.console.Console(stderr=True)


def work(case):
    """Runs a case in this process, and prints what it took as JSON."""
    import keras
    import numpy as np

    import keras_flows as kf

    _, what, batch = CASES[case]
    if not what.startswith("zoo:") and not hasattr(kf.models, what):
        print(json.dumps(None))  # a commit before that family
        return
    if what.startswith("zoo:"):
        flow = kf.zoo.load(what.removeprefix("zoo:"))
    else:
        arguments = {"log_det": "exact"} if what == "IDenseNet" else {}
        flow = getattr(kf.models, what)((30,), **arguments)
    rng = np.random.default_rng(0)
    shape = (UPDATES * batch, *flow.event_shape)
    x = rng.integers(0, 2**flow.bits, shape) if flow.bits else rng.standard_normal(shape)
    ends = []

    def note(batch, logs=None):
        ends.append(time.process_time())

    flow.compile(keras.optimizers.Adam(1e-4))
    begin = time.process_time()
    callback = keras.callbacks.LambdaCallback(on_train_batch_end=note)
    flow.fit(x.astype("float32"), batch_size=batch, callbacks=[callback], verbose=0)
    steps = np.diff([begin, *ends])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    made = {"first": steps[0], "later": statistics.median(steps[1:]), "memory": peak / 2**20}
    print(json.dumps(made))


def measured(case, tree):
    """What a case takes with the package of a source tree, a dictionary."""
    command = [sys.executable, str(Path(__file__).resolve()), "--work", case]
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    done = subprocess.run(command, env=environment, cwd=tree, capture_output=True, text=True)
    if done.returncode:
        raise typer.BadParameter(f"{case} failed in {tree}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def table(results):
    """The results in a Markdown table."""
    rows = ["| case | commit | first update, s | later updates, s | peak memory, GB |"]
    rows.append("| --- " * 5 + "|")
    for result in results:
        numbers = (f"{result[name]:.2f}" for name in ("first", "later", "memory"))
        cells = CASES[result["case"]][0], f"`{result['commit']}`", *numbers
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def main(
    cases: Annotated[list[str] | None, typer.Argument(help="All by default")] = None,
    against: Annotated[str | None, typer.Option(help="A commit to compare with")] = None,
    rounds: Annotated[int, typer.Option(help="Processes of each case and commit", min=1)] = 3,
    work_on: Annotated[str | None, typer.Option("--work", hidden=True)] = None,
):
    """Measures the wait for the first update, and writes it into the documentation."""
    if work_on is not None:
        work(work_on)
        return
    for case in cases or ():
        if case not in CASES:
            raise typer.BadParameter(f"{case!r} is none of {', '.join(CASES)}.")

    def git(*arguments):
        return subprocess.run(
            ["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout.strip()

    with tempfile.TemporaryDirectory() as scratch:
        trees = {git("rev-parse", "--short", "HEAD"): ROOT}
        if against is not None:
            other = Path(scratch) / "tree"
            git("worktree", "add", "--detach", str(other), against)
            trees = {git("rev-parse", "--short", against): other, **trees}
        results = []
        try:
            for case in cases or CASES:
                taken = {commit: [] for commit in trees}
                for _ in range(rounds):
                    for commit, tree in trees.items():
                        taken[commit].append(measured(case, tree))
                for commit, runs in taken.items():
                    if None in runs:
                        continue
                    medians = {name: statistics.median(r[name] for r in runs) for name in runs[0]}
                    results.append({"case": case, "commit": commit, "runs": rounds, **medians})
                    _err.print(results[-1])
        finally:
            if against is not None:
                git("worktree", "remove", "--force", str(other))
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    report = {"date": f"{datetime.date.today()}", "machine": machine, "results": results}
    RESULTS.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    note = f"Measured on {report['date']} ({machine}), medians of {rounds} processes in turns."
    marked.update(PAGE, SCRIPT, f"{note}\n\n{table(results)}")


if __name__ == "__main__":
    typer.run(main)
