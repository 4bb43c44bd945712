"""Training by plain Keras: fit, evaluate, predict; NaN.

Longer than other files: all of `fit` on the same small flows.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_flows import Flow, NonFiniteError
from keras_flows.data import toy
from keras_flows.models import IDenseNet, ResidualFlow
from keras_flows.training import SaveState, TensorBoardScalars
from keras_flows.transforms import ActNorm, Affine, Chain, Logit, Transform, UniformDequantization
from tests.registry import RecordingNoise, dense_net, residual_block

TINY = {"blocks": 1, "depth": 1, "growth": 4}


def tiny(model=IDenseNet, jit_compile=False, rate=0.01, **arguments):
    keras.utils.set_random_seed(0)
    size = TINY if model is IDenseNet else {"blocks": 1, "widths": (6,)}
    flow = model((2,), **{**size, **arguments})
    flow.compile(keras.optimizers.Adam(rate), jit_compile=jit_compile)
    return flow


@pytest.fixture
def x():
    return toy("two_moons").sample(60, seed=0)


@pytest.fixture
def context():
    return np.random.default_rng(1).standard_normal((60, 3)).astype("float32")


def weights_of(flow):
    return [weight.numpy() for weight in flow.weights]


def assert_same(one, other, **tolerance):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, **(tolerance or {"rtol": 0, "atol": 0}))


# fit ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [IDenseNet, pytest.param(ResidualFlow, marks=pytest.mark.slow)])
def test_loss_decreases(model, x):
    flow = tiny(model)
    history = flow.fit(x, batch_size=20, epochs=15, validation_data=x, verbose=0).history
    assert set(history) == {"loss", "nll_nats", "val_loss", "val_nll_nats"}
    assert history["loss"][-1] < history["loss"][0] - 0.1
    assert history["val_nll_nats"][-1] < history["val_nll_nats"][0] - 0.1
    assert history["loss"] == pytest.approx(history["nll_nats"], rel=1e-5)


@pytest.mark.slow
def test_arrays_and_datasets_give_the_same_weights(x):
    flows = [tiny() for _ in range(4)]
    flows[0].fit(x, batch_size=20, shuffle=False, verbose=0)
    flows[1].fit(tf.data.Dataset.from_tensor_slices(x).batch(20), verbose=0)
    flows[2].fit(((x[i : i + 20],) for i in (0, 20, 40)), steps_per_epoch=3, verbose=0)
    flows[3].fit(tf.constant(x), batch_size=20, shuffle=False, verbose=0)
    for flow in flows[1:]:
        assert_same(weights_of(flow), weights_of(flows[0]), rtol=1e-6, atol=1e-7)


@pytest.mark.slow
def test_contexts_in_all_their_forms(x, context):
    flows = [tiny(context_shape=(3,)) for _ in range(4)]
    flows[0].fit(x, context, batch_size=20, shuffle=False, verbose=0)
    flows[1].fit((x, context), batch_size=20, shuffle=False, verbose=0)
    pairs = tf.data.Dataset.from_tensor_slices((x, context)).batch(20)
    flows[2].fit(pairs, verbose=0)
    flows[3].fit(pairs.map(lambda x, context: ((x, context),)), verbose=0)
    for flow in flows[1:]:
        assert_same(weights_of(flow), weights_of(flows[0]), rtol=1e-6, atol=1e-7)


@pytest.mark.slow
def test_weighted_examples(x, context):
    # Examples of weight zero might as well have been left out: twice the rate of the rest.
    keep = np.arange(60) % 2 == 0
    for condition in (None, context):
        shape = None if condition is None else (3,)
        given = () if condition is None else (condition,)
        optimizer = keras.optimizers.SGD
        flows = [tiny(context_shape=shape) for _ in range(4)]
        for flow in flows[:3]:
            flow.compile(optimizer(0.01), jit_compile=False)
        flows[3].compile(optimizer(0.005), jit_compile=False)
        weights = keep.astype("float32")
        options = {"batch_size": 60, "shuffle": False, "verbose": 0}
        flows[0].fit(x, *given, sample_weight=weights, **options)
        if condition is None:
            batches = {"x": x, "sample_weight": weights}
        else:
            batches = (x, condition, weights)
        flows[1].fit(tf.data.Dataset.from_tensor_slices(batches).batch(60), verbose=0)
        history = (
            flows[2]
            .fit(
                x,
                *given,
                sample_weight=weights,
                validation_data=(x, condition, weights),
                **options,
            )
            .history
        )
        flows[3].fit(x[keep], *(part[keep] for part in given), **options)
        for flow in flows[:3]:
            assert_same(weights_of(flow), weights_of(flows[3]), rtol=1e-5, atol=1e-6)
        kept = [None if condition is None else condition[keep]]
        nll = -np.mean(flows[2].log_prob(x[keep], *kept))
        assert history["val_nll_nats"][0] == pytest.approx(nll, rel=1e-4)
        # Keras divides a loss by the number of examples, a metric by the sum of the weights.
        assert history["val_loss"][0] == pytest.approx(nll / 2, rel=1e-4)


@pytest.mark.slow
def test_draws_of_training_depend_on_seed_and_step_only(x):
    flows = [tiny(log_det="unbiased", seed=seed) for seed in (4, 4, 5)]
    # Whatever else was drawn before.
    flows[1].log_prob(x)
    flows[1].sample(3)
    for flow in flows:
        flow.fit(x, batch_size=20, shuffle=False, verbose=0)
    assert_same(weights_of(flows[0]), weights_of(flows[1]))
    assert not np.array_equal(*(flow.blocks[0].net.layers[-1].dense.kernel for flow in flows[1:]))


@pytest.mark.slow
@pytest.mark.parametrize("log_det", ["exact", "unbiased"])
def test_xla_takes_the_same_steps(x, log_det):
    options = {"actnorm": True, "log_det": log_det}
    flows = [tiny(jit_compile=jit_compile, **options) for jit_compile in (False, True)]
    for flow in flows:
        flow.fit(x, batch_size=20, epochs=3, shuffle=False, verbose=0)
    assert_same(weights_of(flows[0]), weights_of(flows[1]), rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_eager_takes_the_same_steps(x):
    flows = [tiny(actnorm=True) for _ in range(2)]
    flows[1].compile(keras.optimizers.Adam(0.01), run_eagerly=True)
    for flow in flows:
        flow.fit(x, batch_size=20, epochs=2, shuffle=False, verbose=0)
    assert_same(weights_of(flows[0]), weights_of(flows[1]), rtol=1e-3, atol=1e-4)


def test_checkpoints_of_tensorflow_see_no_keras_model_of_lists(tmp_path):
    # docs/training.md says so. When this fails, Keras has mended it, and the page is to say that.
    class Plain(keras.Model):
        def __init__(self):
            super().__init__()
            self.parts = [keras.layers.Dense(2), keras.layers.Dense(2)]

        def call(self, x):
            for part in self.parts:
                x = part(x)
            return x

    plain = Plain()
    plain(np.ones((1, 2), "float32"))
    for model in (plain, IDenseNet((2,), blocks=1, depth=1, growth=2)):
        path = tf.train.Checkpoint(model).save(str(tmp_path / model.name / "saved"))
        saved = {name for name, _ in tf.train.list_variables(path)}
        assert {name for name in saved if "SAVE" not in name.upper()} == {
            "_CHECKPOINTABLE_OBJECT_GRAPH"
        }
        assert len(model.weights) >= 4


@pytest.mark.slow
def test_a_loop_of_ones_own_takes_the_same_steps(x):
    flows = [tiny() for _ in range(2)]
    flows[0].fit(x, batch_size=60, epochs=3, shuffle=False, verbose=0)
    optimizer = keras.optimizers.Adam(0.01)
    for _ in range(3):
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(flows[1].log_prob(x, training=True))
        variables = flows[1].trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)
        flows[1].after_update()
    flows[1].converge()
    assert_same(weights_of(flows[0]), weights_of(flows[1]), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_norms_follow_the_weights(x):
    flow = tiny(rate=0.1, power_iterations=2)
    seen = []

    def look(batch, logs):
        dense = flow.blocks[0].net.layers[-1].dense
        u, kernel, v = dense.u.numpy(), dense.kernel.numpy(), dense.v.numpy()
        seen.append((dense.sigma.numpy(), u @ kernel.T @ v, np.linalg.norm(kernel, 2)))

    callback = keras.callbacks.LambdaCallback(on_train_batch_end=look)
    flow.fit(x, batch_size=10, epochs=2, callbacks=[callback], verbose=0)
    stored, estimate, exact = np.transpose(seen)
    assert np.ptp(exact) > 0.01
    np.testing.assert_allclose(stored, estimate, rtol=1e-5)
    np.testing.assert_allclose(stored, exact, rtol=0.1)
    # At the end they are brought to convergence.
    dense = flow.blocks[0].net.layers[-1].dense
    assert float(dense.sigma) == pytest.approx(np.linalg.norm(dense.kernel, 2), rel=1e-6)


def test_first_batch_initialises_actnorm_once(tmp_path):
    x = np.random.default_rng(0).normal([3.0, -5.0], [2.0, 4.0], size=(50, 2)).astype("float32")
    flow = Flow(ActNorm(), (2,))
    flow.compile(keras.optimizers.SGD(0.0), jit_compile=False)
    flow.fit(x, batch_size=50, verbose=0)
    z = flow.encode(x).numpy()
    np.testing.assert_allclose(z.mean(axis=0), 0.0, atol=1e-5)
    np.testing.assert_allclose(z.std(axis=0, ddof=1), 1.0, rtol=1e-5)
    flow.save(tmp_path / "flow.keras")
    for each in (flow, keras.models.load_model(tmp_path / "flow.keras")):
        each.fit(100.0 * x, batch_size=50, verbose=0)
        np.testing.assert_array_equal(each.encode(x), z)


def test_variance_is_floored_where_the_data_hardly_varies():
    flow = Flow(ActNorm(minimum_variance=0.2), (2,))
    flow.compile(keras.optimizers.SGD(0.0), jit_compile=False)
    flow.fit(np.full((1, 2), 7.0, "float32"), verbose=0)
    np.testing.assert_allclose(flow.transform.bias, [-7.0, -7.0])
    np.testing.assert_allclose(flow.transform.log_scale, -0.5 * np.log(0.2), rtol=1e-6)


def test_images_of_integers():
    steps = [UniformDequantization(3), Logit(), ActNorm()]
    flow = Flow(Chain(steps), (2, 2, 1))
    flow.compile(keras.optimizers.Adam(0.05), jit_compile=False)
    x = np.random.default_rng(0).integers(3, 5, size=(40, 2, 2, 1))
    history = flow.fit(x, epochs=10, verbose=0).history
    assert history["bits_per_dim"][-1] < history["bits_per_dim"][0] - 0.1
    nll = np.array(history["nll_nats"])
    np.testing.assert_allclose(history["bits_per_dim"], nll / (4 * np.log(2.0)), rtol=1e-5)


# evaluate, predict --------------------------------------------------------------------------


def test_metric_is_the_mean_negative_log_prob(x, context):
    for condition in (None, context):
        flow = tiny(context_shape=None if condition is None else (3,))
        given = () if condition is None else (condition,)
        nll = -np.mean(flow.log_prob(x, *given))
        # Also over batches of unequal size.
        result = flow.evaluate(x, *given, batch_size=25, return_dict=True, verbose=0)
        assert result["nll_nats"] == pytest.approx(nll, rel=1e-5)
        assert result["loss"] == pytest.approx(nll, rel=1e-5)
        dataset = tf.data.Dataset.from_tensor_slices((x, *given) if given else x).batch(25)
        result = flow.evaluate(dataset, return_dict=True, verbose=0)
        assert result["nll_nats"] == pytest.approx(nll, rel=1e-5)


def test_weighted_metric(x, context):
    weights = np.random.default_rng(0).uniform(size=60).astype("float32")
    for condition in (None, context):
        flow = tiny(context_shape=None if condition is None else (3,))
        nll = -flow.log_prob(x, condition).numpy()
        result = flow.evaluate(
            x, condition, sample_weight=weights, batch_size=25, return_dict=True, verbose=0
        )
        assert result["nll_nats"] == pytest.approx(np.average(nll, weights=weights), rel=1e-5)


def test_evaluation_repeats(x):
    flow = tiny(log_det="unbiased")
    one, other = (flow.evaluate(x, batch_size=20, verbose=0) for _ in range(2))
    assert one == other


def test_predict_is_log_prob(x, context):
    flow = tiny()
    predicted = flow.predict(x, batch_size=25, verbose=0)
    assert predicted.shape == (60,)
    np.testing.assert_allclose(predicted, flow.log_prob(x), rtol=1e-5)
    flow = tiny(context_shape=(3,))
    predicted = flow.predict((x, context), batch_size=25, verbose=0)
    np.testing.assert_allclose(predicted, flow.log_prob(x, context), rtol=1e-5)


def test_predict_without_compile(x):
    flow = IDenseNet((2,), **TINY)
    np.testing.assert_allclose(flow.predict(x, verbose=0), flow.log_prob(x), rtol=1e-5)


@pytest.mark.slow
def test_float64_is_trained_in_float64():
    flow = tiny(dtype="float64")
    x = np.random.default_rng(0).standard_normal((20, 2))
    flow.fit(tf.data.Dataset.from_tensors(x), verbose=0)
    assert all(weight.dtype in ("float64", "int32") for weight in flow.weights)
    dataset = tf.data.Dataset.from_tensors(x)
    np.testing.assert_allclose(flow.predict(dataset, verbose=0), flow.log_prob(x), rtol=1e-12)


@pytest.mark.slow
def test_a_loaded_flow_goes_on_where_it_was(x, tmp_path):
    flow = tiny()
    flow.fit(x, batch_size=20, epochs=2, shuffle=False, callbacks=[SaveState(tmp_path / "s.keras")])
    loaded = keras.models.load_model(tmp_path / "s.keras")
    assert loaded.jit_compile is False
    assert int(loaded.optimizer.iterations) == 6
    loaded.converge()  # as fit does at its end; a state is saved as the last step left it
    assert_same(weights_of(loaded), weights_of(flow))
    for each in (flow, loaded):
        each.fit(x, batch_size=20, shuffle=False, verbose=0)
    assert_same(weights_of(loaded), weights_of(flow))


@pytest.mark.slow
def test_saving_a_state_changes_nothing(x, tmp_path):
    callbacks = [], [SaveState(tmp_path / "s.keras")]
    flows = [tiny(log_det="unbiased") for _ in callbacks]
    for flow, given in zip(flows, callbacks, strict=True):
        flow.fit(x, batch_size=20, epochs=2, shuffle=False, callbacks=given, verbose=0)
    assert_same(weights_of(flows[0]), weights_of(flows[1]))


@pytest.mark.slow
def test_states_are_saved_every_so_many_minutes_and_at_the_end(x, tmp_path):
    path, saved = tmp_path / "s.keras", []
    look = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: saved.append(path.exists()))
    tiny().fit(x, batch_size=60, epochs=3, callbacks=[SaveState(path, minutes=60), look], verbose=0)
    assert saved == [False, False, True]


@pytest.mark.slow
def test_tensorboard_scalars(x, tmp_path):
    callback = TensorBoardScalars(tmp_path / "logs")
    history = tiny().fit(x, batch_size=20, epochs=2, callbacks=[callback], verbose=0).history
    (file,) = (tmp_path / "logs").iterdir()
    written = {}
    for record in tf.data.TFRecordDataset(str(file)):
        event = tf.compat.v1.Event.FromString(record.numpy())
        for value in event.summary.value:
            assert value.metadata.plugin_data.plugin_name == "scalars"
            written[value.tag, event.step] = float(tf.make_ndarray(value.tensor))
    expected = {
        (name, 3 * (epoch + 1)): value
        for name, values in history.items()
        for epoch, value in enumerate(values)
    }
    assert written == pytest.approx(expected, rel=1e-6)


# compile ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "updates", "choice"),
    [((2,), 400, True), ((2,), 399, False), ((2,), None, False), ((2, 2, 3), 10_000, False)],
)
def test_automatic_choice_of_xla(shape, updates, choice):
    choice = choice or bool(tf.config.list_logical_devices("GPU"))
    flow = Flow(ActNorm(), shape)
    for arguments in ({}, {"jit_compile": "auto"}):
        flow.compile("adam", **arguments)
        flow._choose_xla(updates)
        assert flow.jit_compile is choice
    for wanted in (True, False):
        flow.compile("adam", jit_compile=wanted)
        flow._choose_xla(updates)
        assert flow.jit_compile is wanted
    flow.compile("adam", run_eagerly=True)
    flow._choose_xla(updates)
    assert flow.jit_compile is False


@pytest.mark.parametrize(("epochs", "initial"), [(1, 0), (3, 0), (5, 3)])
def test_fit_knows_how_many_updates_there_are(x, monkeypatch, epochs, initial):
    flow, told = Flow(ActNorm(), (2,)), []
    monkeypatch.setattr(flow, "_choose_optimizers", told.append)
    flow.compile("adam")
    flow.fit(x, batch_size=10, epochs=epochs, initial_epoch=initial, verbose=0)
    assert told[-1] == epochs * (len(x) // 10)


class Options(keras.callbacks.Callback):
    """Notes TensorFlow's settings at every update; raises at the end of one, if told so."""

    def __init__(self, failing=False):
        super().__init__()
        self.failing, self.seen = failing, []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(tf.config.optimizer.get_experimental_options())
        if self.failing:
            raise RuntimeError("Failed.")


