"""Draws the picture of the documentation's start page, docs/images/start.png."""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is imported

import numpy as np
from matplotlib.figure import Figure

import keras_flows as kf

NAME = "idensenet_lc_two_moons"
TARGET = Path(__file__).resolve().parents[1] / "docs" / "images" / "start.png"
POINTS, SIZE = 2500, 200


def frames(flow, z):
    """What becomes of latents while the blocks decode them: every second step, to the last one."""
    made = [z, *(np.asarray(x) for _, x in flow.transform.decode_steps(z))]
    chosen = np.linspace(0, len(made) - 1, 5).round().astype(int)
    return [made[i] for i in chosen]


def main():
    flow = kf.zoo.load(NAME)
    z = np.random.default_rng(0).standard_normal((POINTS, 2)).astype("float32")
    colour = np.arctan2(z[:, 1], z[:, 0])
    x, y = np.meshgrid(np.linspace(-3.6, 3.6, SIZE), np.linspace(-2.2, 2.2, SIZE))
    points = np.stack([x.ravel(), y.ravel()], axis=1).astype("float32")
    density = np.exp(kf.measure.log_probs(flow, points)).reshape(SIZE, SIZE)

    figure = Figure(figsize=(8, 6.2), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(1, 2.7))
    stages = frames(flow, z)
    titles = ["noise", *[""] * (len(stages) - 2), "samples"]
    for axis, x, title in zip(top.subplots(1, len(stages)), stages, titles, strict=True):
        axis.scatter(*x.T, s=1.5, c=colour, cmap="twilight_shifted")
        axis.set_title(title, fontsize=14)
        axis.set(xlim=(-4, 4), ylim=(-4, 4), aspect="equal")
        axis.set_axis_off()
    axis = bottom.subplots()
    image = axis.imshow(density, origin="lower", extent=(-3.6, 3.6, -2.2, 2.2))
    axis.set_axis_off()
    bar = bottom.colorbar(image, ax=axis, pad=0.02)
    bar.set_label("density: exp(flow.log_prob(x))", fontsize=13)
    figure.savefig(TARGET, dpi=110)


if __name__ == "__main__":
    main()
