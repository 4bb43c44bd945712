"""The statistics, and the one score function that all rows share."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from keras_flows import Flow
from keras_flows.bases import ChannelNormal
from keras_flows.detect import STATISTICS, calibrate, fingerprint, scores
from keras_flows.detect.shared_noise import SharedNoise, latent_norms, log_probs
from keras_flows.detect.statistics import png_bits
from keras_flows.noise import SeededNoise
from keras_flows.transforms import Affine, Logit, UniformDequantization


@pytest.fixture
def flow():
    return Flow(Affine([1.0, -1.0], [2.0, 0.5], dtype="float64"), (2,), dtype="float64")


@pytest.fixture
def images():
    return Flow(UniformDequantization(bits=4), (8, 8, 1))


@pytest.fixture
def x():
    return np.random.default_rng(0).normal([1.0, -1.0], [2.0, 0.5], size=(101, 2))


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 16, (12, 8, 8, 1))


def true_log_prob(x):
    return stats.norm([1.0, -1.0], [2.0, 0.5]).logpdf(x).sum(axis=1)


def test_names_are_those_of_the_registry():
    assert list(STATISTICS) == ["log_prob", "typicality", "latent_norm", "complexity"]
    assert all(name == statistic.name for name, statistic in STATISTICS.items())


def test_log_prob(flow, x):
    c = calibrate(flow, x, "normal")
    np.testing.assert_allclose(c.scores, np.sort(-true_log_prob(x)), rtol=1e-6)
    assert (c.statistic, c.constants, c.likelihood, c.data) == ("log_prob", {}, "exact", "normal")
    assert c.data_sha256 == fingerprint(x)
    assert calibrate(flow, x, "normal", data_sha256="a" * 64).data_sha256 == "a" * 64
    new = x + 3.0
    found = scores(flow, new, c)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, -true_log_prob(new), rtol=1e-6)
    np.testing.assert_array_equal(np.sort(scores(flow, x, c)), c.scores)


def test_typicality_takes_its_mean_from_other_rows(flow, x):
    c = calibrate(flow, x, "normal", "typicality", seed=5)
    assert len(c) == 80  # a fifth of 101 rows, rounded up, gives the mean
    mean = c.constants["mean_log_prob"]
    log_prob = true_log_prob(x)
    order = np.argsort(np.abs(log_prob - mean))
    scored = np.isin(np.abs(log_prob - mean).astype("float32")[order], c.scores)
    assert log_prob[order[~scored]].mean() == pytest.approx(mean, rel=1e-6)
    assert (~scored).sum() == 21
    mode = np.array([[1.0, -1.0]])
    expected = true_log_prob(mode) - mean
    np.testing.assert_allclose(scores(flow, mode, c), expected, rtol=1e-6)
    # Too probable: more abnormal than by log_prob, which sees nothing more usual.
    assert calibrate(flow, x, "normal").p_values(-true_log_prob(mode)) == 1.0
    assert c.p_values(scores(flow, mode, c)) < 0.6


def test_typicality_needs_a_mean():
    bounded = Flow(Logit(0.0), (1,))
    typicality = STATISTICS["typicality"]
    with pytest.raises(ValueError, match="1 of 2 have none that is finite"):
        typicality.constants(np.array([0.0, -np.inf]))
    with pytest.raises(ValueError, match="at least two rows; got 1"):
        calibrate(bounded, [[0.5]], "one", "typicality")


def test_latent_norm(flow, x):
    c = calibrate(flow, x, "normal", "latent_norm")
    new = x * 2.0
    expected = np.linalg.norm((new - [1.0, -1.0]) / [2.0, 0.5], axis=1)
    np.testing.assert_allclose(scores(flow, new, c), expected, rtol=1e-6)


def test_latent_norm_is_in_deviations_of_the_base(x):
    flow = Flow(Affine(dtype="float64"), (2,), base=ChannelNormal(dtype="float64"), dtype="float64")
    flow.base.loc.assign([1.0, -1.0])
    flow.base.log_scale.assign(np.log([2.0, 0.5]))
    expected = np.linalg.norm((x - [1.0, -1.0]) / [2.0, 0.5], axis=1)
    np.testing.assert_allclose(latent_norms(flow, x), expected, rtol=1e-12)


def test_complexity(images, pixels):
    c = calibrate(images, pixels, "noise", "complexity", draws=2)
    new = np.concatenate([pixels[:2], np.full((1, 8, 8, 1), 7)])
    found = scores(images, new, c)
    bits = -log_probs(images, new, draws=2) / np.log(2.0)
    np.testing.assert_allclose(found, bits - png_bits(new), rtol=1e-5)
    assert png_bits(new)[2] < png_bits(new)[:2].min()


@pytest.mark.parametrize("channels", [1, 3])
def test_png_is_lossless(channels):
    image = np.random.default_rng(0).integers(0, 256, (6, 5, channels))
    file = tf.io.encode_png(image.astype("uint8"), compression=9)
    np.testing.assert_array_equal(tf.io.decode_png(file).numpy(), image)
    assert png_bits(image[None]) == 8 * len(file.numpy())


def test_one_score_function_for_all_rows(images, pixels):
    whole = log_probs(images, pixels, seed=3, draws=2)
    # The same whatever is beside a row, and in whatever place.
    np.testing.assert_array_equal(log_probs(images, pixels[::-1], seed=3, draws=2), whole[::-1])
    np.testing.assert_array_equal(log_probs(images, pixels[4:5], seed=3, draws=2), whole[4:5])
    many = np.concatenate([pixels] * 10)  # more than one batch
    np.testing.assert_array_equal(log_probs(images, many, seed=3, draws=2), np.tile(whole, 10))
    assert np.abs(log_probs(images, pixels, seed=4, draws=2) - whole).min() > 0.0


def test_draws_are_averaged(images, pixels):
    source = SeededNoise(3)
    single = [
        images.log_prob(pixels, noise=SharedNoise(source.next_seed())).numpy().astype("float64")
        for _ in range(4)
    ]
    assert np.std(single, axis=0).min() > 0.0
    np.testing.assert_allclose(
        log_probs(images, pixels, seed=3, draws=4), np.mean(single, axis=0), rtol=1e-6
    )


def test_shared_noise_is_shared():
    for draw in ("normal", "uniform", "rademacher"):
        shared, other = SharedNoise(1), SharedNoise(2)
        first = getattr(shared, draw)(tf.constant(5), (40,), "float32").numpy()
        assert first.shape == (5, 40)
        np.testing.assert_array_equal(first, np.tile(first[:1], (5, 1)))
        assert len(np.unique(first[0])) > 1
        assert np.any(getattr(shared, draw)(5, (40,), "float32") != first)
        assert np.any(getattr(other, draw)(5, (40,), "float32") != first)


@pytest.mark.slow
def test_p_values_of_a_random_log_prob_are_super_uniform(images):
    rng = np.random.default_rng(6)
    pixels = rng.integers(0, 16, (200, 10, 8, 8, 1))
    found = []
    for seed, rows in enumerate(pixels):
        c = calibrate(images, rows[:9], "noise", seed=seed)
        found.append(c.p_values(scores(images, rows[9:], c))[0])
    assert stats.binomtest(int(np.sum(np.array(found) <= 0.2)), 200, 0.2).pvalue > 1e-3


def test_a_calibration_of_another_kind_of_log_prob(flow, images, x, pixels):
    c = calibrate(flow, x, "normal")
    with pytest.raises(ValueError, match="'exact'; those of this flow are 'lower_bound'"):
        scores(images, pixels, c)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"statistic": "logprob"}, "Did you mean 'log_prob'"),
        ({"statistic": "complexity"}, r"real numbers of the shape \(2,\)"),
        ({"draws": 2}, "draws must be 1; got 2"),
        ({"draws": 0}, "draws must be an integer"),
        ({"seed": -1}, "seed must be an integer"),
        ({"x": np.zeros((0, 2))}, "empty batch"),
        ({"x": np.zeros((3, 3))}, "must have shape"),
        ({"x": 3.0}, "got the number 3"),
        ({"x": [[np.nan, 1.0]]}, "NaN or infinity"),
        ({"context": [[1.0]]}, "no context"),
        ({"data": ""}, "data must be a name"),
    ],
)
def test_bad_arguments(flow, arguments, message):
    with pytest.raises(ValueError, match=message):
        calibrate(flow, **{"x": np.ones((5, 2)), "data": "ones", **arguments})


def test_complexity_is_for_small_integers():
    with pytest.raises(ValueError, match="9-bit integers"):
        STATISTICS["complexity"].check(Flow(UniformDequantization(bits=9), (4, 4, 1)))
