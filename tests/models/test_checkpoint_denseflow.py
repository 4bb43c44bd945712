"""Import of published DenseFlow checkpoints, from state dicts written here."""

import json

import keras
import numpy as np
import pytest
from scipy.stats import ortho_group
from typer.testing import CliRunner

import keras_flows as kf
from keras_flows.cli.app import app
from keras_flows.models.denseflow.checkpoint import table
from keras_flows.transforms import ActNorm, Conv1x1

CONFIG = {
    "data_shape": [1, 4, 8],
    "block_config": [2, 1],
    "layers_config": [1, 2],
    "layer_mid_chnls": [4, 6],
    "growth_rate": 1,
    "coupling_depth": 2,
    "coupling_growth": 3,
    "num_bits": 3,
    "dequant": {
        "num_steps": 1,
        "num_context": 3,
        "num_blocks": 1,
        "mid_channels": 4,
        "depth": 1,
        "growth": 3,
    },
}
CONSTANTS = {
    "transforms.0.ldj_per_dim": np.array(-2.0794415),
    "transforms.0.encoder.transforms.4.temperature": np.ones(1),
    "transforms.1._shift": np.array(-0.5),
    "transforms.1._scale": np.array(1.0),
    "transforms.4.dist.buffer": np.zeros(1),
}


def weights():
    """The table of the configuration; landmarks that fit its 2 positions are those of a model."""
    return list(table(published()))


def published(event_shape=(4, 8, 1), width=(4, 6), landmarks=(4, 2)):
    flow = kf.models.DenseFlow(
        event_shape,
        units=(2, 1),
        modules=(1, 2),
        growth=1,
        width=width,
        coupling_depth=2,
        coupling_growth=3,
        bits=3,
        dequantization={
            "class_name": "variational",
            "config": {"steps": 1, "width": 4, "depth": 1, "growth": 3, "context": 3},
        },
        landmarks=landmarks,
        dtype="float64",
    )
    return flow


def state(seed=0):
    """Random arrays of every name, with the constants."""
    rng, arrays = np.random.default_rng(seed), dict(CONSTANTS)
    for weight in weights():
        for name, shape in weight.shapes.items():
            if len(shape) == 2:
                arrays[name] = ortho_group.rvs(shape[0], random_state=rng)
            elif name.endswith(("running_var", "initialized")):
                arrays[name] = np.ones(shape)
            else:
                arrays[name] = 0.2 * rng.standard_normal(shape)
            if name.endswith("running_mean"):
                arrays[name.replace("running_mean", "num_batches_tracked")] = np.array(7)
    return arrays


def configuration():
    """As a flow of this library, whose landmarks can be told."""
    config = keras.saving.serialize_keras_object(published())
    return {"class_name": config["class_name"], "config": config["config"]}


