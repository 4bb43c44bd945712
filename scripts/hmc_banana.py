"""Hamiltonian Monte Carlo on a banana-shaped density, plain and through a flow.

    python scripts/hmc_banana.py

A short plain run gives draws, a small i-DenseNet is fitted to them, and a second run samples in the
latent space of that flow, where the banana is nearly a round Gaussian: the draws of both runs have
the same distribution, however good the flow, but the second run mixes faster. It ends with an
error if that is not so, or if a run misses the moments of the banana, which are known.

A gradient through the flow costs a hundred times one of this simple density, so that per second of
computing the plain run is even ahead: the flow pays where the density itself is the larger cost.
"""

import os
import sys
import time
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from rich.console import Console
from rich.table import Table

import keras_flows as kf

tf.get_logger().setLevel("ERROR")  # TFP's effective_sample_size casts complex numbers, knowingly

STEEPNESS, WIDTH = 2.0, 0.15
BEND = 1.3545308064813268  # the mean of sqrt(1 + x²) for x ~ N(0, 1)
MOMENTS = {"x": 0.0, "y": 0.0, "x²": 1.0, "y²": STEEPNESS**2 * (2.0 - BEND**2) + WIDTH**2}
LEAPFROG_STEPS = 2
ACCEPTANCE = 0.9  # that the step sizes are adapted to
MAX_STANDARD_ERRORS = 4.0


class Result(NamedTuple):
    """What came out of a run.

    Attributes:
        acceptance: Share of accepted proposals.
        step_size: That of the integrator, adapted in the first part of the run.
        effective: Effective number of draws, that of the slowest of `MOMENTS`.
        per_step: The same per 1000 steps of one chain.
        per_gradient: The same per 1000 gradient evaluations.
        per_second: The same per second of sampling, compilation not counted.
        errors: By moment, the estimate's distance from the truth in standard errors.
    """

    acceptance: float
    step_size: float
    effective: float
    per_step: float
    per_gradient: float
    per_second: float
    errors: dict


def log_density(point):
    """`x ~ N(0, 1)`, `y | x ~ N(STEEPNESS (sqrt(1 + x²) - BEND), WIDTH²)`, up to a constant.

    A ridge along a hyperbola: `(..., 2)` to `(...)`, in nats.
    """
    x, y = tf.unstack(point, axis=-1)
    ridge = STEEPNESS * (tf.sqrt(1.0 + tf.square(x)) - BEND)
    return -0.5 * tf.square(x) - 0.5 * tf.square((y - ridge) / WIDTH)


def sampler(steps, adaptation, bijector=None):
    """A compiled run: from starts `(chains, 2)` and a seed to draws, acceptance and step sizes."""
    kernel = tfp.mcmc.DualAveragingStepSizeAdaptation(
        tfp.mcmc.HamiltonianMonteCarlo(
            log_density, step_size=0.1, num_leapfrog_steps=LEAPFROG_STEPS
        ),
        num_adaptation_steps=int(0.8 * adaptation),
        target_accept_prob=ACCEPTANCE,
    )
    if bijector is not None:
        kernel = tfp.mcmc.TransformedTransitionKernel(kernel, bijector)

    def trace(_, results):
        results = results if bijector is None else results.inner_results
        hmc = results.inner_results
        return hmc.is_accepted, hmc.accepted_results.step_size

    @tf.function(jit_compile=True)
    def run(start, seed):
        return tfp.mcmc.sample_chain(
            steps,
            start,
            kernel=kernel,
            num_burnin_steps=adaptation,
            trace_fn=trace,
            seed=seed,
        )

    return run


