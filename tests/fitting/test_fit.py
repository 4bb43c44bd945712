"""fit: what it trains on, what it keeps, what it writes, and how it goes on."""

import io
import json

import numpy as np
import pandas as pd
import pytest
import rich.console

import keras_flows as kf
from keras_flows.data.columns import Column, Integer, Interval, Positive, Real
from keras_flows.data.schema import Rows, Schema
from keras_flows.fitting import build, defaults, run, training
from keras_flows.fitting.progress import Progress

TINY = {"layers": 1, "bins": 4, "width": 4, "blocks": 1}


def quiet():
    return rich.console.Console(file=io.StringIO())


def frame(n, seed=0):
    rng = np.random.default_rng(seed)
    sex = rng.choice(["f", "m"], n)
    age = rng.normal(40.0, 10.0, n)
    return pd.DataFrame(
        {
            "age": age,
            "dose": np.exp(0.1 * age + rng.normal(size=n) + 2.0 * (sex == "m")),
            "visits": rng.poisson(4.0, n),
            "share": rng.uniform(size=n),
            "angle": 30.0 * rng.normal(size=n),
            "sex": sex,
            "weight": rng.normal(70.0, 5.0, n),
        }
    )


def table(n, seed=0):
    return kf.data.table(
        frame(n, seed),
        kinds={"share": ("interval", 0, 1), "angle": ("periodic", 360.0), "dose": "positive"},
        context=["sex", "weight"],
    )


@pytest.fixture
def eager(monkeypatch):
    """Training without graphs, for tests of a few steps."""
    compile = kf.Flow.compile

    def compiled(self, optimizer="adam", **kwargs):
        compile(self, optimizer, jit_compile=False, run_eagerly=True)

    monkeypatch.setattr(kf.Flow, "compile", compiled)


def test_the_flow_is_in_the_units_of_the_table():
    rows = table(200)
    flow = build.flow_for(rows, "SplineFlow", TINY, 0)
    assert (flow.event_shape, flow.context_shape) == ((5,), (3,))
    assert flow.likelihood == "lower_bound" and flow.schema is rows.schema
    names = [type(step).__name__ for step in flow.transform.innermost()]
    assert names == ["Columns", "Standardize", "Turn", "Autoregressive"]
    standardize = next(s for s in flow.transform.innermost() if s.name.startswith("standardize"))
    np.testing.assert_allclose(standardize.location[0], rows.x[:, 0].mean(), rtol=1e-5)
    # Before training a spline flow is the standardisation: independent normals of the mapped.
    z = flow.encode(rows.x, rows.context, seed=0).numpy()
    np.testing.assert_allclose(z[:, [0, 1]].mean(axis=0), 0.0, atol=1e-4)
    np.testing.assert_allclose(z[:, [0, 1]].std(axis=0), 1.0, atol=1e-4)
    expected = -0.5 * z[:, 1] ** 2 - 0.5 * np.log(2 * np.pi) - np.log(rows.x[:, 1])
    expected -= np.log(np.log(rows.x[:, 1]).std())
    one = kf.data.table(frame(200)[["dose"]], kinds={"dose": "positive"})
    alone = build.flow_for(one, "SplineFlow", TINY, 0)
    np.testing.assert_allclose(alone.log_prob(one.x), expected, rtol=1e-4)


def test_heavy_tails_are_shortened_and_light_ones_left():
    rng = np.random.default_rng(0)
    x = np.stack([rng.standard_cauchy(600), rng.normal(size=600), rng.exponential(size=600)], 1)
    rows = kf.data.table(x, kinds={"2": "real"})
    flow = build.flow_for(rows, "SplineFlow", {"layers": 1, "width": 4}, 0)
    steps = list(flow.transform.innermost())
    assert [type(step).__name__ for step in steps[:2]] == ["Asinh", "Standardize"]
    assert steps[0].keep == [1, 2]
    assert steps[0].location[0] == pytest.approx(np.median(x[:, 0]))
    # The fresh flow already has the tails; a normal density would give -10^5.
    assert flow.log_prob(x).numpy().min() > -40.0
    light = build.flow_for(kf.data.table(x[:, 1:]), "SplineFlow", {"layers": 1, "width": 4}, 0)
    assert not any(type(step).__name__ == "Asinh" for step in light.transform.innermost())


