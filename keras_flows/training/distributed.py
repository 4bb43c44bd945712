"""Training by several replicas: what a strategy, an optimizer and Keras have to be told."""

import keras
import tensorflow as tf

from keras_flows.numerics import replicas
from keras_flows.training.normalization import norms


def check_scope(model):
    """Checks that no strategy is in force but the one that a model was made under.

    Raises:
        ValueError: If another one is.
    """
    strategy = tf.distribute.get_strategy()
    made_here = strategy.extended.variable_created_in_scope
    if tf.distribute.has_strategy() and not made_here(model.weights[0].value):
        raise ValueError(
            f"This flow was made outside of the {type(strategy).__name__} that it is fitted under: "
            "make it, and compile it, inside `with strategy.scope():`."
        )


def compiles(model):
    """Whether XLA can compile the loss of a model and its gradients.

    Not where replicas exchange the statistics of batch normalisation in it.
    """
    several = model.distribute_strategy.num_replicas_in_sync > 1
    return not (several and any(layer.trainable for layer in norms(model)))


def prepare(optimizer, strategy):
    """Makes an optimizer take gradients that are those of all replicas already.

    Keras would clip the gradients of every replica by themselves, and add them up then.

    Args:
        optimizer: A Keras optimizer.
        strategy: That of its model, with several replicas.

    Raises:
        ValueError: If it was made outside of the strategy's scope, or does what Keras cannot do
            with several replicas.
    """
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        raise ValueError(
            "A LossScaleOptimizer is for float16, which flows do not train in: give the optimizer "
            "inside it."
        )
    for name in ("gradient_accumulation_steps", "ema_overwrite_frequency"):
        if getattr(optimizer, name):
            raise ValueError(
                f"Keras cannot do {name} with several replicas: leave it out of the optimizer."
            )
    if not strategy.extended.variable_created_in_scope(optimizer.iterations.value):
        raise ValueError(
            "The optimizer was made outside of the strategy's scope: make it, and compile the "
            "flow, inside `with strategy.scope():`."
        )
    optimizer._all_reduce_sum_gradients = list


class JointMean(keras.metrics.Mean):
    """A mean over the examples of all replicas, of which each keeps the same numbers.

    Keras's own keeps its part in each, and has all replicas add them up wherever one is read: a
    worker could not save a model by itself.
    """

    def add_variable(self, shape, initializer, dtype=None, aggregation="none", name=None):
        return keras.Variable(
            initializer, shape=shape, dtype=dtype or self.dtype, trainable=False, name=name
        )


def mean(name, strategy):
    """The metric of a mean over examples, in a model that was made under a strategy."""
    several = strategy.num_replicas_in_sync > 1
    return JointMean(name=name) if several else keras.metrics.Mean(name=name)


def joint_mean(values, weights):
    """The mean over all replicas' examples, and the sum of their weights; both scalars.

    Args:
        values: Of this replica's examples, `(batch,)`.
        weights: Theirs, or None where each is 1.
    """
    if weights is None:
        weights = tf.ones_like(values)
    weights = tf.cast(weights, values.dtype)
    weighted, weight = replicas.total(tf.reduce_sum(weights * values), tf.reduce_sum(weights))
    return tf.math.divide_no_nan(weighted, weight), weight


def results(metrics, strategy):
    """The results of metrics by their names, as Keras takes them from a step of a replica."""
    # Of several workers, Keras takes the mean over their first axis.
    several = number_of_workers(strategy) > 1
    return {name: value[None] if several else value for name, value in metrics.items()}


def number_of_workers(strategy):
    """How many processes a strategy has, 1 for any but that of several workers."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 1
    cluster = strategy.cluster_resolver.cluster_spec().as_dict()
    return max(1, sum(len(cluster.get(job, ())) for job in ("chief", "worker")))
