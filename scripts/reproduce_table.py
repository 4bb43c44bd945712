"""Regenerates docs/table.md: every family of flows on images, on the same data, in the same time.

    python scripts/reproduce_table.py mnist --data-dir DIR       # hours: 20 minutes for each family
    python scripts/reproduce_table.py digits --minutes 5 --seeds 3
    python scripts/reproduce_table.py digits --minutes 1 glow denseflow   # only these

The budget is processor time of updates, on however many cores, after the first update, which is
compiled. Every family has the same search: each of three rates for a twentieth of the budget, from
the same start, and the one that is best on held-out training images for a quarter, and if that is
better, for the whole of it, each by a cosine of the time spent. The rest is the same, too: Adam,
batches of 32, the gradient clipped at a norm of 1, no averages of weights, and of five moments of
each longer run the one that is best on the held-out images, averages of batch normalisation taken
anew for each.

Each row is made in a process of its own, whose peak memory is reported, and is kept in
docs/table.json as soon as it is there: a run that was stopped goes on with the rows that are
missing. Rows with another budget are made anew.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import marked
import numpy as np
import typer
from table_families import FAMILIES
from table_run import make_row

ROOT = Path(__file__).resolve().parents[1]
RESULTS, PAGE = ROOT / "docs" / "table.json", ROOT / "docs" / "table.md"
SCRIPT = "scripts/reproduce_table.py"
COLUMNS = (
    "flow",
    "test bits/dim",
    "likelihood",
    "parameters",
    "rate",
    "images trained on",
    "minutes",
    "images/s, training",
    "scoring",
    "sampling",
    "peak memory, GB",
)


def read(path):
    """The rows of earlier runs, a list."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def table(rows):
    """The rows of one data set and budget in a Markdown table, the best first."""
    groups = {}
    for row in rows:
        groups.setdefault(row["family"], []).append(row)
    lines = [f"| {' | '.join(COLUMNS)} |", "| --- " * len(COLUMNS) + "|"]

    def mean(runs, name):
        return float(np.mean([run[name] for run in runs]))

    for family, runs in sorted(groups.items(), key=lambda pair: mean(pair[1], "bits_per_dim")):
        score = f"{mean(runs, 'bits_per_dim'):.4f}"
        score += f" ± {mean(runs, 'bits_per_dim_standard_error'):.4f}"
        if len(runs) > 1:
            each = [run["bits_per_dim"] for run in runs]
            score += f", {min(each):.4f} to {max(each):.4f}"
        cells = (
            FAMILIES[family][0],
            score,
            runs[0]["likelihood"].replace("_", " "),
            f"{runs[0]['parameters']:,}",
            ", ".join(sorted({f"{run['rate']:g}" for run in runs})),
            f"{mean(runs, 'images'):,.0f}",
            f"{mean(runs, 'trained_seconds') / 60:.1f}",
            f"{mean(runs, 'images_per_second_training'):,.0f}",
            f"{mean(runs, 'images_per_second_scoring'):,.0f}",
            f"{mean(runs, 'images_per_second_sampling'):,.1f}",
            f"{max(run['peak_memory_gb'] for run in runs):.1f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def page(rows):
    """The generated part of the page: a table for each data set, and what it was made with."""
    parts = []
    for data in ("mnist", "digits"):
        some = [row for row in rows if row["data"] == data]
        if not some:
            parts.append(f"## {TITLES[data]}\n\nNot run yet.")
            continue
        minutes = ", ".join(sorted({f"{row['minutes']:g}" for row in some}))
        seeds = len({row["seed"] for row in some})
        missing = [
            FAMILIES[name][0] for name in FAMILIES if name not in {r["family"] for r in some}
        ]
        made = f"Budget: at most **{minutes} processor minutes** for each row; {seeds} seed"
        made += (
            f"{'s' if seeds > 1 else ''}; {some[0]['test_images']:,} test images, one draw each."
        )
        if missing:
            made += f" Not run: {', '.join(missing)}."
        parts.append(f"## {TITLES[data]}\n\n{made}\n\n{table(some)}")
    return "\n\n".join(parts)


TITLES = {"mnist": "MNIST, 28×28, 8 bits", "digits": "Digits, 8×8, 5 bits"}


def main(
    data: Annotated[str, typer.Argument(help="mnist or digits")],
    families: Annotated[list[str] | None, typer.Argument(help="Families; all by default")] = None,
    minutes: Annotated[float, typer.Option(help="Processor minutes of a row")] = 20.0,
    seeds: Annotated[int, typer.Option(min=1)] = 1,
    data_dir: Annotated[Path | None, typer.Option(help="Of TensorFlow Datasets")] = None,
    row: Annotated[
        Path | None, typer.Option(help="Make one row in this process, into this file", hidden=True)
    ] = None,
    seed: Annotated[int, typer.Option(hidden=True)] = 0,
):
    """Makes the rows that are missing, and writes docs/table.json and docs/table.md."""
    if data not in TITLES:
        sys.exit(f"data is {' or '.join(TITLES)}; got {data!r}.")
    for name in families or []:
        if name not in FAMILIES:
            sys.exit(f"There is no family {name!r}; there are {', '.join(FAMILIES)}.")
    if row is not None:
        made = make_row(families[0], data, seed, minutes, data_dir)
        row.write_text(json.dumps(made), encoding="utf-8")
        return
    failed = []
    for name in families or FAMILIES:
        for one in range(seeds):
            rows = read(RESULTS)
            key = {"family": name, "data": data, "seed": one, "minutes": minutes}
            if any(key.items() <= done.items() for done in rows):
                continue
            with tempfile.TemporaryDirectory() as scratch:
                path = Path(scratch) / "row.json"
                options = [f"--minutes={minutes}", f"--seed={one}", f"--row={path}"]
                options += [] if data_dir is None else [f"--data-dir={data_dir}"]
                command = [sys.executable, __file__, data, name, *options]
                if subprocess.run(command, check=False).returncode:
                    failed.append(f"{name}, seed {one}")
                    continue
                made = json.loads(path.read_text(encoding="utf-8"))
            # Of another budget: made anew.
            same = ("family", "data", "seed")
            rows = [r for r in read(RESULTS) if any(r[k] != made[k] for k in same)]
            rows = sorted([*rows, made], key=lambda r: tuple(str(r[k]) for k in same))
            RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
            marked.update(PAGE, SCRIPT, page(rows))
            print(
                f"{name} on {data}, seed {one}: {made['bits_per_dim']:.4f} bits/dim, rate "
                f"{made['rate']:g}, {made['images']:,} images",
                flush=True,
            )
    if failed:
        sys.exit("Failed: " + "; ".join(failed))


if __name__ == "__main__":
    typer.run(main)
