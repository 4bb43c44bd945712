"""Pictures of flows on images: what they show, not how they look."""

import keras
import numpy as np
import pytest

import keras_flows as kf
from keras_flows import plot, transforms
from keras_flows.models import IDenseNet
from keras_flows.noise import InputNoise
from keras_flows.plot.images import _spherical
from tests.registry import dense_flow, move_weights


@pytest.fixture(scope="module")
def flow():
    keras.utils.set_random_seed(0)
    flow = IDenseNet((4, 4, 1), (1,), depth=1, growth=4, fully_connected=None, bits=3)
    move_weights(flow)
    return flow


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(8, size=(3, 4, 4, 1))


def shown(figure):
    """`{title: image}` of a figure."""
    return {axis.get_title(loc="left"): axis.images[0].get_array().data for axis in figure.axes}


def test_a_grid_has_every_image_in_its_place():
    images = np.random.default_rng(0).integers(11, size=(5, 2, 3, 3))
    images[0, 0, 0, 0] = 10
    grid = plot.image_grid(images, columns=3)
    assert grid.shape == (2 * 4, 3 * 5, 3) and grid.dtype == "uint8"
    for i, image in enumerate(images):
        row, column = divmod(i, 3)
        tile = grid[4 * row : 4 * row + 4, 5 * column : 5 * column + 5]
        np.testing.assert_array_equal(tile[1:-1, 1:-1], np.rint(image * 25.5))
        assert not np.r_[tile[0], tile[-1], tile[:, 0], tile[:, -1]].any()
    assert not grid[4:, 10:].any()


def test_the_highest_level_of_a_grid_is_white():
    levels = np.array([-1.0, 0.0, 5.0, 10.0, 20.0]).reshape(1, 1, 5, 1)
    np.testing.assert_array_equal(
        plot.image_grid(levels, highest=10)[1, 1:6, 0], [0, 0, 128, 255, 255]
    )
    assert plot.image_grid(levels)[1, 4, 0] == 128  # 10 of 20
    assert not plot.image_grid(np.zeros((1, 2, 2, 1))).any()


@pytest.mark.parametrize(
    "images, arguments, message",
    [
        (np.zeros((2, 4, 4)), {}, r"\(n, height, width, channels\)"),
        (np.zeros((2, 4, 4, 2)), {}, "one channel or three"),
        (np.zeros((0, 4, 4, 1)), {}, "at least 1"),
        (np.full((1, 4, 4, 1), np.nan), {}, "hold NaN"),
        (np.zeros((2, 4, 4, 1)), {"columns": 0}, "columns must be"),
        (np.zeros((2, 4, 4, 1)), {"highest": 0}, "highest must be a positive level"),
    ],
)
def test_what_is_no_grid(images, arguments, message):
    with pytest.raises(ValueError, match=message):
        plot.image_grid(images, **arguments)


def test_samples_are_those_of_each_temperature(flow, tmp_path):
    figure = plot.samples(flow, temperatures=(0.5, 1.0), columns=3, rows=2, seed=4)
    panels = shown(figure)
    assert list(panels) == ["temperature 0.5", "temperature 1"]
    for temperature, panel in zip((0.5, 1.0), panels.values(), strict=True):
        drawn = flow.sample(6, seed=4, temperature=temperature)
        np.testing.assert_array_equal(panel, plot.image_grid(drawn, 3, 7)[..., 0])
    figure.savefig(tmp_path / "samples.png")
    assert (tmp_path / "samples.png").stat().st_size > 1000


