"""FlowDetector: scikit-learn's checks, PyOD's conventions, rates of flags."""

import pickle
import subprocess
import sys

import keras
import numpy as np
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from keras_flows import Flow, models
from keras_flows.detect import FlowDetector
from keras_flows.fitting import defaults
from keras_flows.transforms import ActNorm, Affine
from tests.detect.gaussian import conditional, gaussian

CHECKS = [check for _, check in estimator_checks_generator(FlowDetector(gaussian))]


# By their own names: scikit-learn's hold the address of a function, another in every process.
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.func.__name__)
def test_scikit_learn_agrees(check):
    check(FlowDetector(gaussian))


# By the rules of kf.fit, at a tiny size. 0.1 would need 13 rows, and some checks have ten.
BY_RULE = {"flow": None, "contamination": 0.3, "epochs": 1}


@pytest.fixture
def tiny(monkeypatch):
    compile = Flow.compile

    def compiled(self, optimizer="adam", **kwargs):
        compile(self, optimizer, jit_compile=False, run_eagerly=True)

    monkeypatch.setattr(Flow, "compile", compiled)
    small = {"layers": 1, "bins": 4, "width": 4, "blocks": 1}
    monkeypatch.setattr(defaults, "arguments", lambda *_: small)


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.func.__name__)
def test_scikit_learn_agrees_with_the_flow_by_the_rules(check, tiny):
    check(FlowDetector(**BY_RULE))


@pytest.fixture
def X():
    return np.random.default_rng(0).normal([0.0, 5.0], [1.0, 0.1], size=(500, 2))


@pytest.fixture
def new():
    rng = np.random.default_rng(1)
    usual = rng.normal([0.0, 5.0], [1.0, 0.1], size=(300, 2))
    return np.concatenate([usual, rng.normal([6.0, 6.0], 0.1, size=(40, 2))])


def test_conventions_of_pyod(X, new):
    detector = FlowDetector(gaussian, contamination=0.05).fit(X)
    truth = np.repeat([0, 1], [300, 40])
    scores = detector.decision_function(new)
    assert roc_auc_score(truth, scores) > 0.999  # larger for the more abnormal
    np.testing.assert_array_equal(detector.predict(new), scores > detector.threshold_)
    assert set(detector.predict(new)) == {0, 1}
    assert detector.predict(new)[300:].all()
    np.testing.assert_array_equal(detector.decision_scores_, detector.decision_function(X))
    np.testing.assert_array_equal(detector.labels_, detector.predict(X))
    assert detector.labels_.dtype.kind == "i"
    proba = detector.predict_proba(new)
    assert proba.shape == (340, 2)
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)
    np.testing.assert_array_equal(proba[:, 0], detector.p_value(new))
    assert roc_auc_score(truth, proba[:, 1]) > 0.99  # there are ties


@pytest.mark.parametrize("statistic", ["log_prob", "typicality", "latent_norm"])
@pytest.mark.parametrize("contamination", [0.02, 0.1, 0.29])
def test_predict_is_the_p_value_at_the_contamination(X, new, statistic, contamination):
    detector = FlowDetector(gaussian, statistic, contamination).fit(X)
    expected = detector.p_value(new) <= contamination
    np.testing.assert_array_equal(detector.predict(new), expected)
    np.testing.assert_array_equal(detector.flags(new, contamination), expected)
    assert 0 < expected.sum() < 340


def test_held_out_rows_are_not_trained_on(X):
    detector = FlowDetector(gaussian).fit(X)
    trained = detector.flow_.rows_of_fit
    held_out = X[detector.held_out_]
    assert (len(trained), len(held_out)) == (400, 100)
    together = np.concatenate([trained, held_out])
    np.testing.assert_array_equal(np.sort(together, axis=0), np.sort(X, axis=0))
    assert not set(map(tuple, trained)) & set(map(tuple, held_out))
    np.testing.assert_array_equal(
        detector.calibration_.scores, np.sort(detector.decision_function(held_out))
    )


