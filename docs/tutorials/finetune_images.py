# %% [markdown]
# # Fine-tune on images
#
# A flow of the zoo goes on with your images by one call, and ends no worse than it began. Here a
# DenseFlow on 8×8 digits learns digits that are mirrored: a small change of the data, as between two
# scanners, that its likelihood notices at once.

# %%
import matplotlib.pyplot as plt
import numpy as np

import keras_flows as kf

flow = kf.zoo.load("denseflow_digits")
train = kf.data.images("digits", "train").pixels
test = kf.data.images("digits", "test").pixels
print(train.shape, train.dtype, "levels 0 to", train.max())
print("likelihood:", flow.likelihood, "of integers of", flow.bits, "bits")

# %% [markdown]
# Pixels stay integers; the flow adds its own noise, so `log_prob` is a **lower bound**, and random.
# It is shown in bits per dimension: nats per image, divided by `64 ln 2`, with the sign changed.

# %%
mirrored, mirrored_test = train[:400, :, ::-1], test[:100, :, ::-1]


def show(name, images):
    result = kf.measure.evaluate(flow, images)
    error = result.standard_error * result.bits_per_dim / result.nll
    print(f"{name:22} {result.bits_per_dim:.3f} ± {error:.3f} bits/dim")


show("its own test digits", test[:100])
show("mirrored test digits", mirrored_test)

# %% alt="Two rows of ten digits: as the flow knows them, and mirrored."
rows = np.concatenate([test[:10], mirrored_test[:10]])
figure, axis = plt.subplots(figsize=(9, 2), layout="constrained")
axis.imshow(kf.plot.image_grid(rows, columns=10)[..., 0], cmap="gray")
axis.set_axis_off()
plt.show()

# %% [markdown]
# ## One call
#
# `kf.training.finetune` freezes what batch normalisation has learned, warms the rate up, and keeps the
# weights of the best epoch on a held-out fifth: those of the start, if no epoch was clearly better.
# [Fine-tuning](../finetuning.md) says why each of these is needed.

# %%
result = kf.training.finetune(flow, mirrored, epochs=3)
per_dim = 64 * np.log(2)
print(f"held out: {result.before.nll / per_dim:.3f} → {result.after.nll / per_dim:.3f} bits/dim")
print("epoch kept:", result.epoch, "of", result.settings["epochs"])

# %%
show("mirrored test digits", mirrored_test)
show("its own test digits", test[:100])

# %% [markdown]
# The test digits took no part. What the flow was good at before, it is now a little worse at: it is
# the density of the new data.
#
# ## Look at samples

# %% alt="Samples at two temperatures after fine-tuning: mirrored digits."
kf.plot.samples(flow, temperatures=(0.7, 1.0), columns=12)

# %% [markdown]
# ## Tighten the bound
#
# The mean of several draws *inside* the logarithm is a tighter bound, and says how far the first was
# from the likelihood:

# %%
few = mirrored_test[:40]
for k in (1, 5):
    bound = flow.log_prob(few, num_importance_samples=k, seed=0).numpy().mean()
    print(f"k = {k:2}: {-bound / per_dim:.3f} bits/dim")

# %% [markdown]
# ## Keep it

# %%
flow.save_to_preset(
    "mirrored_digits",
    summary="denseflow_digits, fine-tuned on mirrored digits.",
    data="scikit-learn's digits, mirrored",
)
print(kf.zoo.card("mirrored_digits").split("## Intended use")[0][-420:])

# %% [markdown]
# From a shell it is `keras-flows finetune denseflow_digits images.npy mirrored_digits --epochs 3`.
#
# ## Where to go next
#
# * [Training](../training.md): image data of your own, augmentation, long runs by recipe.
# * [Flows on images](../images.md): what the entries draw, reconstruct and interpolate.
# * [Why likelihood fails on images](../explanation/images.md), before you detect anything with it.