def test_samples_of_a_conditional_flow_have_a_row_for_each_context():
    keras.utils.set_random_seed(0)
    embedding = keras.layers.Embedding(3, 2)
    tiny = {"depth": 1, "growth": 4, "fully_connected": None, "bits": 3, "context_shape": ()}
    flow = IDenseNet((4, 4, 1), (1,), context_embedding=embedding, **tiny)
    move_weights(flow)
    (panel,) = shown(plot.samples(flow, (0.7,), columns=2, seed=1)).values()
    drawn = flow.sample(6, seed=1, temperature=0.7, context=[0, 0, 1, 1, 2, 2])
    np.testing.assert_array_equal(panel, plot.image_grid(drawn, 2, 7)[..., 0])
    (panel,) = shown(plot.samples(flow, (1.0,), columns=2, rows=2, context=[2, 0])).values()
    drawn = flow.sample(8, seed=0, context=[2] * 4 + [0] * 4)
    np.testing.assert_array_equal(panel, plot.image_grid(drawn, 2, 7)[..., 0])
    for context, message in (([3], "from 0 to 2"), (1, r"shape \(contexts\)"), ([], "contexts")):
        with pytest.raises(ValueError, match=message):
            plot.samples(flow, context=context)


def test_white_is_the_level_asked_for(flow):
    (panel,) = shown(plot.samples(flow, (1.0,), columns=4, highest=2)).values()
    np.testing.assert_array_equal(panel, plot.image_grid(flow.sample(4, seed=0), 4, 2)[..., 0])


def test_reconstructions_are_below_the_images(flow, images):
    panels = shown(plot.reconstructions(flow, images))
    data, decoded, *_ = panels.values()
    np.testing.assert_array_equal(data, plot.image_grid(images, 3, 7)[..., 0])
    again = flow.decode(flow.encode(images, seed=0))
    np.testing.assert_array_equal(decoded, plot.image_grid(again, 3, 7)[..., 0])
    if np.array_equal(again, images):  # but for rounding, always
        assert list(panels) == ["data", "decoded; no difference"]


def test_a_difference_is_amplified():
    # Encoding keeps nothing of the second half of the squeezed numbers.
    steps = [transforms.UniformDequantization(3), transforms.SqueezeAndDrop()]
    flow = kf.Flow(transforms.Chain(steps), (4, 4, 1))
    images = np.random.default_rng(0).integers(8, size=(3, 4, 4, 1))
    panels = shown(plot.reconstructions(flow, images, seed=5))
    decoded = flow.decode(flow.encode(images, seed=5), seed=5).numpy()
    difference = np.abs(decoded - images)
    title = f"difference; white is {difference.max():.3g}"
    assert list(panels) == ["data", "decoded", title]
    np.testing.assert_array_equal(panels[title], plot.image_grid(difference, 3)[..., 0])
    assert panels[title].max() == 255


@pytest.mark.slow  # half a minute
def test_dense_flows_have_reconstructions_and_interpolations():
    flow = dense_flow()("float32")
    assert flow.noise_shape("decode") != (0,)
    images = np.random.default_rng(0).integers(8, size=(2, 4, 4, 1))
    data, decoded, *_ = shown(plot.reconstructions(flow, images)).values()
    np.testing.assert_array_equal(data, plot.image_grid(images, 2, 7)[..., 0])
    assert decoded.shape == data.shape
    # One noise for the row of a pair: from an image to itself, nothing changes on the way.
    (row,) = shown(plot.interpolations(flow, images, images, steps=3)).values()
    for panel in np.split(row, 3, axis=1)[1:]:
        np.testing.assert_array_equal(panel, row[:, :6])
    noise = np.random.default_rng(0).standard_normal((2, *flow.noise_shape("decode")))
    expected = flow.decode(flow.encode(images, seed=0), noise=InputNoise(noise))
    np.testing.assert_array_equal(row[:, :6], plot.image_grid(expected, 1, 7)[..., 0])


def test_interpolations_go_from_one_image_to_the_other(flow, images):
    (panel,) = shown(plot.interpolations(flow, images[:2], images[1:], steps=5)).values()
    assert panel.shape == (2 * 6, 5 * 6)
    first, last = (flow.decode(flow.encode(x, seed=0)) for x in (images[:2], images[1:]))
    np.testing.assert_array_equal(panel[:, :6], plot.image_grid(first, 1, 7)[..., 0])
    np.testing.assert_array_equal(panel[:, 24:], plot.image_grid(last, 1, 7)[..., 0])
    a, b = (flow.encode(x, seed=0).numpy()[0] for x in (images[:2], images[1:]))
    angle = np.arccos(np.sum(a * b) / np.linalg.norm(a) / np.linalg.norm(b))
    middle = (a + b) * np.sin(0.5 * angle) / np.sin(angle)
    expected = plot.image_grid(flow.decode(middle[None]), 1, 7)[..., 0]
    np.testing.assert_allclose(panel[:6, 12:18], expected, atol=40)  # a level, where it rounds


