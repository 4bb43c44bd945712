"""Fine-tuning: better on other data, never worse than the start; batch normalisation."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_flows as kf
from keras_flows.layers import CouplingNetwork, DenseAttentionBlock
from keras_flows.measure import evaluate
from keras_flows.models import IDenseNet
from keras_flows.training import finetune, finetuning, normalization, recalibrate
from keras_flows.transforms import AffineCoupling, Chain, Conv1x1

POINTS = np.random.default_rng(0).normal(2.0, 0.5, size=(300, 2)).astype("float32")
MAPS = np.random.default_rng(1).normal(1.0, 2.0, size=(40, 4, 4, 2)).astype("float32")
OTHER = -3.0 * MAPS


def plane(**arguments):
    keras.utils.set_random_seed(0)
    return IDenseNet((2,), blocks=1, depth=1, growth=4, **arguments)


def maps():
    """A flow with batch normalisation in two couplings, a few steps into training."""
    keras.utils.set_random_seed(0)
    nets = [CouplingNetwork(2, 4, [DenseAttentionBlock(1, 2, attention=None)]) for _ in range(2)]
    steps = [AffineCoupling(nets[0]), Conv1x1(), AffineCoupling(nets[1])]
    flow = kf.Flow(Chain(steps), (4, 4, 2))
    flow.compile(keras.optimizers.Adam(0.01), jit_compile=False)
    flow.fit(MAPS, epochs=2, batch_size=20, verbose=0)
    return flow


def values(flow):
    return [weight.numpy().copy() for weight in flow.weights]


def assert_same(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_it_improves_on_other_data_and_reports_what_the_flow_now_scores():
    flow, (train, held_out) = plane(), (POINTS[:200], POINTS[200:])
    before = evaluate(flow, held_out)
    result = finetune(flow, train, validation=held_out, epochs=4, learning_rate=0.02)
    assert result.before == before
    assert result.after.nll < before.nll - 3 * before.standard_error
    assert evaluate(flow, held_out).nll == pytest.approx(result.after.nll, rel=1e-6)
    assert result.after.nll == min(result.history["val_nll_nats"])
    assert result.epoch == 1 + int(np.argmin(result.history["val_nll_nats"]))
    assert result.settings == {
        "examples": 200,
        "held_out": 100,
        "epochs": 4,
        "batch_size": 20,
        "learning_rate": 0.02,
        "seed": 0,
    }


@pytest.mark.slow
def test_where_no_epoch_is_better_the_weights_are_those_of_the_start():
    flow = plane()
    own = flow.sample(100, seed=0).numpy()
    flow.converge()
    before = values(flow)
    result = finetune(flow, own, epochs=2, learning_rate=5.0)
    assert result.epoch == 0 and result.after == result.before
    assert min(result.history["val_nll_nats"]) > result.before.nll
    assert_same(before, values(flow))


def test_better_by_chance_is_not_better():
    start = np.array([1.0, 2.0, 3.0, 4.0])
    assert finetuning._clearly_better(start + np.array([1.0, 1.1, 0.9, 1.0]), start)
    assert not finetuning._clearly_better(start + np.array([3.0, -1.0, 2.0, -1.0]), start)
    assert not finetuning._clearly_better(start, start)
    assert not finetuning._clearly_better(start - 1.0, start)


def test_a_failure_in_training_leaves_the_best_weights():
    flow = plane()
    flow.converge()
    before = values(flow)
    with pytest.raises(kf.NonFiniteError):
        finetune(flow, POINTS, epochs=2, learning_rate=1e30)
    assert_same(before, values(flow))


@pytest.mark.slow
def test_where_the_default_rate_helps_nothing_a_quarter_of_it_is_tried(monkeypatch):
    flow, peaks = plane(), []

    class Peak(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            peaks.append(float(self.model.optimizer.learning_rate))

    # As if no epoch of the first attempt were better.
    clearly = finetuning._clearly_better
    monkeypatch.setattr(finetuning, "_clearly_better", lambda *a: len(peaks) > 1 and clearly(*a))
    monkeypatch.setattr(finetuning, "RELATIVE_RATE", 0.05)
    rate = finetuning.learning_rate_of(flow)
    result = finetune(flow, POINTS, epochs=2, callbacks=[Peak()])
    assert len(peaks) == 2 and peaks[1] == pytest.approx(peaks[0] / 4, rel=1e-6)
    assert result.settings["learning_rate"] == rate / 4
    assert result.epoch > 0 and result.after.nll < result.before.nll
    assert len(result.history["val_nll_nats"]) == 2


@pytest.mark.slow
def test_the_last_attempt_is_ten_times_as_fast_and_for_vectors_only():
    def attempts(flow, x):
        peaks = []

        class Peak(keras.callbacks.Callback):
            def on_train_begin(self, logs=None):
                peaks.append(float(self.model.optimizer.learning_rate))

        result = finetune(flow, x, epochs=1, callbacks=[Peak()])
        assert result.epoch == 0
        return [peak / peaks[0] for peak in peaks]

    # No epoch is clearly better on data that a fresh flow of this kind cannot tell from noise.
    own = np.random.default_rng(2).normal(size=(60, 2)).astype("float32")
    assert attempts(kf.Flow(Chain([Conv1x1()]), (1, 1, 2)), own[:, None, None]) == [1.0, 0.25]
    assert attempts(plane(), plane().sample(60, seed=0)) == pytest.approx([1.0, 0.25, 10.0])


@pytest.mark.slow
def test_a_rate_that_is_given_is_the_only_one():
    flow, attempts = plane(), []

    class Attempt(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            attempts.append(1)

    result = finetune(flow, POINTS, epochs=1, learning_rate=1e-9, callbacks=[Attempt()])
    assert attempts == [1] and result.epoch == 0


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights():
    flows = [plane(), plane()]
    for flow in flows:
        finetune(flow, POINTS, epochs=2, learning_rate=0.01, seed=1)
    assert_same(values(flows[0]), values(flows[1]))


def test_every_epoch_has_another_order():
    def epoch(data):
        return np.concatenate([batch[:, 0] for batch in data.as_numpy_iterator()])

    data = finetuning._batches(POINTS, None, 30, seed=1)
    first, second = epoch(data), epoch(data)
    assert (first != second).any()
    np.testing.assert_array_equal(np.sort(first), np.sort(POINTS[:, 0]))
    assert (first != epoch(finetuning._batches(POINTS, None, 30, seed=2))).any()


def test_a_fifth_is_held_out_by_default_and_is_not_trained_on():
    (x, _), (held_out, _) = finetuning._split(POINTS, None, seed=3)
    assert (len(x), len(held_out)) == (240, 60)
    assert {*map(bytes, x), *map(bytes, held_out)} == {*map(bytes, POINTS)}


@pytest.mark.slow
def test_conditional_flows_take_contexts():
    flow = plane(context_shape=(1,))
    contexts = POINTS[:, :1] + 1.0
    held_out = (POINTS[:50], contexts[:50])
    result = finetune(flow, POINTS, contexts, validation=held_out, epochs=3, learning_rate=0.02)
    assert result.after.nll < result.before.nll
    with pytest.raises(ValueError, match="conditional"):
        finetune(flow, POINTS)


def test_the_default_rate_follows_the_weights():
    flow = plane()
    rate = finetuning.learning_rate_of(flow)
    for weight in flow.trainable_variables:
        weight.assign(2.0 * weight)
    assert finetuning.learning_rate_of(flow) == pytest.approx(2.0 * rate)
    for weight in flow.trainable_variables:
        weight.assign(0.0 * weight)
    with pytest.raises(ValueError, match="give a learning_rate"):
        finetuning.learning_rate_of(flow)


def test_the_rate_rises_to_its_peak_and_falls_to_zero():
    schedule = finetuning._schedule(0.1, 30)
    rates = [float(schedule(step)) for step in range(31)]
    assert 0.0 < rates[0] < rates[1] < rates[2] < rates[3] == pytest.approx(0.1)
    assert all(a > b for a, b in itertools.pairwise(rates[3:]))
    assert rates[30] == pytest.approx(0.0, abs=1e-8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": POINTS[:1]}, "at least two"),
        ({"x": POINTS[:2]}, "give more"),
        ({"validation": POINTS[:1]}, "at least two"),
        ({"validation": POINTS[:, :1]}, "validation must have shape"),
        ({"epochs": 0}, "epochs"),
        ({"batch_size": 0}, "batch_size"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"context": POINTS}, "no context"),
        ({"x": POINTS * np.nan}, "NaN"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_changes(arguments, message):
    flow = plane()
    before = values(flow)
    with pytest.raises(ValueError, match=message):
        finetune(flow, **{"x": POINTS, **arguments})
    assert_same(before, values(flow))


@pytest.mark.slow
def test_batch_normalisation_is_frozen_and_afterwards_as_it_was():
    flow = maps()
    layers = normalization.norms(flow)
    assert len(layers) == 2
    layers[0].trainable = False
    before = [values(layer) for layer in layers]
    result = finetune(flow, OTHER, epochs=2)
    assert result.epoch > 0 and result.after.nll < result.before.nll
    for layer, start in zip(layers, before, strict=True):
        assert_same(start, values(layer))
    assert [layer.trainable for layer in layers] == [False, True]
    flow.fit(OTHER, epochs=1, verbose=0)
    assert (before[1][0] != values(layers[1])[0]).any()


@pytest.mark.slow
def test_recalibrated_averages_are_those_of_the_data():
    flow = maps()
    before, x = values(flow), tf.constant(OTHER)

    def score(training):
        return flow.density(x, training=training).log_prob.numpy()

    lagging = score(False)
    recalibrate(flow, OTHER, batch_size=len(OTHER))
    averages = [
        average
        for layer in normalization.norms(flow)
        for average in (layer.moving_mean, layer.moving_variance)
    ]
    for weight, start in zip(flow.weights, before, strict=True):
        assert (weight.numpy() != start).any() == any(weight is average for average in averages)
    recalibrated, of_the_batch = score(False), score(True)
    # The averages are of the unbiased variance of 640 numbers, the batch has the biased one.
    np.testing.assert_allclose(recalibrated, of_the_batch, rtol=0.01)
    assert abs(lagging - of_the_batch).mean() > 20 * abs(recalibrated - of_the_batch).mean()


@pytest.mark.slow
def test_recalibration_averages_over_the_batches_and_spares_frozen_layers():
    flow = maps()
    first, other = normalization.norms(flow)
    other.trainable = False
    frozen, data, means = values(other), np.concatenate([MAPS[:20], OTHER[:20]]), []
    for rows in (slice(0, 20), slice(20, 40)):
        recalibrate(flow, data[rows], batch_size=20)
        means.append(first.moving_mean.numpy())
    assert abs(means[0] - means[1]).max() > 0.1
    recalibrate(flow, data, batch_size=20)
    np.testing.assert_allclose(first.moving_mean, np.mean(means, axis=0), rtol=1e-4, atol=1e-6)
    assert_same(frozen, values(other))
    assert (first.momentum, other.momentum) == (0.9, 0.9)
    with pytest.raises(ValueError, match="at least two"):
        recalibrate(flow, MAPS[:1])
