# %% [markdown]
# # Add a transform
#
# A step of a flow is a Keras layer with two methods: `encode` returns the latent and the log-det,
# `decode` goes back. Everything else (training, sampling, saving, TFP, exports) follows from these. This
# tutorial writes one that the package does not have, checks it, and trains a flow with it.
#
# The step is a *leaky* map, `z = x` where x is positive and `z = x / slope` where it is negative, with a
# trained slope for each feature. It makes skewed data symmetric.
#
# | | |
# | --- | --- |
# | encode | `z = x` for x ≥ 0, `z = x exp(-a)` for x < 0 |
# | log-det | `-a` for every negative feature, summed |
# | decode | `x = z` for z ≥ 0, `x = z exp(a)` for z < 0 |

# %%
import keras
import numpy as np
import tensorflow as tf

import keras_flows as kf


@keras.saving.register_keras_serializable("tutorial")
class Leaky(kf.transforms.Transform):
    """`z = x` for x >= 0 and `z = x exp(-a)` for x < 0, a trained for each feature."""

    def build(self, input_shape):
        self.a = self.add_weight(shape=(input_shape[-1],), initializer="zeros", name="a")
        super().build(input_shape)

    def encode(self, x, context=None, noise=None, training=False):
        a = tf.where(x < 0.0, self.a, 0.0)
        return x * tf.exp(-a), -tf.reduce_sum(a, axis=-1)

    def decode(self, z, context=None, noise=None):
        return z * tf.exp(tf.where(z < 0.0, self.a, 0.0))


# %% [markdown]
# That is all. `likelihood` is `"exact"` by default; a step that draws, or that changes shapes, states it
# (`kf.transforms.Transform` lists what there is to state).
#
# ## Check it
#
# The two things that are wrong in a wrong transform are the inverse and the log-det. A flow makes both
# easy to see; the log-det is compared with the determinant of the automatic Jacobian.

# %%
step = Leaky()
flow = kf.Flow(step, (3,))
step.a.assign([0.5, -1.0, 2.0])
x = np.random.default_rng(0).normal(size=(200, 3)).astype("float32")

print("round trip:", float(np.abs(flow.decode(flow.encode(x)) - x).max()))

with tf.GradientTape() as tape:
    inputs = tf.constant(x)
    tape.watch(inputs)
    z, log_det = step.encode(inputs)
jacobian = tape.batch_jacobian(z, inputs)
difference = log_det - tf.linalg.slogdet(jacobian).log_abs_determinant
print("log-det, from the automatic one:", float(np.abs(difference).max()))

# %% [markdown]
# ## Use it
#
# Skewed data: a normal number whose negative part is three times as wide.

# %%
rng = np.random.default_rng(1)


def skewed(n):
    values = rng.normal(size=(n, 3))
    return np.where(values < 0, 3.0 * values, values).astype("float32")


leaky = kf.Flow(kf.transforms.Chain([Leaky(), kf.transforms.ActNorm()]), (3,))
plain = kf.Flow(kf.transforms.ActNorm(), (3,))
train, test = skewed(4000), skewed(4000)
for name, model in (("ActNorm", plain), ("Leaky, ActNorm", leaky)):
    model.compile(keras.optimizers.Adam(0.02))
    model.fit(train, batch_size=200, epochs=10, verbose=0)
    result = kf.measure.evaluate(model, test)
    print(f"{name:15} test NLL {result.nll:.3f} ± {result.standard_error:.3f} nats")
print("slopes:", np.exp(leaky.transform.steps[0].a.numpy()).round(2))

# %% alt="Left: a histogram of skewed data with samples of both flows: that with the new step follows the kink at zero, the other one does not. Right: the encoded data, a bell."
import matplotlib.pyplot as plt

figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
edges = np.linspace(-9, 4, 60)
axes[0].hist(test[:, 0], edges, density=True, color="0.8", label="data")
for name, model in (("ActNorm", plain), ("Leaky, ActNorm", leaky)):
    drawn = model.sample(20_000, seed=0).numpy()[:, 0]
    axes[0].hist(drawn, edges, density=True, histtype="step", linewidth=1.5, label=name)
axes[0].set(title="one feature")
axes[0].legend()
axes[1].hist(leaky.encode(test)[:, 0], 60, density=True, color="#3f51b5", alpha=0.7)
axes[1].set(title="encoded by the leaky flow")
plt.show()

# %% [markdown]
# ## What comes with it
#
# Saving and loading, since the class is registered; TensorFlow Probability; an export that is compared
# with the flow before it is written:

# %%
leaky.save_to_preset("leaky")
print("loaded:", np.array_equal(kf.zoo.load("leaky").log_prob(test), leaky.log_prob(test)))
bijector = leaky.as_bijector()
print(
    "log-det by TFP:", bijector.inverse_log_det_jacobian(test[:2], event_ndims=1).numpy().round(3)
)
report = kf.export.to_onnx(leaky, "leaky_onnx")
print("ONNX agrees:", all(row.passed for row in report.rows))

# %% [markdown]
# ## Into the package
#
# A transform that others should have takes four places, and no more:
#
# 1. its file in `keras_flows/transforms/`, with the equation, shapes, errors and source in its docstring;
# 2. its line in `keras_flows/transforms/__init__.py`;
# 3. one entry in `tests/registry.py`, which sends it through the property suite: inverse, log-det,
#    gradients, XLA, dtypes, saving, bad input, exports;
# 4. one line in [Transforms](../transforms.md) and one in the list of [the API](../api.md).
#
# [Contributing](../contributing.md) has the details.
#
# ## Where to go next
#
# * [Transforms](../transforms.md): those there are, and what their likelihoods are.
# * A new map or mask of couplings is even less: `kf.transforms.Coupling`.
