"""Where a configuration and the arrays of a published checkpoint differ: which option would fit."""

import numpy as np
import pytest

import keras_flows as kf
from keras_flows.models.residual.checkpoint import contradicted
from tests.models.test_checkpoint_denseflow import CONFIG as DENSEFLOW
from tests.models.test_checkpoint_images import PLAIN as IMAGES
from tests.models.test_checkpoint_images import State, squeezed
from tests.zoo import test_checkpoint as vectors

SLOW = pytest.mark.slow
SMALL = {**IMAGES, "fc_end": False}
SQUEEZED = {**SMALL, "squeeze_first": True, "nblocks": "1"}


@pytest.fixture(scope="module")
def arrays():
    """A function: the arrays of a published flow of a configuration."""
    images = np.random.default_rng(0).uniform(size=(1, 1, 8, 8))

    def made(config):
        state = State(config)
        state.encode(squeezed(images) if config.get("squeeze_first") else images)
        return state.arrays

    return made


CASES = [
    (SMALL, {"act": "CLipSwish"}, "act 'swish' (not 'CLipSwish')"),
    ({**SMALL, "act": "CLipSwish"}, {"act": "swish"}, "act 'CLipSwish' (not 'swish')"),
    (SMALL, {"idim": 6}, "idim 4 (not 6)"),
    (SMALL, {"nblocks": "2-1"}, "nblocks '1-1' (not '2-1')"),
    (SMALL, {"actnorm": False}, "actnorm True (not False)"),
    (SMALL, {"factor_out": True}, "factor_out False (not True)"),
    ({**SMALL, "factor_out": True}, {"factor_out": False}, "factor_out True (not False)"),
    (
        {**SMALL, "first_resblock": False},
        {"first_resblock": True},
        "first_resblock False (not True)",
    ),
    (SMALL, {"first_resblock": False}, "first_resblock True (not False)"),
    (SQUEEZED, {"squeeze_first": False}, "squeeze_first True (not False)"),
    (SMALL, {"squeeze_first": True}, "squeeze_first False (not True)"),
    (SMALL, {"input_size": [64, 1, 16, 16]}, "input_size [64, 1, 8, 8] (not [64, 1, 16, 16])"),
    (IMAGES, {"fc_idim": 8}, "fc_idim 6 (not 8)"),
    (SMALL, {"fc_end": True}, "fc_end False (not True)"),
    (SMALL, {"densenet": True}, "densenet False (not True)"),
]


@pytest.mark.parametrize(("true", "said", "fits"), CASES)
def test_what_the_arrays_of_images_contradict(arrays, true, said, fits):
    shapes = {name: np.shape(array) for name, array in arrays(true).items()}
    assert contradicted(true, shapes) == {}
    ((name, values),) = contradicted({**true, **said}, shapes).items()
    assert f"{name} {values[0]!r} (not {said[name]!r})" == fits


@pytest.mark.parametrize(
    "case",
    [case if i in (0, 9) else pytest.param(case, marks=SLOW) for i, case in enumerate(CASES)],
)
def test_the_error_says_what_fits(written, arrays, case):
    true, said, fits = case
    with pytest.raises(ValueError) as error:
        kf.zoo.import_checkpoint(written(arrays(true)), {**true, **said})
    assert f"What the arrays fit is {fits}." in str(error.value)


@pytest.mark.parametrize(
    ("state", "true", "said", "fits"),
    [
        (vectors.plain_state, vectors.PLAIN, {"dims": "5-8"}, "dims '5-7' (not '5-8')"),
        (vectors.plain_state, vectors.PLAIN, {"nblocks": 3}, "nblocks 2 (not 3)"),
        (
            vectors.plain_state,
            vectors.PLAIN,
            {"act": "relu", "actnorm": True},
            "act 'swish' (not 'relu'); actnorm False (not True)",
        ),
        (vectors.plain_state, vectors.PLAIN, {"densenet": True}, "densenet False (not True)"),
        (vectors.dense_state, vectors.DENSE, {"densenet_growth": 8}, "densenet_growth 6 (not 8)"),
        (vectors.dense_state, vectors.DENSE, {"densenet_depth": 3}, "densenet_depth 2 (not 3)"),
    ],
)
def test_vectors(written, state, true, said, fits):
    with pytest.raises(ValueError) as error:
        kf.zoo.import_checkpoint(written(state()), {**true, **said})
    assert f"What the arrays fit is {fits}." in str(error.value)


def test_activations_that_arrays_do_not_tell_apart(written):
    state = {n: a for n, a in vectors.plain_state().items() if not n.endswith("beta")}
    with pytest.raises(ValueError, match=r"'relu' or 'elu' or 'tanh' or 'softplus' \(not 'swish'"):
        kf.zoo.import_checkpoint(written(state), vectors.PLAIN)


def test_an_option_that_is_not_given(written):
    lacking = {name: value for name, value in vectors.PLAIN.items() if name != "dims"}
    with pytest.raises(ValueError, match=r"lacks dims.*dims '5-7' \(which is not given\)"):
        kf.zoo.import_checkpoint(written(vectors.plain_state()), lacking)


def test_what_else_is_needed_then(written):
    state, config = vectors.dense_state(), {**vectors.PLAIN, "actnorm": True}
    config = {name: value for name, value in config.items() if name != "lip_coeff"}
    with pytest.raises(ValueError, match=r"densenet True .*With that: .* lacks lip_coeff"):
        kf.zoo.import_checkpoint(written(state), config)


def test_arrays_of_something_else_fit_nothing(written):
    for config in (vectors.PLAIN, SMALL, DENSEFLOW):
        with pytest.raises(ValueError) as error:
            kf.zoo.import_checkpoint(written({"conv1.weight": np.zeros((4, 1, 3, 3))}), config)
        assert "fit is" not in str(error.value)
