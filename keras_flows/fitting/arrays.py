"""A flow for an array of rows, by the rules of `fit`, where others do the rest of it."""

from collections.abc import Sequence

import numpy as np

from keras_flows.data import columns
from keras_flows.data.schema import Rows, Schema
from keras_flows.fitting import build, defaults, training
from keras_flows.flow import Flow


def fit_array(
    x: np.ndarray, names: Sequence[str] | None, holdout: float, epochs: int, seed: int
) -> Flow:
    """A flow trained on an array, with the best weights by some rows held out of it.

    Args:
        x: Finite numbers `(n, columns)`, at least four rows.
        names: Of the columns; "0", "1", … by default.
        holdout: The share of the rows that chooses the weights, at least two rows.
        epochs: At most so many; see `keras_flows.fitting.settings`.
        seed: Of everything random.

    Returns:
        A `keras_flows.Flow` with a schema, in which every column has the kind that
        `keras_flows.data.table` infers.

    Raises:
        NonFiniteError: If training meets NaN or infinity.
        ValueError: If a column is constant in the rows to train on.
    """
    x = np.asarray(x, np.float64)
    order = np.random.default_rng((seed, 1)).permutation(len(x))
    held_out = min(max(2, round(holdout * len(x))), len(x) - 2)
    train, validation = x[np.sort(order[held_out:])], x[np.sort(order[:held_out])]
    names = [str(i) for i in range(x.shape[1])] if names is None else [str(n) for n in names]
    constant = [
        name for name, values in zip(names, train.T, strict=True) if values.min() == values.max()
    ]
    if constant:
        raise ValueError(
            f"A density on constant columns is infinite, and {', '.join(constant)} "
            f"{'is' if len(constant) == 1 else 'are'} in the {len(train)} rows to train on. Leave "
            "them out."
        )
    schema = Schema(
        tuple(
            columns.Column(name, columns.infer(values)[0])
            for name, values in zip(names, x.T, strict=True)
        )
    )
    rows, chosen_by = (Rows(schema, part, {}) for part in (train, validation))
    settings = defaults.settings(len(train), epochs=epochs, seed=seed)
    flow = build.flow_for(rows, defaults.MODEL, {}, seed)
    return training.train(flow, rows, chosen_by, settings).flow
