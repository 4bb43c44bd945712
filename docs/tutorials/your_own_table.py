# %% [markdown]
# # Your own table
#
# A table of rows becomes a density, new rows, scores with p-values, and a preset that keeps all of it.
# The table here is scikit-learn's 442 patients with diabetes (Efron et al. 2004), written to a CSV file
# as yours might be. It needs `pip install "keras-flows[data,plot]"`.

# %%
# %matplotlib inline
import pandas as pd
from sklearn.datasets import load_diabetes

import keras_flows as kf

patients = load_diabetes(as_frame=True, scaled=False).data
patients["sex"] = patients["sex"].map({1.0: "a", 2.0: "b"})  # two codes, as published
patients = patients[["age", "sex", "bmi", "bp", "s5", "s6"]].rename(columns={"s6": "glucose"})
patients[20:].to_csv("patients.csv", index=False)
patients[:20].to_csv("new.csv", index=False)
print(patients[20:24].to_csv(index=False))

# %% [markdown]
# ## What the columns are
#
# `kf.data.table` says what it takes every column for, and why. Say otherwise with `kinds`; a column
# that you condition on goes to `context`. Here the density is that of the measurements *given* the sex.

# %%
table = kf.data.table("patients.csv", context=["sex"])
pd.DataFrame(table.describe()).set_index("column")

# %% [markdown]
# ## Fit
#
# `kf.fit` splits the rows, trains a spline flow by rules that [Tables](../tables.md) lists, tests it on
# rows that took no part, and calibrates it on them. Nothing is tuned by hand, and nothing by the test.

# %%
fitted = kf.fit(table, "my_flow")
print(fitted.report)

# %% [markdown]
# Read the report before the flow: the test NLL with its standard error, that of a single Gaussian
# beside it, and the warnings. With some 250 rows to train on, a flow can hardly be much better than
# a Gaussian; it says so rather than hiding it.
#
# ## Does it look like the data?
#
# The histograms compare the rows with samples of the flow, column by column.

# %% alt="Histograms of five columns, rows in grey and samples of the flow as a line: they agree in place and width."
kf.plot.columns(fitted.flow, table)

# %% [markdown]
# ## New rows
#
# Samples come in the units of the table. A flow with a context draws given that: here 500 patients of
# each sex.

# %%
context = fitted.flow.schema.arrange_context(pd.DataFrame({"sex": ["a", "b"]}))
for sex, given in zip("ab", context, strict=True):
    drawn = fitted.flow.sample(500, seed=0, context=given).numpy()
    real = patients[20:].query("sex == @sex")
    means = zip(fitted.flow.schema.event, drawn.mean(0), strict=True)
    print(sex, {c.name: (round(float(m), 2), round(real[c.name].mean(), 2)) for c, m in means})

# %% [markdown]
# Every pair is the mean of the samples and that of the rows.
#
# ## Score new rows
#
# Rows that the flow never saw get a score, a conformal p-value and a flag. Columns are found by their
# names, in any order.

# %%
decision = kf.detect.decide(fitted.flow, "new.csv", alpha=0.05)
for i in range(5):
    print(
        f"row {i}: score {decision.score[i]:6.2f}, p-value {decision.p_value[i]:.3f}",
        decision.flag[i],
    )
print(f"{decision.flag.sum()} of {len(decision.flag)} flagged at a false-positive rate of 5 %")

# %% [markdown]
# What a flag means and how far to trust it is the subject of
# [detection with thresholds you can defend](detection.md).
#
# ## The same from a shell
#
# The preset `my_flow` that the fit wrote is a folder; every command takes it, and so does `kf.zoo.load`.
#
# ```bash
# keras-flows fit patients.csv my_flow --context sex
# ```

# %% language="bash"
# keras-flows detect my_flow new.csv --alpha 0.05 | head -4
# printf 'sex\nb\n' > given.csv
# keras-flows sample my_flow -n 3 --context given.csv

# %% [markdown]
# ## Where to go next
#
# * [Tables](../tables.md): all kinds of columns, and the rules of a fit.
# * [Export and serve](export_and_serve.md): the same scores without Keras, from an ONNX file.
# * [Conditional flows](conditional.md): contexts in general.
