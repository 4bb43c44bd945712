import numpy as np
import pytest
from matplotlib.figure import Figure

from keras_flows.plot.files import write_png

Image = pytest.importorskip("PIL.Image")


def test_a_picture_of_few_colours_is_small_and_looks_the_same(tmp_path):
    figure = Figure(figsize=(3.0, 2.0))
    axis = figure.subplots()
    axis.hist(np.random.default_rng(0).normal(size=200), color="0.75")
    axis.plot([-2.0, 2.0], [0.0, 40.0])
    figure.savefig(tmp_path / "whole.png", dpi=80)
    write_png(figure, tmp_path / "small.png", dpi=80, colours=32)
    whole, small = (Image.open(tmp_path / f"{name}.png") for name in ("whole", "small"))
    assert small.size == whole.size == (240, 160)
    assert len(np.unique(np.asarray(small.convert("RGB")).reshape(-1, 3), axis=0)) <= 32
    difference = np.abs(np.float32(small.convert("RGB")) - np.float32(whole.convert("RGB")))
    assert difference.max() < 40 and difference.mean() < 1.5
    sizes = [(tmp_path / f"{name}.png").stat().st_size for name in ("whole", "small")]
    assert sizes[1] < 0.7 * sizes[0]
