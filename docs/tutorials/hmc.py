# %% [markdown]
# # HMC through a flow
#
# Hamiltonian Monte Carlo slows down where a density is long, thin and bent: the step size must fit the
# thin direction. A flow that was fitted to a few draws makes the density nearly round; sampling in its
# latent mixes faster, and stays *exact*, because the change of variables is. All it takes is
# `flow.as_bijector()`.

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

import keras_flows as kf

tf.get_logger().setLevel("ERROR")  # effective_sample_size casts complex numbers, knowingly


def log_density(point):
    """A banana: x ~ N(0, 1), y about 2 (sqrt(1 + x²) - 1.3545) with a deviation of 0.15."""
    x, y = tf.unstack(point, axis=-1)
    ridge = 2.0 * (tf.sqrt(1.0 + tf.square(x)) - 1.3545308)
    return -0.5 * tf.square(x) - 0.5 * tf.square((y - ridge) / 0.15)


# %% [markdown]
# One compiled run of HMC, its step size adapted, with or without a bijector in front:


# %%
def sampler(steps, bijector=None):
    """From starts (chains, 2) and a seed to draws (steps, chains, 2)."""
    kernel = tfp.mcmc.DualAveragingStepSizeAdaptation(
        tfp.mcmc.HamiltonianMonteCarlo(log_density, step_size=0.1, num_leapfrog_steps=2),
        num_adaptation_steps=200,
        target_accept_prob=0.9,
    )
    if bijector is not None:
        kernel = tfp.mcmc.TransformedTransitionKernel(kernel, bijector)
    return tf.function(
        lambda start, seed: tfp.mcmc.sample_chain(
            steps, start, kernel=kernel, num_burnin_steps=250, trace_fn=None, seed=seed
        ),
        jit_compile=True,
    )


start = tf.random.stateless_normal((32, 2), seed=(0, 0))
pilot = sampler(300)(start, tf.constant((0, 1)))
print("pilot draws:", pilot.shape)

# %% [markdown]
# ## Fit a flow to the pilot
#
# The pilot mixes badly; it need not be good, since whatever the flow gets wrong only costs speed.

# %%
keras.utils.set_random_seed(0)
draws = pilot.numpy().reshape(-1, 2)
flow = kf.models.IDenseNet((2,), blocks=2, depth=2, growth=12, block_bound=0.95, actnorm=True)
flow.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-2, 370)))
flow.fit(draws, epochs=10, batch_size=256, verbose=0)
print(f"NLL of the pilot {-np.mean(flow.log_prob(draws)):.2f} nats")

# %% alt="Left: draws of the banana. Right: the same draws encoded by the flow, nearly a round cloud."
figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
axes[0].scatter(*draws[::3].T, s=2, color="#3f51b5")
axes[0].set(title="the banana", aspect="equal")
axes[1].scatter(*flow.encode(draws[::3]).numpy().T, s=2, color="#3f51b5")
axes[1].set(title="in the latent of the flow", aspect="equal")
plt.show()

# %% [markdown]
# ## Sample through it


# %%
def effective(draws):
    """Effective number of draws per 1,000 steps of a chain: the slowest of x, y, x², y²."""
    x, y = tf.unstack(tf.cast(draws, tf.float64), axis=-1)
    values = tf.stack([x, y, x * x, y * y], axis=-1)
    found = tfp.mcmc.effective_sample_size(values, cross_chain_dims=1)
    return 1000 * float(tf.reduce_min(found)) / (draws.shape[0] * draws.shape[1])


runs = {
    name: sampler(300, bijector)(pilot[-1], tf.constant((0, 2)))
    for name, bijector in (("plain", None), ("through the flow", flow.as_bijector()))
}
for name, drawn in runs.items():
    print(f"{name:17} {effective(drawn):6.1f} effective draws per 1,000 steps")
assert effective(runs["through the flow"]) > 2 * effective(runs["plain"])

# %% [markdown]
# ## Both are right
#
# The moments of the banana are known. Each mean is shown with its distance from the truth in standard
# errors, which count effective draws.

# %%
truth = {"x": 0.0, "y": 0.0, "x²": 1.0}
for name, drawn in runs.items():
    x, y = np.moveaxis(drawn.numpy().astype("float64"), -1, 0)
    values = {"x": x, "y": y, "x²": x * x}
    for moment, value in values.items():
        n = float(tfp.mcmc.effective_sample_size(value[..., None], cross_chain_dims=1)[0])
        away = (value.mean() - truth[moment]) / (value.std() / np.sqrt(n))
        print(f"{name:17} mean of {moment:2} {value.mean():+.3f}, {away:+.1f} standard errors off")

# %% alt="Traces of x of one chain: the plain run wanders slowly, the run through the flow jumps across the whole range."
figure, axes = plt.subplots(2, 1, figsize=(9, 3.6), sharex=True, layout="constrained")
for axis, (name, drawn) in zip(axes, runs.items(), strict=True):
    axis.plot(drawn[:200, 0, 0], linewidth=0.8, color="#3f51b5")
    axis.set(title=name, ylabel="x", ylim=(-3.5, 3.5))
plt.show()

# %% [markdown]
# A gradient through the flow costs about a hundred times one of this simple density. The flow pays where
# the density itself is the larger cost: `python scripts/hmc_banana.py` counts both.
#
# ## Where to go next
#
# * [Flows in TensorFlow Probability](../tfp.md): what the bijector and the distribution promise.
# * Only flows with an exact log-det and a decoding without draws are bijectors:
#   [what a likelihood is](../explanation/likelihood.md).