@pytest.mark.parametrize(("epochs", "off"), [(1, True), (4, False)])
def test_a_few_updates_are_made_by_graphs_as_they_are_built(x, epochs, off):
    flow, noted = Flow(ActNorm(), (2,)), Options()
    flow.compile("adam", jit_compile=False)
    flow.fit(x, batch_size=1, epochs=epochs, callbacks=[noted], verbose=0)
    assert {seen.get("disable_meta_optimizer", False) for seen in noted.seen} == {off}
    assert not tf.config.optimizer.get_experimental_options().get("disable_meta_optimizer", False)


def test_the_graph_optimizer_is_as_it_was_after_an_error(x):
    with pytest.raises(RuntimeError, match="Failed"):
        tiny().fit(x, batch_size=20, callbacks=[Options(failing=True)], verbose=0)
    assert not tf.config.optimizer.get_experimental_options().get("disable_meta_optimizer", False)


def test_a_loss_is_an_error():
    with pytest.raises(ValueError, match=r"negative log-likelihood; compile takes no loss"):
        IDenseNet((2,), **TINY).compile("adam", loss="mse")


# Bad data -----------------------------------------------------------------------------------


def test_a_context_too_many_or_too_few(x, context):
    with pytest.raises(ValueError, match="This flow has no context: fit and evaluate take"):
        tiny().fit(x, context, verbose=0)
    flow = tiny(context_shape=(3,))
    with pytest.raises(ValueError, match=r"This flow is conditional: .* take \(x, context\)"):
        flow.fit(x, verbose=0)
    with pytest.raises(ValueError, match=r"context must have shape \(batch, 3\)"):
        flow.fit(x, context[:, :2], verbose=0)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fit", "evaluate", "predict"])