def test_false_positive_rates():
    rng = np.random.default_rng(2)
    rows, new = rng.standard_t(3, (1000, 3)), rng.standard_t(3, (20000, 3))
    # A Gaussian is no good model of these; the rates hold nonetheless.
    detector = FlowDetector(gaussian, holdout=0.999).fit(rows)
    n = len(detector.calibration_)
    assert n == 999
    for alpha in (0.1, 0.05, 0.01):
        flagged = int(detector.flags(new, alpha).sum())
        k = round(alpha * (n + 1))
        # Given one calibration, the rate is Beta(k, n + 1 - k).
        low, high = stats.betabinom(20000, k, n + 1 - k).interval(0.999)
        assert low <= flagged <= high


def test_discoveries(X, new):
    detector = FlowDetector(gaussian).fit(X)
    found = detector.discoveries(new, fdr=0.2)
    assert found[300:].all()
    assert found[:300].sum() <= 30
    assert not detector.discoveries(new[:300], fdr=0.02).any()


def test_levels_out_of_reach(X):
    detector = FlowDetector(gaussian).fit(X)
    with pytest.raises(ValueError, match=r"alpha = 0\.001 is out of reach: with 100 held-out"):
        detector.flags(X, alpha=0.001)
    with pytest.raises(ValueError, match=r"fdr = 0\.001"):
        detector.discoveries(X, fdr=0.001)


def test_a_small_table_holds_out_what_the_contamination_needs(X):
    detector = FlowDetector(gaussian, contamination=0.1).fit(X[:20])
    assert len(detector.held_out_) == 9
    detector = FlowDetector(gaussian, "typicality", contamination=0.1).fit(X[:20])
    assert (len(detector.held_out_), len(detector.calibration_)) == (12, 9)
    with pytest.raises(ValueError, match=r"contamination of 0\.01 needs at least 100 rows"):
        FlowDetector(gaussian, contamination=0.01).fit(X[:99])


def test_a_trained_flow_is_calibrated_on_all_rows(X):
    flow = Flow(Affine([0.0, 5.0], [1.0, 0.1]), (2,))
    detector = FlowDetector(flow).fit(X)
    assert detector.flow_ is flow
    assert len(detector.calibration_) == 500
    np.testing.assert_allclose(detector.decision_function(X), -flow.log_prob(X), rtol=1e-6)


def test_a_preset(X, tmp_path):
    flow = Flow(Affine([0.0, 5.0], [1.0, 0.1]), (2,))
    flow.save_to_preset(tmp_path / "preset")
    for handle in (tmp_path / "preset", str(tmp_path / "preset")):
        detector = FlowDetector(handle).fit(X)
        np.testing.assert_allclose(detector.decision_scores_, -flow.log_prob(X), rtol=1e-6)


def test_explanations(X):
    x = [[0.0, 9.0], [7.0, 5.0]]
    detector = FlowDetector(gaussian).fit(X)
    found = detector.explain(x, draws=10, seed=3)
    assert (found.kind, found.draws, found.seed) == ("drop_column", 10, 3)
    np.testing.assert_array_equal(found.contributions.argmax(axis=1), [1, 0])
    assert FlowDetector(conditional).fit(X).explain(x).kind == "conditional"
    with pytest.raises(ValueError, match="of the statistic 'typicality'"):
        FlowDetector(gaussian, "typicality").fit(X).explain(x)


# What is saved was never updated, and the optimizer is built on loading.
@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer")
def test_copies(X, new):
    detector = FlowDetector(gaussian, contamination=0.2, seed=4).fit(X)
    loaded = pickle.loads(pickle.dumps(detector))
    np.testing.assert_array_equal(loaded.p_value(new), detector.p_value(new))
    again = clone(detector).fit(X)
    np.testing.assert_array_equal(again.decision_scores_, detector.decision_scores_)
    other = clone(detector).set_params(seed=5).fit(X)
    assert np.any(other.held_out_ != detector.held_out_)