def test_a_spherical_path():
    a, b = np.array([[3.0, 0.0], [1.0, 1.0]]), np.array([[0.0, 3.0], [-1.0, -1.0]])
    path = _spherical(a, b, np.array([0.0, 1.0 / 3.0, 1.0]))
    np.testing.assert_allclose(path[0], [[3, 0], [3 * 0.75**0.5, 1.5], [0, 3]], atol=1e-12)
    # Straight where there is no angle, or every way round is as short.
    np.testing.assert_allclose(path[1], [[1, 1], [1 / 3, 1 / 3], [-1, -1]], atol=1e-12)
    same = _spherical(a, a, np.array([0.0, 0.3]))
    np.testing.assert_allclose(same, np.stack([a, a], axis=1))
    np.testing.assert_array_equal(_spherical(0 * a, b, np.array([0.5]))[:, 0], b / 2)


@pytest.mark.slow
def test_a_base_with_another_mode_is_gone_around():
    flow = dense_flow(dequantization="uniform")("float32")
    (loc,) = (weight for weight in flow.base.weights if weight.name == "loc")
    loc.assign(loc + 3.0)
    images = np.random.default_rng(1).integers(8, size=(2, 4, 4, 1))
    (panel,) = shown(plot.interpolations(flow, images[:1], images[1:], steps=3)).values()
    a, b = (flow.encode(x, seed=0).numpy() for x in (images[:1], images[1:]))
    z = loc.numpy() + _spherical(a - loc.numpy(), b - loc.numpy(), np.array([0.5]))[:, 0]
    noise = np.random.default_rng(0).standard_normal((1, *flow.noise_shape("decode")))
    expected = plot.image_grid(flow.decode(z, noise=InputNoise(noise)), 1, 7)[..., 0]
    np.testing.assert_allclose(panel[:, 6:12], expected, atol=40)


def test_flows_and_images_that_do_not_fit(flow, images):
    plane = kf.models.IDenseNet((2,), blocks=1, depth=1, growth=4)
    two = kf.Flow(transforms.Logit(), (4, 4, 2))
    for other in (plane, two):
        for picture, arguments in (
            (plot.samples, ()),
            (plot.reconstructions, (images,)),
            (plot.interpolations, (images, images)),
        ):
            with pytest.raises(ValueError, match="flows on grey or RGB images"):
                picture(other, *arguments)
    with pytest.raises(ValueError, match=r"x must have shape"):
        plot.reconstructions(flow, images[:, :2])
    with pytest.raises(ValueError, match="two arrays of one shape and at least 2 steps"):
        plot.interpolations(flow, images, images[:1])
    with pytest.raises(ValueError, match="at least 2 steps"):
        plot.interpolations(flow, images, images, steps=1)
    steps = [transforms.UniformDequantization(3), transforms.Logit()]
    conditional = kf.Flow(transforms.Chain(steps), (4, 4, 1), context_shape=(3,))
    for picture, arguments in ((plot.samples, ()), (plot.reconstructions, (images,))):
        with pytest.raises(ValueError, match="conditional"):
            picture(conditional, *arguments)
    with pytest.raises(ValueError, match="has no context"):
        plot.samples(flow, context=[[0.0]])
    assert plot.samples(conditional, (1.0,), columns=2, context=np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"shape \(contexts, 3\)"):
        plot.samples(conditional, context=np.zeros(3))
    with pytest.raises(ValueError, match="rows must be"):
        plot.samples(flow, rows=0)
