# %% [markdown]
# # Detection with thresholds you can defend
#
# A flow gives every row a score. Where to draw the line is the question that a report, an auditor or a
# colleague asks, and "we took the 95th percentile" is a poor answer. This tutorial draws it so that
# the rate of false alarms is the one you asked for, shows how to check that, and what it does not mean.
# The data are scikit-learn's 569 cell samples (Wisconsin Diagnostic Breast Cancer): the benign ones are
# what is usual, the malignant ones what there is to find. **No label is used to train.**

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy import stats
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score

import keras_flows as kf

cells = load_breast_cancer(as_frame=True)
columns = ["mean radius", "mean texture", "mean smoothness", "mean compactness", "mean symmetry"]
benign = cells.data.loc[cells.target == 1, columns].sample(frac=1, random_state=0)
malignant = cells.data.loc[cells.target == 0, columns]
to_fit, held_out, fresh = benign[:157], benign[157:257], benign[257:]
print(
    len(to_fit), "to fit on,", len(held_out), "to calibrate on,", len(fresh), "fresh ones;", end=" "
)
print(len(malignant), "malignant ones to find")

# %% [markdown]
# ## How many held-out rows does a rate need?
#
# The p-value of a row is its rank among the scores of held-out rows: with n of them it cannot be below
# 1/(n + 1). So a false-positive rate has a price, and it can be looked up before anything is trained:

# %%
for alpha in (0.1, 0.05, 0.01, 0.001):
    print(f"α = {alpha}: {kf.detect.rows_needed(alpha)} held-out rows")

# %% [markdown]
# ## Fit, and calibrate
#
# `kf.fit` holds out rows by itself, to choose the weights, to test, and to calibrate on. With so few rows
# it says that they do not reach far:

# %%
fitted = kf.fit(to_fit)
flow = fitted.flow
print(fitted.report)

# %% [markdown]
# The report is blunt: with 95 rows to train on, one Gaussian is the better density. (Its time is that of a
# busy machine.) We go on with the flow all the same, since the promise below does not depend on how good it
# is; how much it finds does.
#
# It gets a calibration of 100 rows that it never saw, not even to stop by, and keeps their name and SHA-256,
# for whoever asks later.

# %%
rows = flow.schema.arrange(held_out).x
flow.calibration = kf.detect.calibrate(flow, rows, "benign samples, rows 157 to 256")
print(f"p-values down to {flow.calibration.smallest_p_value:.4f}")
print(flow.calibration.data, flow.calibration.data_sha256[:12], "…")

# %% [markdown]
# ## Decide

# %%
decisions = {
    name: kf.detect.decide(flow, rows, alpha=0.05)
    for name, rows in (("fresh benign", fresh), ("malignant", malignant))
}
for name, decision in decisions.items():
    print(f"{name}: {decision.flag.sum()} of {len(decision.flag)} flagged at α = 0.05")

# %% alt="Histograms of p-values. Those of fresh benign rows are spread over 0 to 1; those of malignant rows are heaped near 0, left of a dashed line."
figure, axis = plt.subplots(figsize=(8, 3.2), layout="constrained")
bins = np.linspace(0, 1, 21)
for (name, decision), colour in zip(decisions.items(), ("#3f51b5", "#e65100"), strict=True):
    axis.hist(decision.p_value, bins, density=True, alpha=0.6, label=name, color=colour)
axis.axvline(0.05, color="black", linestyle="--", linewidth=1)
axis.set(xlabel="conformal p-value", ylabel="density")
axis.legend()
plt.show()

# %% [markdown]
# Up to chance, the p-values of usual rows are uniform: that is what makes the threshold mean something. It holds
# however good the flow is, as long as the held-out rows are like the usual ones to come.
#
# ## Check the promise
#
# On fresh rows, count, and know what chance allows: the promise is an average over calibrations, and one
# calibration of n rows has a rate that is Beta distributed around α. Both kinds of chance together make
# the count beta-binomial.

# %%
flagged, n = int(decisions["fresh benign"].flag.sum()), len(flow.calibration)
rank = int(0.05 * (n + 1))  # a row is flagged if it is beyond the rank-th largest held-out score
low, high = stats.betabinom(len(fresh), rank, n + 1 - rank).interval(0.95)
print(f"{flagged} of {len(fresh)} fresh rows flagged; chance allows {low:.0f} to {high:.0f} (95 %)")
assert low <= flagged <= high

# %% [markdown]
# The interval is wide with 100 rows, and honest. A narrower one takes more of both kinds of rows.
#
# ## How much does it find?
#
# That no guarantee says: it must be measured on the anomalies that matter to you. Here it can be:

# %%
scores = np.concatenate([decision.score for decision in decisions.values()])
labels = np.repeat([0, 1], [len(fresh), len(malignant)])
print(f"area under the ROC curve {roc_auc_score(labels, scores):.3f}")
print(f"found at α = 0.05: {decisions['malignant'].flag.mean():.0%}")

# %% [markdown]
# ## A list of suspects
#
# When rows are judged together, ask instead which share of the *list* may be false: Benjamini and
# Hochberg's procedure on conformal p-values keeps it, in expectation, below `fdr`. With few held-out
# rows p-values are coarse and the list may be empty, which is better than a list nobody can trust.

# %%
batch = pd.concat([fresh, malignant[:40]])
decision = kf.detect.decide(flow, batch, alpha=0.05, fdr=0.1)
print(
    f"{decision.discovery.sum()} on the list, {decision.discovery[: len(fresh)].sum()} of them benign"
)

# %% [markdown]
# ## A threshold that cannot be had is an error

# %%
try:
    kf.detect.decide(flow, fresh, alpha=0.001)
except ValueError as error:
    print(error)

# %% [markdown]
# ## Why was this row flagged?
#
# `kf.detect.explain` says how much more probable a row becomes when one column is drawn anew: a hint
# where to look first, not a cause.

# %% alt="Bars of what every column contributes to the score of the most unusual row, in nats."
worst = malignant.iloc[[int(np.argmax(decisions["malignant"].score))]]
explanation = kf.detect.explain(flow, worst.to_numpy(), rows, flow.calibration)
figure, axis = plt.subplots(figsize=(7, 2.8), layout="constrained")
axis.barh(columns, explanation.contributions[0], color="#e65100")
axis.set(xlabel="contribution, nats")
axis.invert_yaxis()
plt.show()

# %% [markdown]
# ## What to write down
#
# For whom has to defend the threshold: the flow's preset with its checksum, the data and the SHA-256 of
# the calibration (both in the preset's card), α, the measured rate on fresh rows with its interval, and
# the share found among known anomalies. What a flag does **not** say: that a row is wrong, or why.
#
# * [Tables](../tables.md#decisions) has the rules, [Detection, measured](../detection.md) other data
#   and other detectors.
# * On images likelihood alone misleads: [why](../explanation/images.md).
