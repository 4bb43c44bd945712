"""Pictures: what they show, not how they look."""

import numpy as np
import pytest

import keras_flows as kf
from keras_flows import data, plot


@pytest.fixture(scope="module")
def flow():
    return kf.models.IDenseNet((2,), blocks=2, depth=3, growth=4)


def test_the_grid_covers_the_bounds_with_cell_centres():
    points = plot.grid((0.0, 2.0, -1.0, 1.0), size=2)
    np.testing.assert_allclose(points, [[0.5, -0.5], [1.5, -0.5], [0.5, 0.5], [1.5, 0.5]])


@pytest.mark.slow
def test_densities_share_one_colour_scale(flow, tmp_path):
    moons = data.toy("two_moons")
    figure = plot.density(flow, moons.bounds, moons.log_prob, samples=50, title="moons")
    true, learned, samples = figure.axes[:3]
    assert [axis.get_title() for axis in (true, learned)] == ["true density", "learned density"]
    limits = [axis.images[0].get_clim() for axis in (true, learned)]
    assert limits[0] == limits[1]
    points = plot.grid(moons.bounds)
    highest = max(np.exp(moons.log_prob(points)).max(), np.exp(flow.log_prob(points)).max())
    assert limits[0] == pytest.approx((0.0, highest), rel=1e-5)
    assert len(samples.collections[0].get_offsets()) == 50
    figure.savefig(tmp_path / "density.png")
    assert (tmp_path / "density.png").stat().st_size > 10_000


@pytest.mark.slow
def test_the_learned_panel_is_the_flow_s_density(flow):
    bounds = (-1.0, 1.0, -1.0, 1.0)
    image = plot.density(flow, bounds, samples=1).axes[0].images[0].get_array()
    points = plot.grid(bounds)
    np.testing.assert_allclose(
        image.ravel()[[0, 299, -1]], np.exp(flow.log_prob(points[[0, 299, -1]])), rtol=1e-5
    )


def test_a_conditional_density_is_drawn_for_its_context():
    flow = kf.models.IDenseNet((2,), blocks=1, depth=1, growth=4, context_shape=(3,))
    with pytest.raises(ValueError, match="conditional"):
        plot.density(flow, (-1, 1, -1, 1))
    figure = plot.density(flow, (-1, 1, -1, 1), samples=10, context=[0.0, 1.0, 2.0])
    assert len(figure.axes[1].collections[0].get_offsets()) == 10


def test_concatenation_heat_maps_show_every_coefficient(flow):
    figure = plot.concatenation(flow)
    for which in range(2):
        shown = figure.axes[which].images[0].get_array()
        np.testing.assert_array_equal(shown, flow.concatenation_coefficients()[..., which])


def test_concatenation_pairs_lie_on_the_circle(flow):
    figure = plot.concatenation_circle(flow)
    shown = np.stack([np.asarray(c.get_offsets()) for c in figure.axes[0].collections], axis=1)
    np.testing.assert_allclose(shown, flow.concatenation_coefficients(), rtol=1e-6)


def test_a_comparison_has_one_colour_scale_and_the_right_panels(flow):
    moons, circles = data.toy("two_moons"), data.toy("two_circles")
    flows = {"moons": {"first": flow, "second": flow}, "circles": {"first": flow, "second": flow}}
    truths = {"moons": moons, "circles": circles}
    axes = plot.comparison(flows, truths).axes[:6]
    assert [axis.get_title() for axis in axes[:3]] == ["true density", "first", "second"]
    assert len({id(axis.images[0].norm) for axis in axes}) == 1
    points = plot.grid(moons.bounds)
    for axis, expected in (
        (axes[0], moons.log_prob(points)),
        (axes[2], flow.log_prob(points)),
        (axes[3], circles.log_prob(points)),
    ):
        shown = axis.images[0].get_array().ravel()
        np.testing.assert_allclose(shown, np.exp(expected), rtol=1e-5)


def test_a_comparison_of_samples_starts_with_the_data(flow):
    moons = data.toy("two_moons")
    figure = plot.comparison_of_samples({"moons": {"flow": flow}}, {"moons": moons}, samples=20)
    shown = [np.asarray(axis.collections[0].get_offsets()) for axis in figure.axes]
    np.testing.assert_allclose(shown[0], moons.sample(20, seed=0))
    np.testing.assert_allclose(shown[1], flow.sample(20, seed=0))


def test_what_cannot_be_drawn_says_so():
    with pytest.raises(ValueError, match="on the plane"):
        plot.density(kf.models.IDenseNet((3,), blocks=1, depth=1, growth=4), (-1, 1, -1, 1))
    three = kf.models.IDenseNet((3,), blocks=1, depth=1, growth=4)
    for picture in (plot.comparison, plot.comparison_of_samples):
        with pytest.raises(ValueError, match="on the plane"):
            picture({"a": {"b": three}}, {"a": data.toy("two_moons")})
    with pytest.raises(ValueError, match="no concatenations"):
        plot.concatenation_circle(kf.models.ResidualFlow((2,), blocks=1, widths=(4,)))
    with pytest.raises(ValueError, match="no concatenations"):
        plot.concatenation(kf.models.ResidualFlow((2,), blocks=1, widths=(4,)))