def test_bad_arrays(method, x):
    flow = tiny()
    # A first good batch: the errors must not depend on what was compiled before.
    getattr(flow, method)(x, verbose=0)
    for bad, message in (
        (np.ones((8, 3)), r"x must have shape \(batch, 2\); got \(8, 3\)"),
        (np.ones(8), r"x must have shape \(batch, 2\); got \(8,\)"),
        (np.ones(2), r"got \(2,\). One example alone is x\[None\]"),
        (np.ones((8, 2, 1)), r"x must have shape \(batch, 2\); got \(8, 2, 1\)"),
        (np.ones((0, 2)), "x is an empty batch; at least one example is needed"),
        (np.ones((8, 2), bool), "x must hold real numbers; its dtype is bool"),
        (np.ones((8, 2), "complex64"), "x must hold real numbers; its dtype is complex64"),
    ):
        with pytest.raises(ValueError, match=message):
            getattr(flow, method)(bad, verbose=0)


# NaN ----------------------------------------------------------------------------------------


class BadSlope(Transform):
    """Almost the identity, with a derivative that is not finite where x is zero."""

    def encode(self, x, context=None, noise=None, training=False):
        return x + 1e-9 * tf.sqrt(tf.abs(x)), tf.zeros(tf.shape(x)[:1], x.dtype)


