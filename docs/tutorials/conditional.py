# %% [markdown]
# # Conditional flows
#
# A conditional flow is a density of x *given* something: a class, a set of measurements, the state of a
# simulator. It scores and samples for any context, and with Bayes' rule it says which context is
# probable. The data are three densities on the plane, told apart by a label.

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np

import keras_flows as kf

NAMES = ("two_moons", "pinwheel", "eight_gaussians")


def draw(n, seed):
    """n labelled points, as many of each density."""
    parts = [kf.data.toy(name).sample(n // 3, seed=(seed, i)) for i, name in enumerate(NAMES)]
    order = np.random.default_rng(seed).permutation(3 * (n // 3))
    labels = np.repeat(np.arange(3), n // 3)
    return np.concatenate(parts)[order], labels[order]


x, labels = draw(15_000, seed=0)
x_test, labels_test = draw(6_000, seed=1)
print(x.shape, labels[:10])

# %% [markdown]
# ## The flow
#
# `context_shape=()` says that a context is one number, here a label; the embedding makes a vector of it,
# and is trained with the flow. A context that is a vector already, such as measurements, needs none:
# `context_shape=(3,)`.

# %%
flow = kf.models.SplineFlow(
    (2,),
    layers=2,
    width=64,
    context_shape=(),
    context_embedding=keras.layers.Embedding(3, 8),
)
kf.training.adapt(flow, x, labels)
flow.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-2, 300)))
flow.fit(x, labels, batch_size=500, epochs=10, verbose=0)
result = kf.measure.evaluate(flow, x_test, labels_test)
truth = np.stack([kf.data.toy(name).log_prob(x_test) for name in NAMES], axis=1)
best = -truth[np.arange(len(x_test)), labels_test].mean()
print(f"test NLL {result.nll:.3f} ± {result.standard_error:.3f} nats; the truth has {best:.3f}")

# %% [markdown]
# In `fit` the context stands where a classifier has its targets. Forgetting it is an error that says so:

# %%
try:
    flow.log_prob(x_test[:3])
except ValueError as error:
    print(error)

# %% [markdown]
# ## Score and sample, given a label

# %% alt="Three panels, one for each label: the density is two moons, a pinwheel or eight gaussians, with samples of the flow on it."
bounds = (-4.5, 4.5, -4.5, 4.5)
grid = kf.plot.grid(bounds, 140)
log_densities = []
figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.6), layout="constrained")
for label, axis in enumerate(axes):
    log_densities.append(kf.measure.log_probs(flow, grid, np.full(len(grid), label)))
    density = np.exp(log_densities[-1])
    axis.imshow(density.reshape(140, 140), origin="lower", extent=bounds)
    axis.scatter(*flow.sample(300, seed=0, context=label).numpy().T, s=2, color="white", alpha=0.7)
    axis.set(title=f"label {label}: {NAMES[label]}")
plt.show()

# %% [markdown]
# ## Which label is probable?
#
# The likelihood is exact, so Bayes' rule is, too: `p(label | x) ∝ p(x | label) p(label)`. This is a
# classifier that knows when a point is like none of its classes.

# %%
log_p = np.stack(
    [kf.measure.log_probs(flow, x_test, np.full(len(x_test), label)) for label in range(3)], 1
)
posterior = np.exp(log_p - np.logaddexp.reduce(log_p, axis=1, keepdims=True))
accuracy = np.mean(posterior.argmax(1) == labels_test)
ceiling = np.mean(truth.argmax(1) == labels_test)
print(f"accuracy {accuracy:.3f}; with the true densities {ceiling:.3f}")

nowhere = np.array([[0.0, 12.0]], "float32")
print(
    "a point far off:",
    [round(float(flow.log_prob(nowhere, context=k)[0])) for k in range(3)],
    "nats",
)

# %% alt="The plane coloured by the most probable label of three, paler where it is uncertain."
log_grid = np.stack(log_densities, axis=1)
weights = np.exp(log_grid - np.logaddexp.reduce(log_grid, axis=1, keepdims=True))
colours = np.array([[63, 81, 181], [230, 81, 0], [0, 137, 123]]) / 255
figure, axis = plt.subplots(figsize=(4.6, 4.2), layout="constrained")
axis.imshow((weights @ colours).reshape(140, 140, 3), origin="lower", extent=bounds)
axis.set(title="the more probable label")
plt.show()

# %% [markdown]
# ## Where to go next
#
# * In a table, name columns as context: [Your own table](your_own_table.md).
# * Images by class: [DenseFlow](../denseflow.md#labels).
# * A batch of contexts is a batch of distributions in TensorFlow Probability:
#   [contexts are batches](../tfp.md#contexts-are-batches).