@pytest.mark.slow  # half a minute
def test_every_weight_is_set_and_stays(written):
    one, other = (
        kf.zoo.import_checkpoint(written(state(seed)), configuration(), "float64")
        for seed in (0, 1)
    )
    constant = ("initialized", "sign", "order", "moving_variance", "seed_generator_state")
    for mine, theirs in zip(one.weights, other.weights, strict=True):
        if mine.name not in constant:
            assert not np.any(np.equal(mine, theirs)), mine.path
    steps = list(one.transform.innermost())
    assert all(step.initialized == 1 for step in steps if isinstance(step, ActNorm))
    x = np.random.default_rng(0).integers(8, size=(3, 4, 8, 1))
    before = [v.numpy() for v in one.trainable_variables]
    one.log_prob(x, training=True, seed=0)
    for old, new in zip(before, one.trainable_variables, strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.slow
def test_a_few_weights_in_numbers(written):
    arrays = state()
    flow = kf.zoo.import_checkpoint(written(arrays), configuration())
    assert flow.compute_dtype == "float32"
    module = flow.transform.steps[3].units[1].steps[0]
    prefix = "transforms.3.blocks.1.transforms.0.transforms"
    actnorm, conv, coupling = module.steps[:3]
    assert isinstance(conv, Conv1x1)
    np.testing.assert_allclose(actnorm.bias, -arrays[f"{prefix}.0.shift"].ravel(), rtol=1e-6)
    scale = -arrays[f"{prefix}.0.log_scale"].ravel()
    np.testing.assert_allclose(actnorm.log_scale, scale, rtol=1e-6)
    np.testing.assert_allclose(conv.matrix(), arrays[f"{prefix}.1.weight"], atol=1e-6)
    name = f"{prefix}.2.coupling_net.0.dn.transform.1.dense.1.nn.2.weight"
    wide = coupling.net.blocks[0].dense.pairs[1][1].kernel.numpy()
    np.testing.assert_allclose(wide, np.moveaxis(arrays[name], (2, 3, 1, 0), (0, 1, 2, 3)))
    noise = flow.transform.steps[3].couplings[0].last.bias
    name = "transforms.3.noise_params.0.transformation.2.bias"
    np.testing.assert_allclose(noise, arrays[name], rtol=1e-6)
    np.testing.assert_allclose(flow.base.loc, arrays["base_dist.loc"].ravel(), rtol=1e-6)


@pytest.mark.slow
def test_all_that_does_not_fit_is_one_error(written):
    arrays = state()
    name = "transforms.5.blocks.0.transforms.1.transforms.1.weight"
    arrays[name] = arrays[name][:5]
    del arrays["base_dist.loc"]
    arrays["transforms.9.weight"] = np.zeros((3, 1, 1, 1))
    arrays["base_dist.log_scale"][0, 3] = np.inf
    with pytest.raises(ValueError, match="does not fit the DenseFlow") as error:
        kf.zoo.import_checkpoint(written(arrays), configuration())
    assert sorted(map(str.strip, str(error.value).splitlines()[1:])) == [
        "NaN or infinity: base_dist.log_scale (1, 10, 1, 1)",
        "missing: base_dist.loc (1, 10, 1, 1)",
        f"shape: {name} (5, 10), needed (10, 10)",
        "unknown: transforms.9.weight (3, 1, 1, 1)",
    ]


@pytest.mark.slow
def test_a_singular_matrix_is_an_error(written):
    arrays = state()
    arrays["transforms.3.blocks.0.transforms.0.transforms.1.weight"][:] = 1.0
    with pytest.raises(ValueError, match="has no inverse"):
        kf.zoo.import_checkpoint(written(arrays), configuration())


# The options of the training script, and a width whose half is no whole number.
SCRIPT = {
    **{name: CONFIG[name] for name in ("growth_rate", "coupling_depth", "coupling_growth")},
    **{name: CONFIG[name] for name in ("num_bits", "dequant")},
    "data_shape": [1, 8, 8],
    "block_conf": [2, 1],
    "layers_conf": [1, 2],
    "layer_mid_chnls": [5, 6],
}


@pytest.fixture(scope="module")
def script_state():
    """Random arrays of the published model of those options, trained on several devices."""
    rng, arrays = np.random.default_rng(0), {}
    flow = published(event_shape=(8, 8, 1), width=(5, 6), landmarks=4)
    for weight in table(flow):
        for name, shape in weight.shapes.items():
            if len(shape) == 2:
                arrays[f"module.{name}"] = np.eye(*shape)
            elif name.endswith("running_var"):
                arrays[f"module.{name}"] = rng.uniform(0.5, 1.0, shape)
            else:
                arrays[f"module.{name}"] = 0.1 * rng.standard_normal(shape)
    return arrays


@pytest.mark.slow
def test_options_of_the_training_script_and_an_odd_width(written, script_state):
    flow = kf.zoo.import_checkpoint(written(script_state), SCRIPT)
    assert flow.get_config()["width"] == [5, 6] and flow.event_shape == (8, 8, 1)
    coupling = flow.transform.steps[3].units[1].steps[0].steps[2]
    attention = coupling.net.blocks[0].attention
    assert attention.embedding == 2 and attention.qkv.kernel.shape == (1, 1, 5, 6)
    name = (
        "module.transforms.3.blocks.1.transforms.0.transforms.2.coupling_net.0.dn.transform.1.mha"
    )
    expected = np.transpose(script_state[f"{name}.out_transform.weight"], (2, 3, 1, 0))
    np.testing.assert_allclose(attention.output_conv.kernel, expected, rtol=1e-6)
    x = np.random.default_rng(0).integers(8, size=(2, 8, 8, 1))
    assert np.all(np.isfinite(flow.log_prob(x, seed=0)))


@pytest.mark.parametrize(
    ("said", "fits"),
    [
        ({"block_conf": [1, 2]}, "block_conf [2, 1] (not [1, 2])"),
        ({"growth_rate": 2}, "growth_rate 1 (not 2)"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ({"layers_conf": [1, 1]}, "layers_conf [1, 2] (not [1, 1])"),
                ({"layer_mid_chnls": [6, 6]}, "layer_mid_chnls [5, 6] (not [6, 6])"),
                ({"data_shape": [3, 8, 8]}, "data_shape [1, 8, 8] (not [3, 8, 8])"),
                ({"coupling_growth": 4}, "coupling_growth 3 (not 4)"),
                ({"coupling_depth": 1}, "coupling_depth 2 (not 1)"),
            )
        ),
    ],
)
def test_options_that_the_arrays_contradict(written, script_state, said, fits):
    with pytest.raises(ValueError) as error:
        kf.zoo.import_checkpoint(written(script_state), {**SCRIPT, **said})
    assert f"What the arrays fit is {fits}." in str(error.value)


@pytest.mark.parametrize("name", ["block_conf", "layers_conf"])
def test_an_option_of_the_script_is_enough_to_know_the_family(written, name):
    with pytest.raises(ValueError, match="configuration of a DenseFlow lacks data_shape"):
        kf.zoo.import_checkpoint(written({}), {name: [1, 1]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers_config": None}, "lacks layers_config"),
        ({"dequant": {"num_blocks": 2}}, r"num_blocks 2 \(supported: 1\)"),
        ({"data_shape": [1, 6, 8]}, "divisible by 4"),
    ],
)
def test_configurations_that_are_not_supported(written, change, message):
    config = {name: value for name, value in {**CONFIG, **change}.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        kf.zoo.import_checkpoint(written({}), config)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [({"growth": 0}, "have cross-unit coupling"), ({"attention": None}, "have attention")],
)
def test_flows_that_were_never_published(written, change, message):
    config = configuration()
    config["config"] = {**config["config"], **change}
    with pytest.raises(ValueError, match=message):
        kf.zoo.import_checkpoint(written(state()), config)


@pytest.mark.slow
def test_the_command_line_makes_a_preset(written, tmp_path):
    path = written(state())
    (tmp_path / "config.json").write_text(json.dumps(configuration()), encoding="utf-8")
    arguments = ["import-checkpoint", str(path), str(tmp_path / "preset")]
    done = CliRunner().invoke(app, [*arguments, "--config", str(tmp_path / "config.json")])
    assert done.exit_code == 0, done.output
    assert "lower_bound" in done.output and "Lipschitz" not in done.output
    flow = kf.zoo.load(str(tmp_path / "preset"))
    expected = kf.zoo.import_checkpoint(path, configuration())
    x = np.random.default_rng(0).integers(8, size=(3, 4, 8, 1))
    np.testing.assert_array_equal(flow.log_prob(x, seed=0), expected.log_prob(x, seed=0))
