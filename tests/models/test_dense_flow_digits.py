"""A class-conditional DenseFlow on real digits learns what its labels mean."""

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits

from tests.registry import dense_flow

LABELS = (0, 1)


def digits():
    """Images of two digits, `(n, 8, 8, 1)`, and their labels 0 and 1."""
    images, targets = load_digits(return_X_y=True)
    chosen = np.isin(targets, LABELS)
    return images[chosen].reshape(-1, 8, 8, 1).astype("float32"), targets[chosen]


@pytest.mark.slow
def test_labels_of_digits_are_learned():
    keras.utils.set_random_seed(0)
    x, labels = digits()
    flow = dense_flow(
        (8, 8, 1),
        bits=5,
        units=(2, 1),
        modules=(2, 1),
        width=16,
        coupling_growth=8,
        attention="proper",
        context_shape=(),
        context_embedding=keras.layers.Embedding(2, 4),
    )("float32")
    flow.compile(keras.optimizers.Adam(5e-3), jit_compile=False)
    train, test = slice(0, 300), slice(300, None)
    flow.fit(x[train], labels[train], epochs=15, batch_size=50, verbose=0)
    right, wrong = (
        -flow.log_prob(x[test], given, seed=0).numpy() for given in (labels[test], 1 - labels[test])
    )
    # Given the other label, an image costs many nats more.
    assert right.mean() + 10.0 < wrong.mean()
    assert np.mean(right < wrong) > 0.9
    means = np.stack([x[train][labels[train] == label].mean(axis=0) for label in LABELS])
    for label in LABELS:
        samples = flow.sample(100, seed=0, context=label).numpy()
        distances = np.sum((samples[:, None] - means) ** 2, axis=(2, 3, 4))
        assert np.mean(distances.argmin(axis=1) == label) > 0.8
