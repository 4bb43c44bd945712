"""The guard against NaN in training: which step met the first one, and in which part."""

import tensorflow as tf


class Parts:
    """The parts of a training step by name, and whether each is finite, in the order of making."""

    def __init__(self):
        self.names = []
        self.finite = []

    def add(self, name, *tensors):
        """Notes whether tensors hold neither NaN nor infinity."""
        self.names.append(name)
        finite = [tf.reduce_all(tf.math.is_finite(tensor)) for tensor in tensors]
        self.finite.append(tf.reduce_all(tf.stack(finite)))

    def all(self):
        """Whether each is, a bool tensor `(parts,)`."""
        return tf.stack(self.finite)


class Guard:
    """Remembers the first training step of a fit whose parts were not all finite.

    Attributes:
        names: The names of the parts, as of the last step that was traced.
    """

    def __init__(self):
        self.names = []
        # The step and the part; not a weight of the model.
        self._failure = tf.Variable([-1, -1], dtype=tf.int64, trainable=False)

    def reset(self):
        """Forgets; before a fit."""
        self._failure.assign([-1, -1])

    def note(self, step, names, finite):
        """Notes the parts of a step, as `Parts` has them; part of the compiled training step."""
        self.names = names
        bad = tf.logical_not(finite)
        part = tf.where(tf.reduce_any(bad), tf.argmax(bad, output_type=tf.int64), -1)
        known = tf.convert_to_tensor(self._failure)
        here = tf.stack([tf.cast(step, tf.int64), part])
        self._failure.assign(tf.where((known[1] < 0) & (part >= 0), here, known))

    @property
    def failure(self):
        """`(step, name of the part)` of the first NaN or infinity; None without one."""
        step, part = (int(i) for i in self._failure.numpy())
        return None if part < 0 else (step, self.names[part])