def test_the_context_is_standardised():
    rows = table(200)
    flow = build.flow_for(rows, "SplineFlow", TINY, 0)
    seen = flow.embed(rows.context.astype("float32")).numpy()
    np.testing.assert_array_equal(seen[:, :2], rows.context[:, :2])  # one-hot labels
    np.testing.assert_allclose(seen[:, 2].mean(), 0.0, atol=1e-4)
    np.testing.assert_allclose(seen[:, 2].std(), 1.0, atol=1e-4)


def test_rows_out_of_range_have_a_log_prob_of_minus_infinity():
    rows = table(200)
    flow = build.flow_for(rows, "SplineFlow", TINY, 0)
    x = rows.x[:5].copy()
    x[0, 1], x[1, 2], x[2, 3] = -1.0, 2.5, 1.0
    assert list(rows.schema.outside(x)) == [0, 1, 2]
    log_prob = flow.log_prob(x, rows.context[:5], seed=0).numpy()
    np.testing.assert_array_equal(np.isneginf(log_prob), [True, True, True, False, False])


def test_a_step_of_standardisation_is_added_where_a_model_has_none():
    x = 1e4 + 1e3 * np.random.default_rng(0).normal(size=(99, 2))
    rows = Rows(Schema((Column("a", Real()), Column("b", Real()))), x, {})
    flow = build.flow_for(rows, "ResidualFlow", {"blocks": 1, "widths": [4]}, 0)
    assert np.abs(flow.encode(x)).max() < 10.0
    assert flow.blocks