def measure(draws, accepted, step_size, seconds):
    """The `Result` of draws `(steps, chains, 2)`."""
    x, y = tf.unstack(tf.cast(draws, tf.float64), axis=-1)
    values = tf.stack([x, y, x * x, y * y], axis=-1)
    effective = tfp.mcmc.effective_sample_size(values, cross_chain_dims=1).numpy()
    mean = np.mean(values, axis=(0, 1))
    error = np.std(values, axis=(0, 1)) / np.sqrt(effective)
    errors = (mean - list(MOMENTS.values())) / error
    steps, chains, _ = draws.shape
    slowest = float(effective.min())
    return Result(
        acceptance=float(np.mean(accepted)),
        step_size=float(step_size[-1]),
        effective=slowest,
        per_step=1000.0 * slowest / (steps * chains),
        per_gradient=1000.0 * slowest / (steps * chains * LEAPFROG_STEPS),
        per_second=slowest / seconds,
        errors=dict(zip(MOMENTS, errors.tolist(), strict=True)),
    )


def timed(run, start, seed):
    """Runs twice, the first time to compile; the draws and their `Result`."""
    run(start, seed)
    began = time.monotonic()
    draws, (accepted, step_size) = run(start, seed)
    return draws, measure(draws, accepted, step_size, time.monotonic() - began)


def fit(draws, epochs=12):
    """A small i-DenseNet fitted to draws `(n, 2)`."""
    keras.utils.set_random_seed(0)
    flow = kf.models.IDenseNet((2,), blocks=4, depth=3, growth=16, block_bound=0.95, actnorm=True)
    steps = epochs * (len(draws) // 256)
    flow.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(5e-3, steps)))
    flow.fit(draws, epochs=epochs, batch_size=256, verbose=0)
    return flow


def problems(plain, through_flow):
    """What is wrong with the results, a list of sentences."""
    found = [
        f"{name}: the mean of {moment} is {error:.1f} standard errors from the truth."
        for name, result in (("plain", plain), ("through the flow", through_flow))
        for moment, error in result.errors.items()
        if not abs(error) < MAX_STANDARD_ERRORS
    ]
    if not through_flow.per_gradient > 2.0 * plain.per_gradient:
        found.append("The run through the flow does not mix twice as fast as the plain one.")
    return found


def table(results):
    """A table of results by name."""
    made = Table(title=f"Hamiltonian Monte Carlo on a banana, {LEAPFROG_STEPS} leapfrog steps")
    rows = {
        "acceptance": "{0.acceptance:.2f}",
        "step size, adapted": "{0.step_size:.3f}",
        "effective draws per 1000 steps": "{0.per_step:.1f}",
        "effective draws per 1000 gradients": "{0.per_gradient:.1f}",
        "effective draws per second": "{0.per_second:,.0f}",
    }
    made.add_column("")
    for name in results:
        made.add_column(name, justify="right")
    for label, row in rows.items():
        made.add_row(label, *(row.format(result) for result in results.values()))
    for moment, truth in MOMENTS.items():
        made.add_row(
            f"mean of {moment} - {truth:.3g}, in standard errors",
            *(f"{result.errors[moment]:+.1f}" for result in results.values()),
        )
    return made


def main(chains=64, steps=1000, pilot_steps=300, epochs=12):
    """Runs the comparison and returns what is wrong with it, a list of sentences."""
    console = Console()
    start = tf.random.stateless_normal((chains, 2), seed=(0, 0))
    console.print(f"A pilot run of {pilot_steps} steps in each of {chains} chains …")
    pilot, _ = sampler(pilot_steps, adaptation=pilot_steps)(start, tf.constant((0, 1)))
    console.print("A flow is fitted to its draws …")
    flow = fit(pilot.numpy().reshape(-1, 2), epochs)
    results = {}
    for name, bijector in (("plain", None), ("through the flow", flow.as_bijector())):
        console.print(f"A run of {steps} steps, {name} …")
        run = sampler(steps, adaptation=steps // 4, bijector=bijector)
        _, results[name] = timed(run, pilot[-1], tf.constant((0, 2)))
    console.print(table(results))
    return problems(*results.values())


if __name__ == "__main__":
    found = main()
    for problem in found:
        print(problem, file=sys.stderr)
    sys.exit(bool(found))
