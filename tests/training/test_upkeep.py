"""State that follows the weights, and validation that training does not see."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_flows.layers.upkeep import Upkeep
from keras_flows.models import IDenseNet
from keras_flows.training import upkeep

X = np.random.default_rng(0).standard_normal((40, 2)).astype("float32")


def flow(**arguments):
    keras.utils.set_random_seed(1)
    made = IDenseNet((2,), blocks=1, depth=2, growth=4, **arguments)
    made.compile(keras.optimizers.Adam(0.05), jit_compile=False)
    return made


def values(model):
    return [weight.numpy().copy() for weight in model.weights]


def fitted(**arguments):
    made = flow()
    made.fit(X, epochs=3, batch_size=10, shuffle=False, verbose=0, **arguments)
    return values(made)


@pytest.mark.slow
def test_a_fit_with_validation_ends_with_the_same_weights():
    for one, other in zip(fitted(), fitted(validation_data=X[:20]), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_evaluation_leaves_no_trace():
    made = flow()
    made.fit(X, epochs=1, verbose=0)
    made.trainable_weights[0].assign_add(0.5 * tf.ones_like(made.trainable_weights[0]))
    before = values(made)
    made.evaluate(X, verbose=0)
    for one, other in zip(before, values(made), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_layers_with_such_state_are_found_by_their_class():
    kinds = {type(layer).__name__ for layer in upkeep.kept_up(flow())}
    assert {"SpectralDense", "LipschitzConcatenation"} <= kinds


def test_a_layer_of_ones_own_is_kept_up():
    class Counting(Upkeep, keras.layers.Layer):
        fresh = True
        updates = converged = 0

        def after_update(self):
            self.updates += 1

        def converge(self):
            self.converged += 1

    model = keras.Sequential([Counting(), keras.layers.Dense(2)])
    upkeep.after_update(model)
    upkeep.converge(model, only_fresh=True)
    assert (model.layers[0].updates, model.layers[0].converged) == (1, 1)


def test_weights_are_put_back_after_an_error():
    made = flow()
    before = values(made)
    with pytest.raises(KeyError), upkeep.restored(made):
        made.weights[0].assign_add(tf.ones_like(made.weights[0]))
        raise KeyError
    for one, other in zip(before, values(made), strict=True):
        np.testing.assert_array_equal(one, other)
