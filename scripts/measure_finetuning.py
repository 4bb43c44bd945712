"""What fine-tuning does to the flows of the zoo, on a mild shift and on their own data.

    python scripts/measure_finetuning.py                      # every entry; an hour and more
    python scripts/measure_finetuning.py denseflow_mnist --data-dir DIR --seeds 3

Each entry is fine-tuned with the defaults of `keras_flows.training.finetune`, for three epochs on
500 images, points or rows, once for every seed and shift. Before and after it is scored on up to
500 test images, or 5,000 points or rows, that took no part; of photographs, whose test patches are
of others, 500 more of the training patches. The rows of a table are samples of the entry itself,
drawn at a temperature of 1.5 for the shift: that respects what its columns can be.

Results go to docs/finetuning.json, which keeps those of entries that are not measured again, and as
a table to docs/finetuning.md. Fails where an entry got worse: by more than two standard errors of
the change on the shift, or by more than the standard error of its score on its own data.
"""

import json
import math
import sys
from pathlib import Path
from typing import Annotated

import marked
import numpy as np
import rich.console
import typer

import keras_flows as kf
from keras_flows.measure import evaluation
from keras_flows.numerics.events import bits_per_dim
from keras_flows.training import finetune

DOCS = Path(__file__).resolve().parents[1] / "docs"
RESULTS, PAGE = DOCS / "finetuning.json", DOCS / "finetuning.md"
SCRIPT = "scripts/measure_finetuning.py"
EXAMPLES, EPOCHS = 500, 3
TEST_IMAGES, TEST_POINTS = 500, 5_000
SHIFTS = {
    "points": {"scaled by 1.1": lambda x: 1.1 * x, "its own": lambda x: x},
    "images": {"mirrored": lambda x: x[:, :, ::-1], "its own": lambda x: x},
    # Mirrored photographs are photographs.
    "colour images": {"half as bright": lambda x: x // 2, "its own": lambda x: x},
    "rows": {"temperature 1.5": 1.5, "its own": 1.0},
}
_err = rich.console.Console(stderr=True)


def data_of(entry, flow, seed, data_dir=None):
    """Training and test examples of the data of an entry: `((x, context), (x, context))`."""
    if len(flow.event_shape) == 1:
        density = kf.data.toy(entry.training["data"]["toy"])
        return [(density.sample(n, seed=(seed, n)), None) for n in (EXAMPLES, TEST_POINTS)]
    name, labels = entry.training["data"]["images"], flow.labels is not None
    options = {"data_dir": data_dir, "bits": flow.bits, "resize": flow.event_shape[:2]}
    # The test patches of photographs are of others: not what the training patches stand for.
    test, skipped = ("train", EXAMPLES) if kind_of(entry) == "colour images" else ("test", 0)
    parts = []
    for split, first, n in (("train", 0, EXAMPLES), (test, skipped, TEST_IMAGES)):
        images = kf.data.images(name, split, labels=labels, **options)
        order = np.random.default_rng((seed, n)).permutation(len(images))
        chosen = np.sort(order[first : first + n])
        parts.append((np.asarray(images.pixels[chosen]), images.labels[chosen] if labels else None))
    return parts


def kind_of(entry):
    """What the examples of an entry are: a key of `SHIFTS`."""
    if entry.columns is not None:
        return "rows"
    if len(entry.event_shape) != 3:
        return "points"
    return "images" if entry.event_shape[-1] == 1 else "colour images"


def mild_shift(entry):
    """The name of the shift of an entry that is not its own data."""
    return next(iter(SHIFTS[kind_of(entry)]))


def shifted(entry, flow, shift, seed, data_dir=None):
    """Training and test examples with their contexts: `((x, context), (x, context))`."""
    change = SHIFTS[kind_of(entry)][shift]
    if kind_of(entry) != "rows":
        return [(change(x), context) for x, context in data_of(entry, flow, seed, data_dir)]
    parts = []
    for n in (EXAMPLES, TEST_POINTS):
        context = None
        if flow.schema.context:  # one category, in all entries
            (column,) = flow.schema.context
            levels = np.random.default_rng((seed, n)).integers(len(column.levels), size=n)
            context = np.eye(len(column.levels))[levels]
        draws = flow.sample(n, seed=(seed, n), temperature=change, context=context)
        parts.append((draws.numpy(), context))
    return parts


def measure(entry, shift, seed, data_dir=None):
    """Fine-tunes an entry to a shift of its data, and scores it before and after.

    Returns:
        Dictionary of the NLL `before` and `after`, the `gain`, which is their difference, the
        standard errors over the test examples of `before` and, example by example, of the gain, all
        in nats; and the `epoch` that was kept.
    """
    flow = kf.zoo.load(entry.name)
    (x, context), test = shifted(entry, flow, shift, seed, data_dir)
    before = evaluation.log_probs(flow, *test).astype("float64")
    result = finetune(flow, x, context, epochs=EPOCHS, seed=seed)
    after = evaluation.log_probs(flow, *test).astype("float64")
    root = math.sqrt(len(before))
    return {
        "entry": entry.name,
        "shift": shift,
        "seed": seed,
        "test": len(before),
        "before": -before.mean(),
        "before_error": before.std(ddof=1) / root,
        "after": -after.mean(),
        "gain": (after - before).mean(),
        "gain_error": (after - before).std(ddof=1) / root,
        "epoch": result.epoch,
        "learning_rate": result.settings["learning_rate"],
    }


def is_worse(result):
    """Whether fine-tuning harmed: see the top of this file."""
    own = result["shift"] == "its own"
    return result["gain"] < -(result["before_error"] if own else 2.0 * result["gain_error"])


def read(path):
    """The results of earlier runs, a list."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def table(results):
    """The results in a Markdown table, the seeds of an entry and shift in one row."""
    rows = [
        "| entry | data | test examples | seeds | rate | before | after | gain | epoch kept |",
        "| --- " * 9 + "|",
    ]
    groups = {}
    for result in results:
        groups.setdefault((result["entry"], result["shift"]), []).append(result)
    for (entry, shift), runs in sorted(groups.items()):
        shape = kf.zoo.show(entry).event_shape
        scale, unit = (1.0, "nats") if len(shape) == 1 else (bits_per_dim(1.0, shape), "bits/dim")
        before, after, gain = (
            scale * np.mean([run[name] for run in runs]) for name in ("before", "after", "gain")
        )
        error = scale * math.hypot(*(run["gain_error"] for run in runs)) / len(runs)
        cells = (
            f"`{entry}`",
            shift,
            f"{runs[0]['test']:,}",
            len(runs),
            f"{runs[0]['learning_rate']:.1e}",
            f"{before:.4f}",
            f"{after:.4f} {unit}",
            f"{gain:.4f} ± {error:.4f}",
            ", ".join(str(run["epoch"]) for run in runs),
        )
        rows.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(rows)


def main(
    entries: Annotated[list[str] | None, typer.Argument(help="Entries; all by default")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Of TensorFlow Datasets")] = None,
    seeds: Annotated[int, typer.Option(help="Fine-tunings of each entry and shift", min=1)] = 1,
):
    """Measures fine-tuning, and writes the results into the documentation."""
    results = read(RESULTS)
    worse = []
    for name in entries or [entry.name for entry in kf.zoo.list()]:
        entry = kf.zoo.show(name)
        results = [result for result in results if result["entry"] != name]
        for shift in SHIFTS[kind_of(entry)]:
            for seed in range(seeds):
                result = measure(entry, shift, seed, data_dir)
                results.append(result)
                if is_worse(result):
                    worse.append(result)
                _err.print(
                    f"{name}, {shift}, seed {seed}: {result['before']:.4f} → "
                    f"{result['after']:.4f} nats, gain {result['gain']:.4f} ± "
                    f"{result['gain_error']:.4f}",
                    highlight=False,
                    soft_wrap=True,
                )
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        marked.update(PAGE, SCRIPT, table(results))
    for result in worse:
        _err.print(f"[red]worse:[/] {result['entry']}, {result['shift']}, seed {result['seed']}")
    sys.exit(bool(worse))


if __name__ == "__main__":
    typer.run(main)