def test_in_a_pipeline(X, new):
    pipeline = make_pipeline(StandardScaler(), FlowDetector(gaussian)).fit(X)
    assert roc_auc_score(np.repeat([0, 1], [300, 40]), pipeline.decision_function(new)) > 0.999


# PyOD is no dependency, for it pins others; where it is installed, its tools take the detector.
NO_PYOD = "PyOD is not installed"
TRUTH = np.repeat([0, 1], [300, 40])


def test_tools_of_pyod(X, new):
    utility = pytest.importorskip("pyod.utils.utility", reason=NO_PYOD)
    detectors = [FlowDetector(gaussian, seed=seed).fit(X) for seed in (0, 1)]
    utility.check_detector(detectors[0])
    scores = np.stack([detector.decision_function(new) for detector in detectors], axis=1)
    train = np.stack([detector.decision_scores_ for detector in detectors], axis=1)
    _, scaled = utility.standardizer(train, scores)
    combined = scaled.mean(axis=1)
    assert roc_auc_score(TRUTH, combined) > 0.999
    assert utility.precision_n_scores(TRUTH, combined) > 0.99
    assert utility.get_label_n(TRUTH, combined)[300:].mean() > 0.99
    labels = utility.score_to_label(detectors[0].decision_scores_, outliers_fraction=0.1)
    assert labels.mean() == pytest.approx(0.1)


def test_ensembles_of_pyod(X, new):
    pytest.importorskip("pyod", reason=NO_PYOD)
    pytest.importorskip("combo", reason="combo, which PyOD's ensembles need, is not installed")
    from pyod.models.feature_bagging import FeatureBagging
    from pyod.models.lscp import LSCP

    ensembles = (
        FeatureBagging(FlowDetector(gaussian), n_estimators=2, random_state=0),
        LSCP(
            [FlowDetector(gaussian, seed=seed) for seed in (0, 1)],
            local_region_size=30,
            n_bins=2,
            random_state=0,
        ),
    )
    for ensemble in ensembles:
        ensemble.fit(X)
        assert roc_auc_score(TRUTH, ensemble.decision_function(new)) > 0.999
        assert ensemble.predict(new)[300:].all() and 0 < ensemble.labels_.mean() < 0.2


@pytest.mark.slow
def test_the_flow_by_the_rules(tiny, X, new):
    mixed = np.concatenate([X, np.random.default_rng(3).poisson(4.0, (500, 1))], axis=1)
    detector = FlowDetector(epochs=3).fit(mixed)
    kinds = [column.kind.kind for column in detector.flow_.schema.event]
    assert kinds == ["real", "real", "integer"]
    assert len(detector.held_out_) == 100 and len(detector.calibration_) == 100
    later = np.concatenate([new, np.full((340, 1), 4.0)], axis=1)
    assert roc_auc_score(np.repeat([0, 1], [300, 40]), detector.decision_function(later)) > 0.99
    # What is no integer is out of range, and the most abnormal there is.
    later[:5, 2] = 4.5
    scores = detector.decision_function(later)
    # The largest that there are, and finite: scikit-learn's measures take no infinity.
    assert (scores[:5] == np.finfo(np.float32).max).all() and (scores[5:] < 1e6).all()
    assert roc_auc_score(np.arange(len(later)) < 5, scores) == 1.0
    np.testing.assert_allclose(detector.p_value(later)[:5], 1 / 101)
    again = FlowDetector(epochs=3).fit(mixed)
    np.testing.assert_array_equal(again.decision_scores_, detector.decision_scores_)
    other = FlowDetector(epochs=3, seed=1).fit(mixed)
    assert np.any(other.held_out_ != detector.held_out_)


