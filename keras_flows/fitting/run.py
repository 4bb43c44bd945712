"""fit: a table in, a flow out, with its test, its calibration and its preset."""

import contextlib
import hashlib
import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rich.console

from keras_flows import checks
from keras_flows.data import Table, table
from keras_flows.data.schema import Rows
from keras_flows.detect.calibration import fingerprint
from keras_flows.detect.scoring import calibrate
from keras_flows.errors import PresetError
from keras_flows.files import complete_file, locked
from keras_flows.fitting import build, defaults, training
from keras_flows.fitting.gaussian import Gaussian
from keras_flows.fitting.progress import Progress, say
from keras_flows.fitting.report import Report
from keras_flows.flow import Flow
from keras_flows.measure import evaluation
from keras_flows.zoo import preset


class Fitted(NamedTuple):
    """What `fit` returns.

    Attributes:
        flow: The flow, with the best weights, its schema and its calibration.
        report: The `Report`; `print(report)` is for people.
        metadata: What `Flow.save_to_preset` is to be told of the fit, arguments by name.
    """

    flow: Flow
    report: Report
    metadata: dict[str, Any]


def fit(
    data: Any,
    folder: str | Path | None = None,
    model: str = defaults.MODEL,
    arguments: Mapping[str, Any] | None = None,
    validation: Any = None,
    holdout: float | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    seed: int = 0,
    resume: bool = False,
    console: rich.console.Console | None = None,
) -> Fitted:
    """Fits a flow to a table: splits, trains, tests, calibrates, writes a preset.

    It is a recipe over `Flow.fit`, with defaults by rules (see `keras_flows.fitting.settings`):

    * The rows are split at random, equal rows always together: to train, to choose the weights, and
      to test.
    * The columns go through the exact maps of their kinds and a `Standardize`, whose numbers are
      those of the training rows; log_prob stays in nats per row in the units of the table.
    * Adam along a cosine; the rows to choose by are looked at after every epoch, training stops
      where they get no better, and the weights in the end are the best ones.
    * The test rows, used for nothing before, give the test NLL, and the scores of the calibration,
      by which `keras_flows.detect.decide` makes p-values.

    The same arguments give the same flow on the same machine.

    >>> fitted = kf.fit("patients.csv", "my_flow")
    >>> print(fitted.report)

    Args:
        data: A `keras_flows.data.Table`, or what `keras_flows.data.table` takes: a file, a frame,
            an array.
        folder: Where to write the preset; None to write none. Beside it, `folder.training` holds
            the state of training, at most a minute old, until the fit is done.
        model: The class of the model, one on vectors in `keras_flows.models`.
        arguments: Arguments of that class, instead of the rules for it.
        validation: Rows to choose the weights by, a source of the same columns; half of what is
            held out by default.
        holdout: The share of the rows to hold out, half to choose by and half to test on; by
            default 0.2, or more of a small table (`keras_flows.fitting.defaults.holdout`).
        steps: Training steps at most; by the rule by default.
        minutes: Training stops after so many.
        seed: Of everything random.
        resume: Whether to go on from a saved state, where there is one.
        console: Where progress is shown; standard error by default.

    Returns:
        A `Fitted`.

    Raises:
        BlockingIOError: If another process fits into the folder.
        NonFiniteError: If training meets NaN or infinity.
        PresetError: If the folder holds something that is not a preset, or a state of training is
            there and `resume` is not set, or it is of another fit.
        TypeError: If the data are no table.
        ValueError: If the table cannot be fitted, or an argument does not fit.
    """
    began = time.monotonic()
    console = console or rich.console.Console(stderr=True)
    _check(folder, steps, minutes, seed, resume, holdout, arguments)
    of_table = data if isinstance(data, Table) else table(data)
    if len(of_table) < defaults.FEWEST_ROWS:
        raise ValueError(
            f"{of_table.name} has {len(of_table)} rows; a fit needs at least "
            f"{defaults.FEWEST_ROWS}, to train, to choose by and to test on."
        )
    split = of_table.split(defaults.holdout(len(of_table)) if holdout is None else holdout, seed)
    held_out: Rows = split.validation
    if validation is not None:
        held_out = _arranged(of_table, validation)
    for name, rows in (("validation", held_out), ("test", split.test)):
        if len(rows) < 2:
            raise ValueError(
                f"{of_table.name} has {len(of_table)} rows, which leaves {len(rows)} for the "
                f"{name}; a standard error needs two. Hold out more."
            )
    settings = defaults.settings(len(split.train), steps, seed=seed)
    work = None if folder is None else _work(folder)
    flow = build.flow_for(split.train, model, arguments or {}, seed)
    with contextlib.ExitStack() as held:
        if work is not None:
            work.mkdir(parents=True, exist_ok=True)
            held.enter_context(locked(work / "lock", f"fits into {work}"))
            _plan(work, of_table, held_out, model, arguments, settings, resume)
        trained = _train(flow, split.train, held_out, settings, work, minutes, console)
        flow = trained.flow
        say(console, f"testing and calibrating on {len(split.test):,} rows")
        flow.converge()
        test = evaluation.evaluate(flow, split.test.x, split.test.context)
        flow.calibration = calibrate(
            flow,
            split.test.x,
            f"{Path(of_table.name).name}, {len(split.test):,} held-out rows",
            context=split.test.context,
            seed=seed,
            data_sha256=_sha256(split.test),
        )
        gaussian = Gaussian(split.train.x, split.train.context)
        report = Report(
            data=f"{Path(of_table.name).name}, {len(of_table):,} rows",
            model=model,
            parameters=sum(int(np.prod(v.shape)) for v in flow.trainable_variables),
            likelihood=flow.likelihood,
            columns=len(of_table.schema.event),
            train_rows=len(split.train),
            validation_rows=len(held_out),
            test_rows=len(split.test),
            repeated_rows=split.repeated,
            dropped_rows=of_table.dropped,
            steps=trained.steps,
            best_step=trained.best_step,
            ended=trained.ended,
            seconds=round(time.monotonic() - began, 1),
            validation_nll=min(row["held_out"] for row in trained.history),
            test_nll=test.nll,
            test_standard_error=test.standard_error,
            gaussian_validation_nll=-float(gaussian.log_prob(held_out.x, held_out.context).mean()),
            gaussian_test_nll=-float(gaussian.log_prob(split.test.x, split.test.context).mean()),
            smallest_p_value=flow.calibration.smallest_p_value,
        )
        told = _metadata(report, settings, trained, arguments)
        if folder is not None and work is not None:
            flow.save_to_preset(folder, **told)
            shutil.rmtree(work)
    return Fitted(flow, report, told)


