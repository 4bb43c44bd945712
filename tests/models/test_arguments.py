"""Arguments of models: recorded once, and configurations of earlier versions."""

import json

import keras
import numpy as np
import pytest

from keras_flows import models, zoo
from keras_flows.models import DenseFlow, IDenseNet, ResidualFlow, registry
from keras_flows.models.residual.model import FullyConnected
from keras_flows.transforms import UniformDequantization, VariationalDequantization
from keras_flows.zoo.handles import entries

SMALL = {"units": (1,), "modules": (1,), "growth": 0, "width": 4, "coupling_depth": 1}
SMALL |= {"coupling_growth": 2, "attention": None}
SIZES = {"steps": 1, "width": 4, "depth": 1, "growth": 2, "context": 2}
IMAGES = {"blocks": (1,), "depth": 1, "growth": 2}


def config_of(flow):
    """The configuration as JSON has it."""
    return json.loads(json.dumps(keras.saving.serialize_keras_object(flow)))


QUICK = ("denseflow_digits", "idensenet_two_moons", "residual_flow_mnist")
ENTRIES = [
    pytest.param(entry.name, marks=() if entry.name in QUICK else pytest.mark.slow)
    for entry in zoo.list()
]


@pytest.mark.slow
@pytest.mark.parametrize("name", ENTRIES)
def test_the_shipped_configurations_build_and_stay(name):
    shipped = json.loads((entries() / name / "config.json").read_text(encoding="utf-8"))
    flow = keras.saving.deserialize_keras_object(shipped)
    assert flow.count_params() > 0
    config = config_of(flow)
    assert not [key for key in config["config"] if key.startswith(("fc_", "dequantizer_"))]
    assert config_of(keras.saving.deserialize_keras_object(config)) == config


def test_old_numbers_of_the_dequantizer():
    old = {**SMALL, "event_shape": (4, 4, 1), "bits": 3, "dequantization": "variational"}
    old |= {f"dequantizer_{name}": size for name, size in SIZES.items()}
    flow = DenseFlow.from_config(old)
    made = flow.transform.steps[0]
    assert (made.steps_count, made.width, made.depth, made.growth) == (1, 4, 1, 2)
    assert flow.bits == 3
    uniform = DenseFlow.from_config({**old, "dequantization": "uniform"})
    assert isinstance(uniform.transform.steps[0], UniformDequantization)


def test_old_numbers_of_fully_connected_blocks():
    dense = IDenseNet.from_config(
        {**IMAGES, "event_shape": (4, 4, 1), "fc_blocks": 2, "fc_growth": 6}
    )
    assert dense.arguments.fully_connected == FullyConnected(2, 6)
    plain = {"blocks": (1,), "widths": (4, 4), "event_shape": (4, 4, 1), "fc_blocks": 1}
    assert ResidualFlow.from_config(plain).arguments.fully_connected == FullyConnected(1, 128)


def test_old_arguments_of_recipes():
    old = {"dequantizer_steps": 2, "dequantizer_width": 16, "units": [3, 2]}
    assert registry.upgraded("DenseFlow", old) == {
        "units": [3, 2],
        "dequantization": {"class_name": "variational", "config": {"steps": 2, "width": 16}},
    }
    assert registry.upgraded("residual_flow_mnist", {"fc_blocks": 2, "fc_width": 110}) == {
        "fully_connected": {"blocks": 2, "size": 110}
    }


@pytest.mark.parametrize(
    "given",
    [
        "variational",
        {"class_name": "variational", "config": SIZES},
        VariationalDequantization(8, **SIZES),
        UniformDequantization(8),
    ],
    ids=["name", "arguments", "variational", "uniform"],
)
def test_dequantization_in_all_forms(given):
    first, second = (DenseFlow((4, 4, 1), **SMALL, dequantization=given) for _ in range(2))
    assert first.bits == 8
    assert first.transform.steps[0] is not second.transform.steps[0]
    assert config_of(keras.saving.deserialize_keras_object(config_of(first))) == config_of(first)


@pytest.mark.parametrize("given", [VariationalDequantization(3, **SIZES), UniformDequantization(3)])
def test_a_dequantization_takes_the_dtype_of_its_flow(given):
    assert given.compute_dtype == "float32"
    flow = DenseFlow((4, 4, 1), **SMALL, dequantization=given, dtype="float64")
    assert flow.transform.steps[0].compute_dtype == "float64"
    assert flow.log_prob(np.zeros((1, 4, 4, 1)), seed=0).dtype == "float64"
    copied = keras.saving.deserialize_keras_object(config_of(flow))
    assert copied.transform.steps[0].compute_dtype == "float64"