def test_not_fitted(X):
    for method in ("predict", "p_value", "explain", "predict_proba"):
        with pytest.raises(NotFittedError):
            getattr(FlowDetector(gaussian), method)(X)
    with pytest.raises(NotFittedError):
        FlowDetector(gaussian).flags(X, 0.1)
    with pytest.raises(NotFittedError):
        FlowDetector(gaussian).discoveries(X, 0.1)


def uncompiled(columns):
    return Flow(Affine(), (columns,))


BAD = {
    "a number": ({"flow": 3}, "flow must be None, or a function"),
    "no such preset": ({"flow": "nowhere"}, "no zoo entry or folder"),
    "not a flow": ({"flow": lambda columns: columns}, "it made 2"),
    "not compiled": ({"flow": uncompiled}, "must be compiled"),
    "other columns": ({"flow": lambda columns: gaussian(3)}, r"event shape is \(3,\)"),
    "trained on others": ({"flow": Flow(Affine(), (3,))}, r"event shape is \(3,\)"),
    "context": (
        {"flow": models.ResidualFlow((2,), blocks=1, widths=(4,), context_shape=(1,))},
        r"context shape \(1,\)",
    ),
    "statistic": ({"statistic": "logprob"}, "Did you mean 'log_prob'"),
    "images": ({"statistic": "complexity"}, "for flows on images"),
    "contamination": ({"contamination": 0.6}, r"contamination must be in \(0, 0\.5\]"),
    "contamination auto": ({"contamination": "auto"}, "contamination must be"),
    "holdout": ({"holdout": 1.0}, "holdout must be below 1"),
    "holdout none": ({"holdout": 0.0}, "holdout must be"),
    "epochs": ({"epochs": 0}, "epochs must be"),
    "batch": ({"batch_size": 1.5}, "batch_size must be"),
    "draws": ({"draws": 2}, "draws must be 1"),
    "seed": ({"seed": None}, "seed must be"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments(X, name):
    arguments, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        FlowDetector(**{"flow": gaussian, **arguments}).fit(X)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[1.0, np.nan]], "NaN"),
        ([[1.0, np.inf]], "infinity"),
        ([[1.0]], "1 features"),
        ([1.0, 2.0], "Expected 2D array"),
        ([["a", "b"]], "could not convert"),
        (np.zeros((0, 2)), "0 sample"),
    ],
)
def test_bad_rows(X, rows, message):
    detector = FlowDetector(gaussian).fit(X)
    with pytest.raises(ValueError, match=message):
        detector.p_value(rows)


def test_columns_by_name(X):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["age", "height"])
    detector = FlowDetector(gaussian).fit(frame)
    assert list(detector.feature_names_in_) == ["age", "height"]
    with pytest.raises(ValueError, match="must be in the same order"):
        detector.predict(frame[["height", "age"]])


@pytest.mark.slow
def test_training(X, new):
    def flow(columns):
        flow = Flow(ActNorm(), (columns,))
        flow.compile(keras.optimizers.Adam(1e-2))
        return flow

    detector = FlowDetector(flow, epochs=2, batch_size=100).fit(X)
    assert detector.flow_.optimizer.iterations == 8
    assert roc_auc_score(np.repeat([0, 1], [300, 40]), detector.decision_function(new)) > 0.99
    again = FlowDetector(flow, epochs=2, batch_size=100).fit(X)
    np.testing.assert_array_equal(again.decision_scores_, detector.decision_scores_)


@pytest.mark.slow
def test_only_the_detector_needs_scikit_learn():
    program = (
        "import sys; sys.modules['sklearn'] = None\n"
        "import keras_flows as kf\n"
        "print(kf.detect.rows_needed(0.1))\n"
        "kf.detect.FlowDetector"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "9"
    assert "ImportError: FlowDetector needs scikit-learn" in done.stderr
    assert "pip install 'keras-flows[data]'" in done.stderr