BAD_ROWS = {
    "large integers": (Integer(), [0.0, 2.0**23], "Integers of 8,388,608 and more .*: b"),
    "far from 0": (Real(), [1e9, 1e9 + 100.0], "Column 'b' varies by"),
    "constant": (Real(), [3.0, 3.0], "Column 'b': is constant"),
    "at a bound": (Interval(0.0, 1.0), [0.5, 1.0 - 1e-12], "out of the bounds of a column"),
    "at 0": (Positive(), [1.0, 1e-42], "out of the bounds of a column"),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_columns_that_float32_has_no_room_for(name):
    kind, ends, message = BAD_ROWS[name]
    x = np.stack([np.arange(40.0), np.resize(ends, 40)], axis=1)
    rows = Rows(Schema((Column("a", Real()), Column("b", kind))), x, {})
    with pytest.raises(ValueError, match=message):
        build.flow_for(rows, "SplineFlow", TINY, 0)


def test_every_epoch_has_its_own_order_known_from_the_seed():
    rows = table(100)
    flow = build.flow_for(rows, "SplineFlow", TINY, 0)
    settings = defaults.settings(100, steps=20)
    whole = list(training._batches(flow, rows, settings, 0))
    later = list(training._batches(flow, rows, settings, 7))
    assert (len(whole), len(later)) == (20, 13)
    for (x, context), (again, context_again) in zip(whole[7:], later, strict=True):
        np.testing.assert_array_equal(x, again)
        np.testing.assert_array_equal(context, context_again)
    epoch = np.concatenate([x for x, _ in whole[:3]])
    assert len(np.unique(epoch[:, 0])) == 96 and epoch.shape == (96, 5)
    assert np.any(whole[0][0] != whole[3][0])
    # The context goes with its row.
    place = {row.tobytes(): i for i, row in enumerate(rows.x.astype("float32"))}
    chosen = [place[row.tobytes()] for row in whole[0][0].numpy()]
    np.testing.assert_allclose(whole[0][1], rows.context[chosen], rtol=1e-6)


def test_the_best_weights_are_kept_and_patience_ends(monkeypatch):
    flow = kf.Flow(kf.transforms.ActNorm(), (2,))
    rows = Rows(Schema((Column("a", Real()), Column("b", Real()))), np.zeros((4, 2)), {})
    settings = defaults.Settings(100, 2, 0.1, 10, patience=2)
    best = training._HeldOut(flow, rows, settings, None)
    scores = iter([5.0, 3.0, 4.0, 3.5, 9.0])
    evaluation = kf.measure.Evaluation(0.0, 0.1, 4, "exact", None)
    monkeypatch.setattr(
        training.evaluation, "evaluate", lambda *_: evaluation._replace(nll=next(scores))
    )
    best.look(0, float("nan"))
    flow.compile("sgd")
    best.set_model(flow)
    stops = []
    for step in (10, 20, 30):
        flow.optimizer.iterations.assign(step)
        flow.transform.bias.assign([float(step), 0.0])
        logs = {"nll_nats": 1.0}
        best.on_epoch_end(step // 10, logs)
        stops.append(flow.stop_training)
        assert logs["best_step"] == 10
    assert stops == [False, False, True] and best.ended == "patience"
    assert [row["held_out"] for row in best.rows] == [5.0, 3.0, 4.0, 3.5]
    best.restore()
    assert float(flow.transform.bias[0]) == 10.0


def test_minutes_end_a_fit(monkeypatch):
    flow = kf.Flow(kf.transforms.ActNorm(), (1,))
    flow.compile("sgd")
    rows = Rows(Schema((Column("a", Real()),)), np.arange(4.0)[:, None], {})
    best = training._HeldOut(flow, rows, defaults.Settings(100, 2, 0.1, 10, 9), 1e-9)
    best.set_model(flow)
    flow.optimizer.iterations.assign(10)
    best.on_epoch_end(0, {"nll_nats": 1.0})
    assert flow.stop_training and best.ended == "minutes"


def test_progress_is_told_in_nats():
    console = rich.console.Console(file=io.StringIO(), width=200)
    progress = Progress(40, console)
    flow = kf.Flow(kf.transforms.ActNorm(), (1,))
    flow.compile("sgd")
    progress.set_model(flow)
    progress.on_train_begin()
    flow.optimizer.iterations.assign(40)
    logs = {"nll_nats": 2.0, "held_out_nll": 2.5, "held_out_standard_error": 0.1, "best_step": 20}
    progress.on_epoch_end(1, logs)
    told = console.file.getvalue()
    assert "step 40 of 40: training 2.0000, held out 2.5000 ± 0.1000 nats, best at step 20" in told


# The whole, at a tiny size ------------------------------------------------------------------------


@pytest.mark.slow
def test_a_fit_from_file_to_preset(eager, tmp_path):
    path = tmp_path / "patients.csv"
    frame(120).drop(columns=["share", "angle"]).to_csv(path, index=False)
    whole = kf.data.table(path, context=["sex"])
    console = quiet()
    fitted = kf.fit(whole, tmp_path / "flow", arguments=TINY, steps=20, console=console)
    flow, report = fitted.flow, fitted.report
    split = whole.split(defaults.holdout(120), 0)
    assert (report.train_rows, report.validation_rows, report.test_rows) == tuple(
        map(len, split[:3])
    )
    assert report.data == "patients.csv, 120 rows" and report.steps == 20
    assert "step 20 of 20" in console.file.getvalue()
    # The test rows made the test and the calibration, and nothing else did.
    test = kf.measure.evaluate(flow, split.test.x, split.test.context)
    assert report.test_nll == pytest.approx(test.nll)
    assert len(flow.calibration) == len(split.test)
    assert flow.calibration.data == f"patients.csv, {len(split.test)} held-out rows"
    scores = kf.detect.scores(flow, split.test.x, flow.calibration, split.test.context)
    np.testing.assert_allclose(np.sort(scores), flow.calibration.scores, rtol=1e-5)
    loaded = kf.zoo.load(tmp_path / "flow")
    assert loaded.schema == whole.schema
    for rows in split[:3]:
        np.testing.assert_allclose(
            loaded.log_prob(rows.x, rows.context, seed=1),
            flow.log_prob(rows.x, rows.context, seed=1),
            rtol=1e-5,
        )
    metadata = kf.zoo.show(tmp_path / "flow")
    assert metadata.test.nll == pytest.approx(report.test_nll)
    assert metadata.training["train rows"] == report.train_rows
    assert metadata.training["warnings"].startswith("Few rows: 72 to train")
    assert not (tmp_path / "flow.training").exists()
    again = kf.fit(whole, arguments=TINY, steps=20, console=quiet())
    assert again.report.test_nll == report.test_nll
    np.testing.assert_array_equal(again.flow.calibration.scores, flow.calibration.scores)


@pytest.mark.slow
def test_training_rows_alone_set_the_standardisation(eager):
    whole = table(100)
    fitted = kf.fit(whole, arguments=TINY, steps=1, console=quiet())
    train = whole.split(defaults.holdout(100), 0).train
    step = next(s for s in fitted.flow.transform.innermost() if hasattr(s, "location"))
    np.testing.assert_allclose(step.location[0], train.x[:, 0].mean(), rtol=1e-5)


class _Killed(Exception):
    pass


@pytest.mark.slow
def test_a_killed_fit_goes_on_to_the_same_end(eager, tmp_path, monkeypatch):
    whole = table(120)
    arguments = {"arguments": TINY, "steps": 60, "console": quiet()}
    expected = kf.fit(whole, tmp_path / "a", **arguments)
    monkeypatch.setattr(training, "SAVE_MINUTES", 0.0)
    shown = Progress.on_epoch_end

    def killed(self, epoch, logs=None):
        if epoch == 2:
            raise _Killed
        shown(self, epoch, logs)

    monkeypatch.setattr(Progress, "on_epoch_end", killed)
    with pytest.raises(_Killed):
        kf.fit(whole, tmp_path / "b", **arguments)
    monkeypatch.setattr(Progress, "on_epoch_end", shown)
    state = tmp_path / "b.training"
    files = {path.name for path in state.iterdir()}
    assert files == {"state.keras", "progress.npz", "plan.json", "lock"}
    with pytest.raises(kf.PresetError, match=r"did not end: resume it \(resume=True"):
        kf.fit(whole, tmp_path / "b", **arguments)
    with pytest.raises(kf.PresetError, match=r"of another fit: .*steps changed"):
        kf.fit(whole, tmp_path / "b", resume=True, **{**arguments, "steps": 80})
    made = kf.fit(whole, tmp_path / "b", resume=True, **arguments)
    assert made.report.steps == 60 and not state.exists()
    assert made.report.test_nll == expected.report.test_nll
    assert made.report.best_step == expected.report.best_step
    np.testing.assert_array_equal(made.flow.calibration.scores, expected.flow.calibration.scores)


@pytest.mark.slow
def test_rows_of_validation_from_a_file(eager, tmp_path):
    whole = kf.data.table(frame(100)[["age", "weight"]])
    frame(30, 9)[["weight", "age"]].to_csv(tmp_path / "v.csv", index=False)
    fitted = kf.fit(whole, validation=tmp_path / "v.csv", arguments=TINY, steps=2, console=quiet())
    assert fitted.report.validation_rows == 30
    flow = fitted.flow
    nll = kf.measure.evaluate(flow, frame(30, 9)[["age", "weight"]].to_numpy()).nll
    assert fitted.report.validation_nll == pytest.approx(nll)


@pytest.mark.slow
def test_a_fit_learns(tmp_path):
    rng = np.random.default_rng(0)
    a = rng.normal(size=2000)
    x = np.stack([a, a**2 + 0.1 * rng.normal(size=2000)], axis=1)
    report = kf.fit(x, steps=400, console=quiet()).report
    assert report.warnings == []
    entropy = 0.5 * np.log(2 * np.pi * np.e) * 2 + np.log(0.1)
    assert report.test_nll < entropy + 0.25 < report.gaussian_test_nll - 1.0


def test_the_plan_is_plain(tmp_path):
    whole = table(100)
    settings = defaults.settings(60)
    (tmp_path / "p").mkdir()
    run._plan(tmp_path / "p", whole, whole, "SplineFlow", {"bins": 4}, settings, False)
    plan = json.loads((tmp_path / "p" / "plan.json").read_text())
    assert plan["model"] == "SplineFlow" and plan["arguments"] == {"bins": 4}
    assert len(plan["data"]) == 64 and plan["steps"] == settings.steps
    (tmp_path / "p" / "state.keras").write_text("")
    run._plan(tmp_path / "p", whole, whole, "SplineFlow", {"bins": 4}, settings, True)
    with pytest.raises(kf.PresetError, match=r"of another fit: .*arguments"):
        run._plan(tmp_path / "p", whole, whole, "SplineFlow", {"bins": 8}, settings, True)
    other = table(100, seed=1)
    with pytest.raises(kf.PresetError, match=r"of another fit: .*data"):
        run._plan(tmp_path / "p", other, whole, "SplineFlow", {"bins": 4}, settings, True)
    (tmp_path / "p" / "plan.json").write_text("{")
    with pytest.raises(kf.PresetError, match="no plan of a fit"):
        run._plan(tmp_path / "p", whole, whole, "SplineFlow", {"bins": 4}, settings, True)