def batches(x, bad, at, n=4):
    """n batches of ten, the one at `at` with a bad row."""
    parts = [x[10 * i : 10 * i + 10].copy() for i in range(n)]
    parts[at][3] = bad
    return tf.data.Dataset.from_tensor_slices(np.stack(parts))


def stopped(flow, dataset):
    """The message of the error that stops training; all weights must be finite then."""
    before = []

    def remember(batch, logs):
        before.append(weights_of(flow))

    callback = keras.callbacks.LambdaCallback(on_train_batch_begin=remember)
    with pytest.raises(NonFiniteError) as error:
        flow.fit(dataset, callbacks=[callback], verbose=0)
    for weight in [*weights_of(flow), *(v.numpy() for v in flow.optimizer.variables)]:
        assert np.isfinite(weight).all()
    return str(error.value), len(before)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("jit_compile", "at", "bad"), [(False, 0, np.nan), (False, 2, np.inf), (True, 0, np.nan)]
)
def test_nan_in_the_data(x, jit_compile, at, bad):
    flow = tiny(actnorm=True, jit_compile=jit_compile)
    message, steps = stopped(flow, batches(x, bad, at))
    assert message.startswith(f"Training met NaN or infinity at step {at}, first in the data.")
    assert steps == at + 1
    # Good data trains on; a first batch that was bad has initialised nothing.
    flow.fit(x, batch_size=60, verbose=0)
    assert flow.transform.steps[0].initialized.numpy() == 1
    if at == 0:
        np.testing.assert_allclose(flow.transform.steps[0].bias, -x.mean(axis=0), atol=0.05)