def test_bits_belong_to_the_dequantization():
    flow = DenseFlow((4, 4, 1), **SMALL, dequantization=UniformDequantization(3))
    assert flow.bits == flow.arguments.bits == 3
    with pytest.raises(ValueError, match="one of 3 bits, but bits=5: leave bits out"):
        DenseFlow((4, 4, 1), **SMALL, dequantization=UniformDequantization(3), bits=5)
    with pytest.raises(ValueError, match="Unknown dequantization 'unifrom'"):
        DenseFlow((4, 4, 1), **SMALL, dequantization="unifrom")


def test_fully_connected_in_all_forms():
    for given, blocks, size in (
        (None, 0, 32),
        ({"blocks": 1}, 1, 32),
        (FullyConnected(1, 6), 1, 6),
    ):
        flow = IDenseNet((4, 4, 1), **IMAGES, fully_connected=given)
        assert flow.arguments.fully_connected == FullyConnected(blocks, size)
        assert len(flow.blocks) == 1 + blocks
    with pytest.raises(ValueError, match="fully_connected has no argument 'widht'"):
        IDenseNet((4, 4, 1), **IMAGES, fully_connected={"widht": 3})
    with pytest.raises(ValueError, match="fully_connected is for images"):
        IDenseNet((2,), fully_connected=FullyConnected(1))


@pytest.mark.parametrize(
    "given",
    [
        {"bits": 8},
        {"alpha": 0.05},
        {"squeeze_first": False},
        {"fully_connected": FullyConnected(4, 32)},
        {"factor_out": False},
        {"first_actnorm": True},
    ],
    ids=lambda given: next(iter(given)),
)
def test_what_is_for_images_is_no_argument_of_vectors(given):
    # Not even the default, which says nothing there.
    (name,) = given
    with pytest.raises(ValueError, match=f"{name} is for images; this flow is on vectors"):
        IDenseNet((2,), blocks=1, **given)
    assert name not in IDenseNet((2,), blocks=1, depth=1, growth=2).get_config()


def test_old_configurations_of_vectors_have_the_defaults_of_images():
    connected = keras.saving.serialize_keras_object(FullyConnected(4, 32))
    old = {"event_shape": [2], "blocks": 1, "depth": 1, "growth": 2, "bits": 8, "alpha": 0.05}
    old |= {"squeeze_first": False, "factor_out": False, "fully_connected": connected}
    flow = IDenseNet.from_config(old)
    assert "bits" not in flow.get_config() and flow.event_shape == (2,)
    older = {name: old[name] for name in ("event_shape", "blocks", "depth", "growth")}
    assert IDenseNet.from_config({**older, "fc_blocks": 4, "fc_growth": 32}).blocks
    for other in ({"bits": 5}, {"fc_blocks": 1}):
        with pytest.raises(ValueError, match="is for images"):
            IDenseNet.from_config({**older, **other})


def test_none_is_the_default_where_it_depends_on_the_events():
    flow = IDenseNet((2,), blocks=1, depth=None, growth=2, coeff=None)
    assert (flow.arguments.depth, flow.arguments.coeff) == (4, 0.9)
    flow = IDenseNet((4, 4, 1), **{**IMAGES, "depth": None}, fully_connected=None, bits=None)
    assert (flow.arguments.depth, flow.bits) == (3, None)


def test_what_was_left_out_is_in_the_configuration():
    config = IDenseNet((2,), blocks=1).get_config()
    assert (config["depth"], config["growth"], config["activation"]) == (4, 90, "lipswish")
    config = models.from_name("residual_flow_mnist", blocks=(1,), widths=(4, 4)).get_config()
    assert config["coeff"] == 0.93 and config["blocks"] == [1]


def test_arguments_are_copied():
    units, sizes = [1], dict(SIZES)
    kind = {"class_name": "variational", "config": sizes}
    flow = DenseFlow((4, 4, 1), **{**SMALL, "units": units}, dequantization=kind)
    before = config_of(flow)
    units.append(2)
    sizes["width"] = 6
    assert config_of(flow) == before


def test_numpy_numbers_are_numbers():
    flow = DenseFlow((4, 4, 1), **{**SMALL, "width": np.int64(4)}, dequantization="uniform")
    assert config_of(flow)["config"]["width"] == 4
    flow = IDenseNet((2,), blocks=np.int32(1), depth=1, growth=2, coeff=np.float32(0.5))
    assert config_of(flow)["config"]["coeff"] == 0.5


@pytest.mark.parametrize("model", [IDenseNet, ResidualFlow])
def test_the_inverse_has_the_tolerance_that_was_asked_for(model):
    flow = model((2,), blocks=2, tolerance=1e-3)
    assert [block.tolerance for block in flow.blocks] == [1e-3, 1e-3]
    assert model.from_config(flow.get_config()).blocks[1].tolerance == 1e-3
    assert model((2,), blocks=1).blocks[0].tolerance == 1e-6
    with pytest.raises(ValueError, match="tolerance"):
        model((2,), blocks=1, tolerance=0.0)
