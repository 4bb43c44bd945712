# %% [markdown]
# # Score and sample
#
# Load a pretrained flow, ask it how likely points are, draw new ones, and check what it says. It takes
# no data of yours: the flow is on *two moons*, a density on the plane whose truth is known, so every
# number can be compared with the right one.

# %%
import matplotlib.pyplot as plt
import numpy as np

import keras_flows as kf

flow = kf.zoo.load("idensenet_lc_two_moons")
print(kf.zoo.show("idensenet_lc_two_moons").summary)
print("likelihood:", flow.likelihood)

# %% [markdown]
# `likelihood` says what kind of number the flow gives. This one is **exact**: the log-density of the
# model, up to rounding. Others give bounds or estimates; [what a likelihood is](../explanation/likelihood.md)
# explains the difference.
#
# ## Score
#
# `log_prob` takes a batch and returns one number per example, in **nats** (natural logarithms). They
# are log-*densities*: they can be positive, and only differences and averages mean something.

# %%
truth = kf.data.toy("two_moons")
x = truth.sample(1000, seed=1)
scores = flow.log_prob(x).numpy()
print(scores[:3].round(2), "mean", scores.mean().round(3), "nats")

odd = np.array([[0.0, 0.0], [3.5, 0.0], [8.0, 8.0]], "float32")
print("three odd points:", flow.log_prob(odd).numpy().round(1), "nats")

# %% [markdown]
# The third point is hundreds of nats below the usual ones. The first two are five nats below, between
# and beside the moons, where a point of the data may fall now and then: how low is too low is a
# question with an answer of its own, [detection with thresholds you can defend](detection.md).
#
# A mean over test data needs its standard error; `kf.measure.evaluate` gives both. No model can be
# better than the truth, whose mean is the entropy of the data.

# %%
fresh = truth.sample(5_000, seed=2)
result = kf.measure.evaluate(flow, fresh)
best = -truth.log_prob(fresh).mean()
print(f"test NLL {result.nll:.4f} ± {result.standard_error:.4f} nats; the truth has {best:.4f}")

# %% [markdown]
# ## Sample
#
# `sample` draws from the flow. A seed makes the draws repeat; `temperature` scales the latent, so that
# below 1 the samples keep to the middle of the modes.

# %% alt="Three panels: the true density of two moons, the learned density, which looks the same, and 1,500 samples that fall on both moons."
samples = flow.sample(5, seed=0)
print(samples.numpy().round(2))

grid = kf.plot.grid(truth.bounds, 120)
learned = np.exp(kf.measure.log_probs(flow, grid))
figure, axes = plt.subplots(1, 3, figsize=(10, 3.6), layout="constrained")
for axis, density, title in zip(
    axes, (np.exp(truth.log_prob(grid)), learned), ("true density", "learned"), strict=False
):
    axis.imshow(density.reshape(120, 120), origin="lower", extent=truth.bounds)
    axis.set(title=title)
axes[2].scatter(*flow.sample(1500, seed=0).numpy().T, s=3, alpha=0.6, color="#3f51b5")
axes[2].set(title="samples", aspect="equal", xlim=truth.bounds[:2], ylim=truth.bounds[2:])
plt.show()

# %% alt="Samples at the temperatures 0.5 and 0.8: the lower the temperature, the more the points keep to the middle of each moon."
figure, axes = plt.subplots(1, 2, figsize=(8, 3.4), sharex=True, sharey=True, layout="constrained")
for axis, temperature in zip(axes, (0.5, 0.8), strict=True):
    points = flow.sample(1500, seed=0, temperature=temperature)
    axis.scatter(*points.numpy().T, s=3, alpha=0.6, color="#3f51b5")
    axis.set(title=f"temperature {temperature}", aspect="equal")
plt.show()

# %% [markdown]
# ## Encode and decode
#
# A flow is an invertible map between data and a *latent* of a simple density. `encode` goes from data
# to latent, `decode` back. Here decoding inverts ten residual blocks by fixed-point iterations, each to
# a stated tolerance: where one did not converge, it is an error, not a wrong number.

# %%
z = flow.encode(x)
again = flow.decode(z)
print("largest round-trip error:", float(np.abs(again - x).max()))
print("latent: mean", z.numpy().mean(0).round(2), "deviation", z.numpy().std(0).round(2))

# %% alt="Left: two moons, each point coloured by its angle in the latent. Right: the same points in the latent, a round cloud with the colours in order around it."
colour = np.arctan2(z[:, 1], z[:, 0])
figure, axes = plt.subplots(1, 2, figsize=(8, 3.8), layout="constrained")
for axis, points, title in zip(axes, (x, z.numpy()), ("data", "latent"), strict=True):
    axis.scatter(*points.T, s=6, c=colour, cmap="twilight")
    axis.set(title=title, aspect="equal")
plt.show()

# %% [markdown]
# That every block can be inverted is certified, by upper bounds on Lipschitz constants that must be
# below one ([certificates](../explanation/certificates.md)):

# %%
print(f"largest bound of {len(flow.blocks)} blocks: {flow.certify().largest:.4f}")

# %% [markdown]
# ## Keep it
#
# A preset is a folder: configuration, weights, a model card and checksums, no pickles. What was saved
# gives the same numbers, to the last bit.

# %%
flow.save_to_preset("my_flow", summary="Two moons, as they came.")
same = kf.zoo.load("my_flow")
print(np.array_equal(same.log_prob(x), flow.log_prob(x)))

# %% [markdown]
# The same from a shell, for `.npy`, `.npz`, `.csv` and `.parquet` files:

# %% language="bash"
# printf 'x,y\n0.5,1.0\n8.0,8.0\n' > points.csv
# keras-flows score my_flow points.csv

# %% [markdown]
# ## Where to go next
#
# * [Your own table](your_own_table.md): from a CSV file to a flow, scores and flags.
# * [The zoo](../zoo/index.md): what else is there to load.
# * `kf.Flow`: everything a flow can be asked.
