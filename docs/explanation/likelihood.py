# %% [markdown]
# # What a likelihood is
#
# `flow.log_prob(x)` is a number in nats. What kind of number depends on the parts of the flow, and
# `flow.likelihood` says it: it is worked out from the steps, and stands in every card, export and report.
#
# | `likelihood` | what `log_prob` is | where it comes from |
# | --- | --- | --- |
# | `exact` | the log-density of the model, or the log-probability of integers, up to rounding | couplings, autoregressive steps, residual blocks with the determinant |
# | `unbiased` | a random number whose mean is the log-density | residual blocks with a random number of series terms |
# | `lower_bound` | a random number whose mean is below the log-density | integers made continuous by noise, channels of noise |
# | `biased` | neither | a series that is cut off |
#
# A chain is as weak as its weakest step, in that order. The sections show each on a case where the truth
# is known.

# %%
import matplotlib.pyplot as plt
import numpy as np

import keras_flows as kf

exact = kf.zoo.load("idensenet_lc_two_moons")
x = kf.data.toy("two_moons").sample(400, seed=1)
truth = exact.log_prob(x).numpy()

# %% [markdown]
# ## Exact
#
# `ln p(x) = ln p_Z(encode(x)) + ln |det J(x)|`, every term computed. On the plane it can be checked as
# nothing else can: the density must integrate to one.

# %%
bounds, size = (-5.0, 5.0, -5.0, 5.0), 200
points = kf.plot.grid(bounds, size)
area = (10.0 / size) ** 2
print(
    f"{exact.likelihood}: integrates to {np.exp(kf.measure.log_probs(exact, points)).sum() * area:.4f}"
)

# %% [markdown]
# ## Unbiased
#
# The log-det of a residual block `x + g(x)` is the series `Σ (-1)^(k+1)/k tr(J^k)`. In many dimensions
# its traces are estimated with random probes and the series is cut at a random place, with weights that
# make the mean right. Here are the same weights with that estimator: every draw is off, the mean is not.

# %%
config = {"blocks": 10, "depth": 4, "growth": 90, "block_bound": 0.99}
config["activation"] = {"class_name": "lipswish", "config": {"beta": 40.0}}


def with_estimator(log_det):
    flow = kf.models.IDenseNet((2,), log_det=log_det, **config)
    flow.set_weights(exact.get_weights())
    return flow


unbiased = with_estimator("unbiased")
draws = unbiased.log_prob_draws(x, num_probes=40, seed=0).numpy()
error = draws.mean(0) - truth
print(f"{unbiased.likelihood}: one draw is off by {np.abs(draws[0] - truth).mean():.2f} nats,")
print(f"the mean over all points and draws by {error.mean():+.4f} ± {error.std() / 20:.4f}")

# %% [markdown]
# Two things follow. Averages over data are right, with a standard error that counts the draws; and a
# *single* score is noisy: a threshold on it needs several draws, the same in calibration and use
# (`draws=` in `kf.detect.calibrate`); how noisy, is measured in [the log-det's spread](../log_det.md).
# `exp` of an unbiased log-density is **not** an unbiased density.
#
# ## Biased
#
# A fixed number of terms leaves out the rest of the series. The error shrinks with the terms, and nothing
# says how large it still is; here it is known:

# %%
for terms in (1, 2, 5):
    biased = with_estimator(kf.numerics.PowerSeries(terms))
    errors = (biased.log_prob_draws(x, num_probes=40, seed=0).numpy() - truth).mean(0)
    spread = errors.std() / np.sqrt(len(errors))
    print(
        f"{biased.likelihood}, {terms} term{'s'[terms == 1 :]}: off by {errors.mean():+.3f} ± {spread:.3f} nats"
    )

# %% [markdown]
# This flow on the plane needs two terms; images, and blocks with a Lipschitz constant near one, need many
# more. A cut series trains, as in i-ResNet; it is not for reports. A flow whose number of terms is random
# is exported with the fewest, always, and so its graph is biased too: the manifest says so
# ([Exports](../export.md#noise)).
#
# ## Lower bound
#
# Pixels and counts are integers, which have probabilities and no density. A flow on them adds noise,
# `y = x + u`, and scores y: on average over the noise that is **below** `ln P(x)`, by Jensen's
# inequality. So is a flow that appends channels of noise. More draws inside the logarithm tighten the
# bound, `ln mean_k exp(log_prob_k)`, and it approaches the truth from below (Burda et al. 2016):

# %% alt="Bits per dimension on test digits by the number of draws k, on a logarithmic axis: they fall from k = 1 on, more slowly each time."
flow = kf.zoo.load("denseflow_digits")
digits = kf.data.images("digits", "test").pixels[:40]
ks = (1, 2, 5, 10, 20, 50)
bits = [
    -flow.log_prob(digits, num_importance_samples=k, seed=0).numpy().mean() / (64 * np.log(2))
    for k in ks
]
figure, axis = plt.subplots(figsize=(6.5, 3), layout="constrained")
axis.semilogx(ks, bits, "o-", color="#3f51b5")
axis.set(xlabel="draws k", ylabel="bits per dimension", title=f"{flow.name}: {flow.likelihood}")
axis.set_xticks(ks, [str(k) for k in ks])
plt.show()

# %% [markdown]
# ## What may be compared with what
#
# | | with | |
# | --- | --- | --- |
# | exact | exact | yes, on the same data in the same units: a length in millimetres has a log-density lower by ln 1000 than in metres |
# | exact | unbiased | their means, with standard errors |
# | exact | lower bound | the bound proves "at least" |
# | lower bound | lower bound | which *bound* is better, at the same k; not which likelihood is |
# | biased | anything | no; with itself, while training |
# | bits per dimension | bits per dimension | nats divided by `D ln 2`, with the sign changed; on the same integers only: other bits, or resized images, are other data |
# | the score of one example | that of a flow on other data | never |
#
# And a high likelihood does not make an example usual: [why likelihood fails on images](images.md).