def _check(folder, steps, minutes, seed, resume, holdout, arguments):
    """Checks the arguments before any work."""
    if folder is not None:
        preset.check_target(folder)
        state = _work(folder)
        if (state / training.STATE).exists() and not resume:
            raise PresetError(
                f"{state} is there from a fit before that did not end: resume it (resume=True, "
                f"--resume), or remove {state}."
            )
    elif resume:
        raise ValueError("resume needs the folder of the fit that is to go on.")
    if steps is not None:
        checks.count(steps, "steps")
    if minutes is not None:
        checks.positive(minutes, "minutes")
    checks.count(seed, "seed", least=0)
    checks.flag(resume, "resume")
    if holdout is not None:
        checks.number(holdout, "holdout", checks.TINY, 1.0 - checks.EPSILON, "in (0, 1)")
    if arguments is not None and not isinstance(arguments, Mapping):
        raise ValueError(f"arguments must be a dictionary by name; got {arguments!r}.")


def _arranged(of_table, source):
    """The rows of another source, all of them inside the ranges of the columns."""
    rows = of_table.schema.arrange(source)
    if rows.reasons:
        row, reason = next(iter(rows.reasons.items()))
        raise ValueError(
            f"{len(rows.reasons)} of {len(rows)} validation rows are out of range, the first at "
            f"index {row}: {reason}. Their NLL is infinite: remove them, or give other kinds."
        )
    return rows


def _work(folder):
    folder = Path(folder)
    return folder.with_name(f"{folder.name}.training")


def _plan(work, of_table, held_out, model, arguments, settings, resume):
    """Writes what the fit is into the folder of its state, or checks that it is the same."""
    plan = {
        "data": _sha256(of_table),
        "validation": _sha256(held_out),
        "schema": of_table.schema.to_json(),
        "model": model,
        "arguments": dict(arguments or {}),
        **settings.to_json(),
    }
    text = json.dumps(plan, indent=2, default=str) + "\n"
    path = work / training.PLAN
    if resume and (work / training.STATE).exists():
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise PresetError(f"{path} is no plan of a fit ({error}): remove {work}.") from None
        now = json.loads(text)
        changed = [key for key in now | before if now.get(key) != before.get(key)]
        if changed:
            raise PresetError(
                f"{work} is of another fit: {', '.join(changed)} changed. Give what was given "
                f"then, or remove {work}."
            )
    with complete_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _train(flow, rows, held_out, settings, work, minutes, console):
    progress = Progress(settings.steps, console)
    try:
        return training.train(flow, rows, held_out, settings, work, minutes, (progress,))
    finally:
        progress.close()


def _sha256(rows):
    """The SHA-256 of rows with their context."""
    digest = hashlib.sha256(fingerprint(rows.x).encode())
    for name, values in rows.context_columns.items():
        digest.update(f"{name} {fingerprint(values)}".encode())
    return digest.hexdigest() if rows.context_columns else fingerprint(rows.x)


def _metadata(report, settings, trained, arguments):
    """What the preset says of the fit."""
    told = report.to_json()
    warnings = told.pop("warnings")
    kept = ("validation_nll", "gaussian_validation_nll", "gaussian_test_nll")
    kept += ("train_rows", "validation_rows", "test_rows", "repeated_rows", "dropped_rows")
    some = trained.history[-1 :: -max(1, len(trained.history) // 10)]
    return {
        "summary": f"{report.model} fitted to {report.data}.",
        "data": report.data,
        "test": {
            "nll": report.test_nll,
            "standard_error": report.test_standard_error,
            "examples": report.test_rows,
            "data": f"{report.data}: rows held out of it",
        },
        "training": {
            "command": "keras-flows fit",
            "model": report.model,
            **({"arguments": dict(arguments)} if arguments else {}),
            **settings.to_json(),
            "steps made": report.steps,
            "best step": report.best_step,
            "ended": report.ended,
            **{
                name.replace("_", " "): round(told[name], 4) if "nll" in name else told[name]
                for name in kept
            },
            **({"warnings": " ".join(warnings)} if warnings else {}),
            "learning_curve": {row["step"]: round(row["held_out"], 4) for row in reversed(some)},
        },
    }
