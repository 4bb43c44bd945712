"""Small flows of every kind, with weights that are no longer at their start."""

import functools

import keras
import numpy as np
import pytest

import keras_flows as kf
from keras_flows import transforms
from keras_flows.numerics.log_det import PowerSeries


def chain(*steps, shape):
    return kf.Flow(transforms.Chain(list(steps)), shape)


def dense(**arguments):
    return kf.models.IDenseNet((2,), blocks=2, depth=1, growth=8, block_bound=0.9, **arguments)


def wide(**arguments):
    """Beyond the size at which the inverse uses the Jacobian."""
    return kf.models.ResidualFlow((9,), blocks=2, widths=(8,), block_bound=0.9, **arguments)


BUILDERS = {
    "exact": lambda: dense(actnorm=True),
    "conditional": lambda: dense(context_shape=(3,)),
    "wide": wide,
    "labels": lambda: wide(context_shape=(), context_embedding=keras.layers.Embedding(4, 3)),
    "series": lambda: wide(log_det=PowerSeries(6, probes=2)),
    "unbiased": lambda: wide(log_det="unbiased"),
    "integers": lambda: chain(
        transforms.UniformDequantization(5),
        transforms.Logit(),
        transforms.ActNorm(),
        shape=(2, 3),
    ),
    "chain": lambda: chain(
        transforms.Logit(),
        transforms.ActNorm(),
        transforms.Permutation([2, 0, 1]),
        transforms.Affine(0.5, 2.0),
        transforms.Reverse(),
        shape=(3,),
    ),
}


@pytest.fixture(scope="session")
def build():
    def build(name):
        keras.utils.set_random_seed(0)
        flow = BUILDERS[name]()
        rng = np.random.default_rng(0)
        for weight in flow.trainable_weights:
            weight.assign(weight + 0.3 * rng.standard_normal(weight.shape))
        flow.converge()
        return flow

    return build


@pytest.fixture(scope="session")
def exported(build, tmp_path_factory):
    """Exports a flow once: `exported(to, name)` gives the flow, its folder and the report."""
    folders = tmp_path_factory.mktemp("exported")

    @functools.cache
    def export(to, name):
        flow, folder = build(name), folders / to.__name__ / name / "1"
        return flow, folder, to(flow, folder)

    return export


def inputs(flow, n, seed):
    """Fresh inputs: `(x, z, context, noise)`, the last two None where the flow takes none."""
    rng = np.random.default_rng(seed)
    context = noise = None
    if flow.context_shape == ():
        context = rng.integers(4, size=n).astype("int32")
    elif flow.context_shape is not None:
        context = rng.standard_normal((n, *flow.context_shape)).astype("float32")
    if flow.noise_shape("encode") != (0,):
        noise = rng.standard_normal((n, *flow.noise_shape("encode"))).astype("float32")
    z = rng.standard_normal((n, *flow.latent_shape)).astype(flow.compute_dtype)
    return flow.decode(z, context).numpy(), z, context, noise


def given(**arrays):
    return {name: array for name, array in arrays.items() if array is not None}


@pytest.fixture(scope="session")
def fresh():
    return inputs, given