@pytest.mark.slow
def test_nan_in_the_context(x, context):
    flow = tiny(context_shape=(3,))
    context[5, 1] = np.nan
    with pytest.raises(NonFiniteError, match="at step 0, first in the context"):
        flow.fit(x, context, batch_size=10, shuffle=False, verbose=0)
    assert np.isfinite(np.concatenate([np.ravel(weight) for weight in weights_of(flow)])).all()


def test_nan_from_a_step(x):
    steps = [Affine(-20.0, 40.0), Chain([Logit(), ActNorm()]), residual_block(None)]
    flow = Flow(Chain(steps), (2,))
    flow.compile("adam", jit_compile=False)
    message, _ = stopped(flow, batches(x, 100.0, at=1))
    assert message.startswith("Training met NaN or infinity at step 1, first in step '1/0/Logit'.")


@pytest.mark.slow
def test_nan_from_the_gradients(x):
    flow = Flow(Chain([ActNorm(), BadSlope(), residual_block(None)]), (2,))
    flow.transform.steps[0].initialized.assign(1)
    flow.compile(keras.optimizers.SGD(0.0), jit_compile=False)
    message, _ = stopped(flow, batches(x, 0.0, at=2))
    assert message.startswith("Training met NaN or infinity at step 2, first in the gradients.")


