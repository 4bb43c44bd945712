"""Training by recipe: what a run writes, resumes and refuses. Kills are in test_resume.py.

Longer than other files: what a run writes, resumes and refuses shares its recipes.
"""

import csv
import dataclasses
import io
import json

import keras
import numpy as np
import pytest
import rich.console
import tensorflow as tf

import keras_flows as kf
from keras_flows import models, training
from keras_flows.models import registry
from keras_flows.training import run as runner
from keras_flows.training import sources, state
from keras_flows.training.recipe import CosineDecay, ImageData, Optimizer, Recipe, ToyData, WarmUp
from tests.registry import residual_block

TOY = Recipe(
    summary="A tiny flow.",
    model="IDenseNet",
    arguments={"blocks": 1, "depth": 1, "growth": 4},
    data=ToyData("two_moons"),
    steps=6,
    batch_size=20,
    schedule=CosineDecay(0.01, 2),
    ema=0.5,
    report_every=2,
    samples_every=3,
    validation_examples=50,
)


def tiny_images(event_shape, bits=5, seed=0):
    """A flow on images without residual blocks."""
    steps = kf.transforms
    chain = [steps.UniformDequantization(bits), steps.Logit(), steps.Squeeze(), steps.ActNorm()]
    return kf.Flow(steps.Chain(chain), event_shape, seed=seed)


