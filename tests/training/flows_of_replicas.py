"""Flows that are trained by several replicas in tests, and what is compared of them."""

import keras
import numpy as np

import keras_flows as kf

ROWS = np.random.default_rng(0).standard_normal((50, 4)) * 2.0 + 1.0
IMAGES = np.random.default_rng(1).integers(0, 32, (20, 4, 4, 1)).astype("uint8")


def residual():
    """Probes, a random number of terms, power iterations, a delayed start, and ActNorm."""
    return kf.models.IDenseNet(
        (4,),
        blocks=1,
        depth=2,
        growth=4,
        actnorm=True,
        log_det="unbiased",
        concatenation_start=3,
        dtype="float64",
    )


def spline():
    """A spline flow."""
    return kf.models.SplineFlow((4,), layers=1, width=8, blocks=1, dtype="float64")


def normalized():
    """Batch normalisation between the steps, as published for MAF."""
    return kf.models.MaskedAutoregressiveFlow(
        (4,), layers=2, width=8, depth=1, batch_normalization=True, dtype="float64"
    )


def dense():
    """A DenseFlow: dequantization, appended noise, ActNorm, batch normalisation in networks."""
    return kf.models.DenseFlow(
        (4, 4, 1),
        units=(1,),
        modules=(1,),
        growth=1,
        width=4,
        coupling_depth=1,
        coupling_growth=2,
        dequantization="uniform",
        bits=5,
        attention=None,
        dtype="float64",
    )


# The flow, its data, the arguments of `compile`. Gradients that batch normalisation makes zero but
# for rounding are not for Adam, which makes steps of full length of them.
WITHOUT_ADAM = ("normalized", "dense")
CASES = {
    "residual": (residual, ROWS, {}),
    "compiled": (residual, ROWS, {"jit_compile": True}),
    "spline": (spline, ROWS, {}),
    "normalized": (normalized, ROWS, {}),
    "dense": (dense, IMAGES, {}),
    # Of which there are so many updates that XLA would compile it first.
    "endless": (spline, ROWS, {"jit_compile": False}),
}


def made(case):
    """A compiled flow, always the same; inside the scope of a strategy, where there is one."""
    build, _, arguments = CASES[case]
    keras.utils.set_random_seed(3)
    flow = build()
    kind = keras.optimizers.SGD if case in WITHOUT_ADAM else keras.optimizers.Adam
    # Clipped far below what the gradients are, and averaged.
    optimizer = kind(0.01, global_clipnorm=0.1, use_ema=True, ema_momentum=0.9)
    flow.compile(optimizer, **arguments)
    return flow


def fitted(flow, case, **arguments):
    """Fits and evaluates; gives a dictionary of arrays that hold all that came of it.

    The data are no multiple of the batch size: with two replicas the last batch is of one of them.
    """
    _, x, _ = CASES[case]
    size = 2 * len(x) // 5
    weights = np.linspace(0.5, 1.5, len(x)) if case == "spline" else None
    history = flow.fit(
        x,
        sample_weight=weights,
        batch_size=size,
        epochs=2,
        shuffle=False,
        verbose=0,
        validation_data=x,
        **arguments,
    )
    scores = flow.evaluate(x, batch_size=size, verbose=0, return_dict=True)
    arrays = {f"history/{name}": values for name, values in history.history.items()}
    arrays |= {f"evaluate/{name}": value for name, value in scores.items()}
    for i, variable in enumerate((*flow.weights, *flow.optimizer.variables)):
        arrays[f"weights/{i}"] = keras.ops.convert_to_numpy(variable)
    return arrays