def test_an_infinite_log_prob(x):
    flow = Flow(Chain([ActNorm(), Affine(0.0, 1e-30)]), (2,))
    flow.compile("adam", jit_compile=False)
    message, _ = stopped(flow, batches(x, 1.0, at=0))
    assert message.startswith("Training met NaN or infinity at step 0, first in log_prob.")


def test_several_steps_at_once_report_the_first(x):
    flow = Flow(ActNorm(), (2,))
    flow.compile("adam", jit_compile=False, steps_per_execution=2)
    message, _ = stopped(flow, batches(x, np.nan, at=2))
    assert message.startswith("Training met NaN or infinity at step 2, first in the data.")
    assert int(flow.optimizer.iterations) == 4


@pytest.mark.slow
def test_clipping_keeps_a_stopped_step_finite(x):
    flow = tiny()
    flow.compile(keras.optimizers.Adam(0.01, global_clipnorm=1.0), jit_compile=False)
    message, _ = stopped(flow, batches(x, np.nan, at=1))
    assert "at step 1" in message


@pytest.mark.slow
def test_a_new_fit_forgets_the_failure(x):
    flow = tiny()
    stopped(flow, batches(x, np.nan, at=1))
    assert flow.training_failure == (1, "the data")
    flow.fit(x, verbose=0)
    assert flow.training_failure is None