IMAGES = dataclasses.replace(
    TOY, model="TinyImages", arguments={"bits": 5}, data=ImageData("digits"), ema=None
)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Quick pictures and tests; a model that the package does not have."""
    monkeypatch.setitem(registry.MODELS, "TinyImages", tiny_images)
    monkeypatch.setattr(sources, "TEST_POINTS", 500)
    monkeypatch.setattr(
        sources.ToySource, "draw", lambda self, flow, path: path.write_bytes(b"picture")
    )


def run(output, recipe=TOY, name="tiny", **options):
    """What a run returns, and what it prints."""
    text = io.StringIO()
    console = rich.console.Console(file=text, width=200)
    return runner.train(name, recipe, output, console=console, **options), text.getvalue()


def rate_of(recipe):
    """The learning rate of a recipe by step."""
    return recipe.schedule.make(recipe.steps)


def history(output, name="tiny"):
    with open(output / f"{name}.training" / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_weights_are_rounded_before_they_are_tested(tmp_path):
    whole, _ = run(tmp_path / "whole")
    rounded, _ = run(tmp_path / "rounded", dataclasses.replace(TOY, weight_bits=10))
    pairs = [kf.zoo.load(tmp_path / name / "tiny") for name in ("whole", "rounded")]
    errors = []
    for weights, found in zip(*(flow.trainable_variables for flow in pairs), strict=True):
        fraction, _ = np.frexp(found.numpy())
        assert (np.ldexp(fraction, 10) % 1 == 0).all()
        errors.append(np.abs(found - weights) - 2.0**-10 * np.abs(weights))
    assert np.concatenate([error.ravel() for error in errors]).max() <= 0
    assert rounded.training["weight_bits"] == 10 and rounded.test.nll != whole.test.nll
    assert rounded.test.nll == pytest.approx(whole.test.nll, rel=0.02)


def test_what_a_run_writes(tmp_path):
    metadata, text = run(tmp_path)
    flow = kf.zoo.load(tmp_path / "tiny")
    rows = history(tmp_path)
    assert [row["step"] for row in rows] == ["2", "4", "6"]
    assert "step 6 of 6" in text and "nats" in text and "bits/dim" not in text
    # Validation at the last report and the preset are of the same, averaged weights.
    held_out = kf.data.toy("two_moons").sample(50, seed=(sources.TEST_SEED, 1))
    result = kf.measure.evaluate(flow, held_out)
    assert float(rows[-1]["val_nll_nats"]) == pytest.approx(result.nll, rel=1e-6)
    assert float(rows[-1]["val_nll_standard_error"]) == pytest.approx(result.standard_error)
    test = kf.data.toy("two_moons").sample(500, seed=sources.TEST_SEED)
    assert metadata.test.nll == pytest.approx(-np.mean(flow.log_prob(test)), rel=1e-6)
    true = kf.data.toy("two_moons").log_prob(test)
    assert metadata.test.kl_divergence == pytest.approx(np.mean(true - flow.log_prob(test)))
    assert metadata.training["steps"] == 6 and metadata.training["ema"] == 0.5
    assert "command" not in metadata.training  # it is no recipe of the table
    assert list(metadata.training["learning_curve"]) == ["2", "4", "6"]
    work = tmp_path / "tiny.training"
    assert [p.name for p in (work / "samples").iterdir()] == ["step-00000006.png"]
    assert any((work / "tensorboard").iterdir())


@pytest.mark.slow
def test_the_saved_weights_are_the_averages(tmp_path):
    run(tmp_path)
    # The state holds both: the weights of the last step, and their averages.
    flow = keras.models.load_model(tmp_path / "tiny.training" / "state.keras")
    index = next(i for i, v in enumerate(flow.trainable_variables) if "kernel" in v.path)
    saved = kf.zoo.load(tmp_path / "tiny").trainable_variables[index].numpy()
    last = flow.trainable_variables[index].numpy()
    average = flow.optimizer._model_variables_moving_average[index].numpy()
    np.testing.assert_array_equal(saved, average)
    assert not np.array_equal(saved, last)


def test_training_on_images(tmp_path):
    metadata, text = run(tmp_path, IMAGES)
    assert "bits/dim" in text
    flow, test = kf.zoo.load(tmp_path / "tiny"), kf.data.images("digits", "test")
    expected = np.mean(flow.bits_per_dim(test.pixels, seed=0))
    assert metadata.test.bits_per_dim == pytest.approx(expected, rel=0.01)
    assert metadata.test.examples == 297 and metadata.data.startswith("digits, train: 1,500")
    picture = (tmp_path / "tiny" / "samples.png").read_bytes()
    picture = tf.io.decode_png(picture).numpy()
    assert picture.shape == (400, 400, 1)
    samples = flow.sample(64, seed=0).numpy().reshape(8, 8, 8, 8)
    expected = np.minimum(samples[1, 2] / 16, 1.0) * 255
    np.testing.assert_allclose(picture[57:97:5, 107:147:5, 0], expected, atol=1.0)


def by_label(event_shape, context_shape, context_embedding, seed=0):
    """A flow on images of 5 bits that depends on a label."""
    steps = kf.transforms
    net = kf.layers.CouplingNetwork(4, 2, [kf.layers.ResidualDenseBlock(1, 2)], context_size=3)
    chain = [steps.UniformDequantization(5), steps.Squeeze(), steps.AffineCoupling(net)]
    return kf.Flow(steps.Chain(chain), event_shape, context_shape, context_embedding, seed=seed)


EMBEDDING = {"class_name": "Embedding", "config": {"input_dim": 10, "output_dim": 3}}
BY_LABEL = dataclasses.replace(
    IMAGES,
    model="ByLabel",
    arguments={"context_embedding": EMBEDDING},
    data=ImageData("digits", labels=True),
    steps=4,
    batch_size=200,
    report_every=4,
)


@pytest.mark.slow
def test_training_by_class(tmp_path, monkeypatch):
    monkeypatch.setitem(registry.MODELS, "ByLabel", by_label)
    metadata, _ = run(tmp_path, BY_LABEL)
    assert Recipe.from_json(json.loads(json.dumps(BY_LABEL.to_json()))) == BY_LABEL
    flow = kf.zoo.load(tmp_path / "tiny")
    test = kf.data.images("digits", "test", labels=True)
    scores = [
        kf.measure.evaluate(flow, test.pixels, labels, batch_size=BY_LABEL.batch_size).nll
        for labels in (test.labels, (test.labels + 1) % 10)
    ]
    assert metadata.test.nll == pytest.approx(scores[0], rel=1e-6) and scores[0] != scores[1]
    assert "1,500 images of 10 classes" in metadata.data
    held_out = kf.measure.evaluate(flow, test.pixels[:50], test.labels[:50], batch_size=200)
    assert float(history(tmp_path)[-1]["val_nll_nats"]) == pytest.approx(held_out.nll, rel=1e-5)
    embedding = flow.context_embedding.embeddings.numpy()
    start = runner.build(BY_LABEL, kf.data.images("digits", labels=True))
    assert np.all(np.any(embedding != start.context_embedding.embeddings.numpy(), axis=1))
    # A row of eight for every class.
    picture = tf.io.decode_png((tmp_path / "tiny" / "samples.png").read_bytes()).numpy()
    samples = flow.sample(80, seed=0, context=np.repeat(np.arange(10), 8)).numpy()
    highest = test.pixels[:50].max()
    np.testing.assert_array_equal(picture[::5, ::5], kf.plot.image_grid(samples, 8, highest))
    card = (tmp_path / "tiny" / "README.md").read_text(encoding="utf-8")
    assert "unconditional" not in card and "context=context" in card
    told = kf.measure.classify(flow, test.pixels, test.labels, BY_LABEL.batch_size)
    assert metadata.test.accuracy == pytest.approx(told.accuracy, abs=1e-9)
    assert f"| {told.accuracy:.4f} ± {told.standard_error:.4f}: the label of the highest" in card


@pytest.mark.parametrize(
    "embedding",
    [{}, {"context_embedding": {**EMBEDDING, "config": {"input_dim": 9, "output_dim": 3}}}],
)
def test_a_model_that_does_not_take_the_labels(embedding, monkeypatch):
    monkeypatch.setitem(registry.MODELS, "ByLabel", by_label)
    recipe = dataclasses.replace(BY_LABEL, arguments=embedding)
    with pytest.raises(ValueError, match=r"labels of 10 classes.*'input_dim': 10"):
        runner.build(recipe, kf.data.images("digits", labels=True))


@pytest.mark.parametrize(("asked", "used"), [("auto", False), (True, True)])
def test_a_recipe_may_ask_for_xla(asked, used):
    recipe = dataclasses.replace(IMAGES, jit_compile=asked)
    assert runner.build(recipe, kf.data.images("digits")).jit_compile is used


@pytest.mark.slow
def test_a_finished_run_is_tested_and_written_again(tmp_path):
    metadata, _ = run(tmp_path, IMAGES)
    weights = kf.zoo.load(tmp_path / "tiny").get_weights()
    again, text = run(tmp_path, IMAGES, resume=True)
    assert "resuming at step 6" in text and again.test == metadata.test
    for one, other in zip(weights, kf.zoo.load(tmp_path / "tiny").get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(history(tmp_path)) == 3


@pytest.mark.slow
def test_a_finished_run_goes_on_with_another_cycle(tmp_path):
    schedule = dataclasses.replace(IMAGES.schedule, restarts=((6, 0.005),))
    longer = dataclasses.replace(IMAGES, steps=10, schedule=schedule)
    run(tmp_path, IMAGES)
    _, text = run(tmp_path, longer, resume=True)
    assert "resuming at step 6" in text
    run(tmp_path, longer, "whole")
    one, other = (kf.zoo.load(tmp_path / name).get_weights() for name in ("tiny", "whole"))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)
    columns = ("step", "learning_rate", "loss", "val_bits_per_dim")
    rows = [[[row[x] for x in columns] for row in history(tmp_path, y)] for y in ("tiny", "whole")]
    assert rows[0] == rows[1] and len(rows[0]) == 5


def test_rows_after_the_saved_state_are_dropped(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text("epoch,loss\n0,3.0\n1,2.0\n2,1.0\n")
    state.drop_rows(path, 2)
    assert path.read_text() == "epoch,loss\n0,3.0\n1,2.0\n"
    state.drop_rows(path, 0)
    assert path.read_text() == ""


def test_a_row_that_was_cut_is_dropped(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text("epoch,loss\n0,3.0\n1")  # of epoch 12
    state.drop_rows(path, 2)
    assert path.read_text() == "epoch,loss\n0,3.0\n"


@pytest.mark.parametrize("content", [b"", b"no zip", None], ids=["empty", "text", "another model"])
def test_a_state_that_is_none(tmp_path, content):
    path = tmp_path / "state.keras"
    if content is None:
        keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(path)
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"state\.keras (is|holds) no .*Remove it to start anew"):
        state.load(path)


@pytest.mark.slow
def test_samples_that_do_not_converge_end_no_run(tmp_path, monkeypatch):
    def fail(self, flow, path):
        if path.name.startswith("step"):
            raise kf.ConvergenceError("no inverse")
        path.write_bytes(b"picture")

    monkeypatch.setattr(sources.ImageSource, "draw", fail)
    _, text = run(tmp_path, IMAGES)
    assert "no samples at step 6: no inverse" in text


# Refused ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_saved_state_is_not_overwritten_by_accident(tmp_path):
    run(tmp_path, IMAGES)
    with pytest.raises(ValueError, match=r"state\.keras is there.*--resume"):
        run(tmp_path, IMAGES)
    other = dataclasses.replace(IMAGES, seed=1, batch_size=30)
    with pytest.raises(ValueError, match="batch_size was 20 and is 30; seed was 0 and is 1"):
        run(tmp_path, other, resume=True)
    # Its last step was at the end of the cosine, which a longer one without a restart is not.
    with pytest.raises(ValueError, match="steps was 6 and is 10"):
        run(tmp_path, dataclasses.replace(IMAGES, steps=10), resume=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 7}, "multiple of 2"),
        ({"model": "NoSuchFlow"}, "Unknown model 'NoSuchFlow'"),
        ({"data": ToyData("three_moons")}, "mean 'two_moons'"),
    ],
)
def test_recipes_that_do_not_fit_together(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        run(tmp_path, dataclasses.replace(TOY, **changes))


def test_bits_of_the_flow_and_of_the_data_must_agree(tmp_path):
    with pytest.raises(ValueError, match="8 bits, but the data have 5"):
        run(tmp_path, dataclasses.replace(IMAGES, arguments={"bits": 8}))


def test_a_flow_on_integers_takes_no_toy_data(tmp_path, monkeypatch):
    monkeypatch.setitem(
        registry.MODELS, "TinyImages", lambda event_shape, **_: tiny_images((2, 2, 1))
    )
    with pytest.raises(ValueError, match="integers of 5 bits, but the data are real numbers"):
        run(tmp_path, dataclasses.replace(IMAGES, data=ToyData("two_moons")))
    assert not any(tmp_path.iterdir())


def test_no_averages_with_batch_normalisation(tmp_path, monkeypatch):
    def normalized(*args, **kwargs):
        flow = tiny_images(*args, **kwargs)
        flow.normalization = keras.layers.BatchNormalization()
        return flow

    monkeypatch.setitem(registry.MODELS, "TinyImages", normalized)
    with pytest.raises(ValueError, match="batch normalisation"):
        run(tmp_path, dataclasses.replace(IMAGES, ema=0.9))


def test_folders_that_are_no_presets_are_left_alone(tmp_path):
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "thesis.txt").write_text("finished")
    with pytest.raises(ValueError, match="not a preset"):
        run(tmp_path)


# The table ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", registry.RECIPES)
def test_recipes_of_the_table(name):
    recipe = registry.recipe(name)
    assert recipe == registry.RECIPES[name]
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe
    assert recipe.steps % recipe.report_every == 0
    assert recipe.model in {**registry.MODELS, **models.CONFIGURATIONS}
    recipe.schedule.make(recipe.steps)(0)
    recipe.optimizer.make(learning_rate=0.1)


def test_published_schedules():
    recipe = registry.recipe("denseflow_cifar10_paper")
    assert recipe.steps == 420 * 50_000 / 64
    rate = rate_of(recipe)
    assert float(rate(2499)) == pytest.approx(5e-4 * 0.9975**3)  # in the fourth epoch
    assert float(rate(312_499)) == pytest.approx(1e-3 * 0.9975**399, rel=1e-4)
    assert float(rate(312_500)) == float(rate(328_124)) == pytest.approx(2e-5)
    rate = rate_of(registry.recipe("idensenet_cifar10_paper"))
    assert float(rate(499)) == pytest.approx(5e-4) and float(rate(10**5)) == pytest.approx(1e-3)


OLD = {
    "summary": "A tiny flow.",
    "model": "DenseFlow",
    "data": {"images": "digits", "flip": True, "test": "validation"},
    "steps": 20,
    "batch_size": 10,
    "schedule": {
        "class_name": "CosineDecay",
        "learning_rate": 0.006,
        "warmup_steps": 2,
        "restarts": [[10, 0.003]],
    },
    "arguments": {"units": [1], "dequantizer_steps": 2, "dequantizer_width": 16},
    "optimizer": {"class_name": "Muon", "weight_decay": None},
    "clip_norm": 1.0,
    "ema": None,
    "report_every": 5,
    "samples_every": 10,
    "validation_examples": 1000,
    "importance_samples": 100,
    "seed": 0,
}


def test_the_recipe_of_a_run_of_an_earlier_version(tmp_path):
    # Without the field jit_compile, with numbers of the dequantizer by a prefix.
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(OLD))
    sizes = {"class_name": "variational", "config": {"steps": 2, "width": 16}}
    assert state.read_recipe(path) == Recipe(
        summary="A tiny flow.",
        model="DenseFlow",
        data=ImageData("digits", flip=True, test="validation"),
        steps=20,
        batch_size=10,
        schedule=CosineDecay(0.006, 2, ((10, 0.003),)),
        arguments={"units": [1], "dequantization": sizes},
        optimizer=Optimizer("Muon", {"weight_decay": None}),
        report_every=5,
        importance_samples=100,
    )


def test_what_is_no_recipe_of_a_run(tmp_path):
    path = tmp_path / "recipe.json"
    deep = "[" * 100_000 + "]" * 100_000
    for text in ("", "[]", "{}", "{", deep, json.dumps({**OLD, "data": {"tables": "x"}})):
        path.write_text(text)
        with pytest.raises(ValueError, match="is not the recipe of a run"):
            state.read_recipe(path)


@pytest.mark.parametrize("name", ["../evil", "a/b", "", ".", "..", "a b", 3])
def test_a_name_is_that_of_a_folder(tmp_path, name):
    with pytest.raises(ValueError, match="The name of a run is that of its folder"):
        run(tmp_path / "inner", name=name)
    assert not any(tmp_path.rglob("*"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps must be an integer, at least 1; got 0"),
        ({"batch_size": 1.5}, "batch_size must be an integer"),
        ({"clip_norm": -1}, "clip_norm must be a positive number; got -1"),
        ({"ema": 1.0}, r"ema must be in \(0, 1\); got 1.0"),
        ({"seed": -1}, "seed must be an integer, at least 0"),
        ({"seed": 2**31}, r"seed must be below 2\^31; got 2147483648"),
        ({"jit_compile": "yes"}, "jit_compile.* must be True or False"),
        ({"importance_samples": 0}, "importance_samples must be an integer"),
        ({"data": {"toy": "two_moons"}}, "data must be a .*ToyData or .*ImageData"),
        ({"schedule": 0.1}, "schedule must be a .*CosineDecay or .*WarmUp"),
        ({"optimizer": "Adam"}, "optimizer must be a .*Optimizer"),
    ],
)
def test_numbers_and_parts_of_recipes(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TOY, **changes)


def test_parts_check_themselves():
    with pytest.raises(ValueError, match="Unknown optimizer"):
        Optimizer("Adamm")
    with pytest.raises(ValueError, match="learning_rate must be a positive number"):
        CosineDecay(0.0, 2)
    with pytest.raises(ValueError, match="The step of a restart must be an integer"):
        CosineDecay(0.1, 2, ((0, 0.1),))
    for second in (10, 20):
        with pytest.raises(ValueError, match=r"restarts must rise; got \[20, "):
            CosineDecay(0.1, 2, ((20, 0.1), (second, 0.1)))
    for name in ("learning_rate", "global_clipnorm", "use_ema"):
        with pytest.raises(ValueError, match=f"The recipe sets the {name} of the optimizer"):
            Optimizer("Adam", {name: 0.1})
    with pytest.raises(ValueError, match=r"Adam has no argument 'beta_3'\. Did you mean"):
        Optimizer("Adam", {"beta_3": 0.1})
    with pytest.raises(ValueError, match="final_rate and final_start go together"):
        WarmUp(0.1, 2, final_rate=0.1)
    with pytest.raises(ValueError, match=r"shift must be in \[0, 0.5\)"):
        ImageData("digits", shift=0.5)


def test_unknown_recipe():
    with pytest.raises(ValueError, match=r"Unknown recipe 'two_moons'.*mean 'spline_two_moons'"):
        registry.recipe("two_moons")


def test_the_optimizer_is_that_of_the_recipe():
    optimizer = Optimizer("Adamax", {"beta_2": 0.99})
    recipe = dataclasses.replace(TOY, optimizer=optimizer, schedule=WarmUp(0.01, 4), clip_norm=2.0)
    optimizer = runner.build(recipe, kf.data.toy("two_moons")).optimizer
    assert isinstance(optimizer, keras.optimizers.Adamax) and optimizer.beta_2 == 0.99
    assert optimizer.global_clipnorm == 2.0 and optimizer.ema_momentum == 0.5
    assert float(optimizer.learning_rate) == pytest.approx(0.0025)


def test_cosine_schedule():
    rate = rate_of(dataclasses.replace(TOY, steps=102))
    assert float(rate(1)) == pytest.approx(0.005) and float(rate(2)) == pytest.approx(0.01)
    assert float(rate(52)) == pytest.approx(0.005) and float(rate(102)) == pytest.approx(0.0)


def test_cosine_schedule_with_restarts():
    schedule = dataclasses.replace(TOY.schedule, restarts=((102, 0.006), (204, 0.004)))
    recipe = dataclasses.replace(TOY, steps=306, schedule=schedule)
    rate = rate_of(recipe)
    first = rate_of(dataclasses.replace(TOY, steps=102))
    assert [float(rate(step)) for step in (0, 1, 52, 101)] == [
        float(first(step)) for step in (0, 1, 52, 101)
    ]
    for step, value in {102: 0, 103: 0.003, 104: 0.006, 154: 0.003, 206: 0.004, 256: 0.002}.items():
        assert float(rate(step)) == pytest.approx(value)
    # A shorter run, as by `--steps`, has the cycles that begin in it.
    assert rate_of(dataclasses.replace(recipe, steps=150)).starts == [0, 102]
    assert float(rate_of(dataclasses.replace(recipe, steps=102))(52)) == float(first(52))


def test_cycles():
    rate = training.Cycles([training.WarmUp(0.1, 4), training.WarmUp(0.2, 2)], [0, 10])
    expected = {0: 0.025, 9: 0.1, 10: 0.1, 11: 0.2, 99: 0.2}
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(rate))
    for step, value in expected.items():
        assert float(rate(step)) == float(again(step)) == pytest.approx(value)
    for starts in ([0], [1, 10], [0, 0], [0, 10, 20]):
        with pytest.raises(ValueError, match="2 schedules, and the steps"):
            training.Cycles(rate.schedules, starts)


def test_warm_up_and_decay():
    rate = training.WarmUp(
        0.1, warmup_steps=4, decay=0.5, decay_steps=10, final_rate=0.003, final_start=30
    )
    expected = {0: 0.025, 3: 0.1, 9: 0.1, 10: 0.05, 29: 0.025, 30: 0.003, 99: 0.003}
    for step, value in expected.items():
        assert float(rate(step)) == pytest.approx(value)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(rate))
    assert [float(again(step)) for step in expected] == [float(rate(step)) for step in expected]
    assert float(training.WarmUp(0.1, 4)(10**6)) == pytest.approx(0.1)
    with pytest.raises(ValueError, match="positive"):
        training.WarmUp(0.1, 0)
    with pytest.raises(ValueError, match="go together"):
        training.WarmUp(0.1, 4, final_rate=0.1)


# Averaged weights ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_averaged():
    flow = kf.Flow(residual_block("float32"), (2,))
    flow.compile(keras.optimizers.SGD(0.3, use_ema=True, ema_momentum=0.75), jit_compile=False)
    means = []

    class Follow(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            now = [v.numpy() for v in flow.trainable_variables]
            if not means:
                means.append(now)
            else:
                pairs = zip(means[-1], now, strict=True)
                means.append([0.75 * mean + 0.25 * value for mean, value in pairs])
            if len(means) == 8:
                weights = flow.get_weights()
                with training.averaged(flow) as same:
                    assert same is flow
                    for v, mean in zip(flow.trainable_variables, means[-1], strict=True):
                        np.testing.assert_allclose(v, mean, rtol=1e-5, atol=1e-7)
                    # Norms that belong to these weights, not to those of the last step.
                    for layer in flow._flatten_layers():
                        if hasattr(layer, "sigma"):
                            norm = np.linalg.norm(layer.kernel.numpy(), 2)
                            assert float(layer.sigma.numpy()) == pytest.approx(norm, rel=1e-5)
                    assert max(flow.certify().bounds.values()) < 1.0
                for before, after in zip(weights, flow.get_weights(), strict=True):
                    np.testing.assert_array_equal(before, after)

    x = kf.data.toy("two_moons").sample(64, seed=0)
    flow.fit(x, batch_size=8, shuffle=False, callbacks=[Follow()], verbose=0)
    assert len(means) == 8
    # At the end of fit, the averages are the weights, and the norms fit them.
    for v, mean in zip(flow.trainable_variables, means[-1], strict=True):
        np.testing.assert_allclose(v, mean, rtol=1e-5, atol=1e-7)