def test_recorded_noise_reproduces_a_training_step(x):
    # What a step draws is what an explicit source would hand it.
    flow = tiny(log_det="unbiased")
    recording = RecordingNoise(3)
    x = tf.constant(x)
    one = flow.density(x, None, recording, training=True).log_prob
    np.testing.assert_allclose(one, flow.log_prob(x, noise=recording.arrays, training=True))


# A conditional density ----------------------------------------------------------------------


def blob(context, seed):
    """Points around (2c, c^2), the deviation 0.4: a density that moves with its context c."""
    noise = np.random.default_rng(seed).standard_normal((len(context), 2))
    return (np.concatenate([2.0 * context, context**2], axis=1) + 0.4 * noise).astype("float32")


@pytest.mark.slow  # half a minute
def test_conditional_density():
    keras.utils.set_random_seed(0)
    flow = IDenseNet(
        (2,), blocks=3, depth=2, growth=8, block_bound=0.99, actnorm=True, context_shape=(1,)
    )
    flow.compile(keras.optimizers.Adam(0.01), jit_compile=False)
    context = np.random.default_rng(0).uniform(-1.0, 1.0, size=(4000, 1)).astype("float32")
    x = blob(context, seed=1)
    held_out = blob(context, seed=2), context
    before = flow.evaluate(*held_out, batch_size=4000, return_dict=True, verbose=0)["nll_nats"]
    flow.fit(x, context, batch_size=200, epochs=12, verbose=0)
    after = flow.evaluate(*held_out, batch_size=4000, return_dict=True, verbose=0)["nll_nats"]
    entropy = np.log(2.0 * np.pi * np.e * 0.4**2)
    assert after < before - 1.0
    assert entropy - 0.05 < after < entropy + 0.25
    # Without its context, no density of x alone comes near: the marginal is spread out.
    shuffled = held_out[0], np.random.default_rng(3).permutation(context)
    wrong = flow.evaluate(*shuffled, batch_size=4000, return_dict=True, verbose=0)["nll_nats"]
    assert wrong > after + 1.0

    side = np.linspace(-6.0, 6.0, 301)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    for c in (-1.0, 0.0, 0.7):
        density = np.exp(flow.log_prob(grid, [c]))
        assert density.sum() * (side[1] - side[0]) ** 2 == pytest.approx(1.0, abs=5e-3)
        centre = [2.0 * c, c**2]
        mean = density @ grid / density.sum()
        np.testing.assert_allclose(mean, centre, atol=0.2)
        samples = flow.sample(500, seed=0, context=[c])
        np.testing.assert_allclose(np.mean(samples, axis=0), centre, atol=0.2)


@pytest.mark.slow
def test_labels_are_embedded_and_trained(x):
    keras.utils.set_random_seed(0)
    embedding = keras.layers.Embedding(3, 4)
    flow = IDenseNet((2,), **TINY, context_shape=(), context_embedding=embedding)
    flow.compile(keras.optimizers.Adam(0.05), jit_compile=False)
    labels = np.arange(60) % 2
    before = embedding.embeddings.numpy()
    moved = x + 2.0 * labels[:, None]
    loss = flow.fit(moved, labels, epochs=20, verbose=0).history["loss"]
    assert loss[-1] < loss[0] - 0.1
    change = np.abs(embedding.embeddings - before).max(axis=1)
    assert (change[:2] > 1e-3).all()
    # A label that never occurs is left alone.
    assert change[2] == 0.0


@pytest.mark.slow
def test_dense_nets_of_the_registry_are_the_ones_trained_here():
    # The blocks above are those of the property suite.
    assert [type(layer) for layer in dense_net(None).layers] == [
        type(layer) for layer in IDenseNet((2,), blocks=1, depth=2, growth=4).blocks[0].net.layers
    ]


@pytest.mark.slow
def test_an_evaluation_that_is_nan_is_an_error(x):
    flow = tiny()
    bad = np.array(x)
    bad[1, 0] = np.nan
    with pytest.raises(NonFiniteError, match="of these data is NaN"):
        flow.evaluate(bad, verbose=0)
    with pytest.raises(NonFiniteError, match="of these data is NaN"):
        flow.fit(x, validation_data=(bad,), verbose=0)
