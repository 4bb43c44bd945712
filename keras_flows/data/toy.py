"""Two-dimensional toy densities: independent draws and the exact log-density of each.

Longer than other files: nine densities, each with its draws and its exact log-density.

Two circles, the checkerboard and two moons are the densities behind Table 1 of *Invertible
DenseNets* (Perugachi-Diaz, Tomczak and Bhulai, 2020). The others follow the toy data of *FFJORD*
(Grathwohl et al., 2019), except that two spirals have Gaussian noise only and that the pinwheel
turns by the radius; both changes make the exact density simple, and neither can be seen.

Every density here is a mixture, over points or along curves, smoothed by isotropic Gaussian noise
(the checkerboard and the pinwheel aside). An integral over a circle has a closed form in the Bessel
function I₀; one along an open curve is a Gauss-Legendre quadrature, whose error is below 1e-8 nats
over the whole of `bounds`.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from keras_flows import checks
from keras_flows.data import batches
from keras_flows.data.batches import Seed

if TYPE_CHECKING:
    import tensorflow as tf
    from tensorflow_probability import distributions as tfd


def toy(name: str) -> "ToyDensity":
    """The toy density called `name`.

    Args:
        name: One of `names()`.

    Returns:
        The density.

    Raises:
        ValueError: If there is no density of that name.
    """
    return checks.known(name, _DENSITIES, "toy density")


def names() -> list[str]:
    """The names of the toy densities."""
    return list(_DENSITIES)


@dataclass(frozen=True)
class ToyDensity:
    """A density on the plane that can be drawn from and whose log-density is known exactly.

    Attributes:
        name: What `toy` knows it by.
        bounds: `(xmin, xmax, ymin, ymax)` of a picture; all but 1e-3 of the mass lies inside.
        event_shape: `(2,)`.
    """

    name: str
    bounds: tuple[float, float, float, float]
    _draw: Callable[[np.random.Generator, int], np.ndarray] = field(repr=False)
    _log_density: Callable[[np.ndarray], np.ndarray] = field(repr=False)
    event_shape: ClassVar[tuple[int]] = (2,)

    def sample(self, n: int, seed: Seed) -> np.ndarray:
        """Draws `n` independent points.

        The same seed gives the same points. Two different seeds give unrelated points, also where
        one is an integer and the other a tuple: `5`, `(5, 0)` and `(5, 0, 0)` are three seeds.

        Args:
            n: How many, at least 1.
            seed: An integer, or a tuple of integers such as `(seed, step)`, each in [0, 2³²).

        Returns:
            float32 array of shape `(n, 2)`.

        Raises:
            TypeError: If `n` or a part of `seed` is not an integer.
            ValueError: If `n` or a part of `seed` is out of range.
        """
        n = batches.integer("n", n, at_least=1)
        return self._draw(batches.generator(*batches.key(seed)), n).astype(np.float32)

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """The exact log-density, in nats, of each point.

        Args:
            x: Finite numbers, shape `(n, 2)`.

        Returns:
            float64 array of shape `(n,)`; minus infinity outside the support.

        Raises:
            ValueError: If `x` has another shape, is empty, or holds anything but finite numbers.
        """
        return self._log_density(_points(x))

    def as_distribution(self, dtype: str = "float32") -> "tfd.Distribution":
        """This density as a TensorFlow Probability distribution.

        Its log_prob is made of TensorFlow operations, so it has gradients. A curve smoothed by
        Gaussian noise is there a mixture of Gaussians along the curve, so many that the density
        is the same up to rounding.

        Args:
            dtype: Of the points, `"float32"` or `"float64"`.

        Returns:
            A `tfd.Distribution` with event shape `(2,)`.

        Raises:
            ValueError: If `dtype` is another one.
        """
        from keras_flows.data import toy_distributions

        return toy_distributions.distribution(self.name, dtype)

    def dataset(self, batch_size: int, steps: int, seed: Seed, start: int = 0) -> "tf.data.Dataset":
        """Freshly drawn training batches, the same ones for the same seed.

        Batch i is `sample(batch_size, seed=(seed, i))` for i in start, …, steps − 1. So a run that
        stopped after k batches goes on with `start=k` and sees what it would have seen.

        Args:
            batch_size: Points in a batch, at least 1.
            steps: Batches in the whole run, at least 1.
            seed: As for `sample`.
            start: Batches to leave out at the beginning, from 0 to `steps`.

        Returns:
            A `tf.data.Dataset` of `steps - start` float32 tensors of shape `(batch_size, 2)`.

        Raises:
            TypeError: If an argument is not an integer.
            ValueError: If an argument is out of range.
        """
        return batches.dataset(
            lambda key, step: self.sample(batch_size, seed=(*key, step)),
            self.event_shape,
            "float32",
            batch_size,
            steps,
            seed,
            start,
        )


# --------------------------------------------------------------------- checks on arguments


def _points(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x)
    if x.dtype.kind not in "iuf" or x.ndim != 2 or x.shape[1] != 2 or len(x) == 0:
        raise ValueError(
            f"x must be numbers of shape (n, 2) with n at least 1, but it has shape {x.shape} "
            f"and dtype {x.dtype}."
        )
    x = x.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(x).all(axis=1))
    if bad.size:
        raise ValueError(
            f"x must be finite, but {bad.size} of its {len(x)} rows hold NaN or infinity, "
            f"the first of them row {bad[0]}: {x[bad[0]]}."
        )
    return x


# --------------------------------------------------------------------- pieces of densities


def _noise(rng: np.random.Generator, n: int, sd: float) -> np.ndarray:
    return sd * rng.standard_normal((n, 2))


def _polar(radius: np.ndarray | float, angle: np.ndarray) -> np.ndarray:
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)


@dataclass(frozen=True)
class Mixture:
    """A mixture of isotropic Gaussians: weights `(k,)`, centres `(k, 2)`, one deviation."""

    centres: np.ndarray
    weights: np.ndarray
    sd: float


def _log_mixture(x: np.ndarray, mixture: Mixture) -> np.ndarray:
    """The log-density of a mixture, log Σ_k w_k N(x; c_k, sd² I), for x `(n, 2)`."""
    centres, weights, sd = mixture.centres, mixture.weights, mixture.sd
    log_weights = np.log(weights) - np.sum(centres**2, axis=1) / (2 * sd**2)
    result = np.empty(len(x))
    rows = max(1, 2**22 // len(centres))  # keeps the (rows, k) table at 32 MiB
    for first in range(0, len(x), rows):
        part = x[first : first + rows]
        terms = part @ (centres.T / sd**2) + log_weights
        largest = terms.max(axis=1)
        terms -= largest[:, None]
        result[first : first + rows] = largest + np.log(np.exp(terms, out=terms).sum(axis=1))
    return result - np.sum(x**2, axis=1) / (2 * sd**2) - np.log(2 * np.pi * sd**2)


def _circles_mixture(radii: tuple[float, ...], sd: float) -> Mixture:
    # Gaussians nearer to each other than their deviation: the ripple is below 1e-13.
    counts = [int(np.ceil(2 * np.pi * radius / (0.8 * sd))) for radius in radii]
    angles = [2 * np.pi * np.arange(count) / count for count in counts]
    centres = [_polar(radius, angle) for radius, angle in zip(radii, angles, strict=True)]
    weights = [np.full(count, 1 / (len(radii) * count)) for count in counts]
    return Mixture(np.concatenate(centres), np.concatenate(weights), sd)


def _log_circles(x: np.ndarray, radii: tuple[float, ...], sd: float) -> np.ndarray:
    """Log-density of a uniform point on one of the circles, plus N(0, sd² I).

    For a circle of radius r, with ρ = |x| and z = ρ r / sd²,
    p(x) = exp(−(ρ − r)² / (2 sd²)) · e⁻ᶻ I₀(z) / (2π sd²); the circles have equal shares.
    """
    from scipy.special import i0e, logsumexp

    rho = np.linalg.norm(x, axis=1)[:, None]
    r = np.asarray(radii)
    shells = -((rho - r) ** 2) / (2 * sd**2) + np.log(i0e(rho * r / sd**2))
    return logsumexp(shells, axis=1) - np.log(len(radii) * 2 * np.pi * sd**2)


def _draw_circles(
    rng: np.random.Generator, n: int, radii: tuple[float, ...], sd: float
) -> np.ndarray:
    radius = rng.choice(radii, size=n)
    return _polar(radius, rng.uniform(0, 2 * np.pi, n)) + _noise(rng, n, sd)


@functools.cache
def _quadrature(low: float, high: float, nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre points on [low, high] and their weights, which sum to one."""
    from scipy.special import roots_legendre

    points, weights = roots_legendre(nodes)
    return low + (high - low) * (points + 1) / 2, weights / 2


# --------------------------------------------------------------------- the densities
# Of each: what is drawn, then the log-density of what is drawn.


def _moons(t: np.ndarray) -> np.ndarray:
    """The two half circles at angle t: shape `(2, len(t), 2)`."""
    outer = np.stack([np.cos(t), np.sin(t)], axis=-1)
    inner = np.stack([1 - np.cos(t), 0.5 - np.sin(t)], axis=-1)
    return 2 * np.stack([outer, inner]) + (-1, -0.2)


def _draw_two_moons(rng: np.random.Generator, n: int) -> np.ndarray:
    moons = _moons(rng.uniform(0, np.pi, n))
    return moons[rng.integers(2, size=n), np.arange(n)] + _noise(rng, n, sd=0.2)


@functools.cache
def _two_moons_mixture() -> Mixture:
    t, weights = _quadrature(0, np.pi, nodes=200)
    return Mixture(_moons(t).reshape(-1, 2), np.tile(weights / 2, 2), sd=0.2)


_TWO_CIRCLES: dict[str, Any] = {"radii": (1.5, 3.0), "sd": 0.24}
_RINGS: dict[str, Any] = {"radii": (0.75, 1.5, 2.25, 3.0), "sd": 0.08}


def _draw_checkerboard(rng: np.random.Generator, n: int) -> np.ndarray:
    """x₁ ~ U(−2, 2), x₂ = U(0, 1) − 2·Bernoulli(½) + (⌊x₁⌋ mod 2), both doubled."""
    column = rng.integers(-2, 2, size=n)
    row = column % 2 - 2 * rng.integers(2, size=n)
    # A fraction nearer to 1 would be rounded to the next square in float32.
    fraction = np.minimum(rng.random((n, 2)), 1 - 2.0**-22)
    return 2 * (np.stack([column, row], axis=1) + fraction)


def _log_checkerboard(x: np.ndarray) -> np.ndarray:
    column, row = np.floor(x / 2).T
    inside = (np.abs(column + 0.5) < 2) & (np.abs(row + 0.5) < 2) & ((column + row) % 2 == 0)
    return np.where(inside, -np.log(32), -np.inf)


_EIGHT_CENTRES = _polar(4 / 1.414, np.arange(8) * np.pi / 4)


def _draw_eight_gaussians(rng: np.random.Generator, n: int) -> np.ndarray:
    return _EIGHT_CENTRES[rng.integers(8, size=n)] + _noise(rng, n, sd=0.5 / 1.414)


def _eight_gaussians_mixture() -> Mixture:
    return Mixture(_EIGHT_CENTRES, np.full(8, 1 / 8), sd=0.5 / 1.414)


PINWHEEL_ARMS, PINWHEEL_SD = 5, np.array([0.3, 0.1])


def _pinwheel_turn(radius: np.ndarray) -> np.ndarray:
    return 0.25 * np.exp(np.minimum(radius, 9))  # the limit, 26 sd out, only stops overflow


def _draw_pinwheel(rng: np.random.Generator, n: int) -> np.ndarray:
    """N((1, 0), diag(0.3², 0.1²)), turned clockwise by 2πk/5 + ¼·exp(radius), doubled."""
    f = (1, 0) + PINWHEEL_SD * rng.standard_normal((n, 2))
    radius = np.linalg.norm(f, axis=1)
    arm = rng.integers(PINWHEEL_ARMS, size=n) * 2 * np.pi / PINWHEEL_ARMS
    return 2 * _polar(radius, np.arctan2(f[:, 1], f[:, 0]) - arm - _pinwheel_turn(radius))


def _log_pinwheel(x: np.ndarray) -> np.ndarray:
    """A turn that depends on the radius only preserves area, so each arm is a turned Gaussian."""
    from scipy.special import logsumexp

    radius = np.linalg.norm(x, axis=1)[:, None] / 2
    arms = np.arange(PINWHEEL_ARMS) * 2 * np.pi / PINWHEEL_ARMS
    f = _polar(radius, np.arctan2(x[:, 1], x[:, 0])[:, None] + arms + _pinwheel_turn(radius))
    gaussians = -0.5 * np.sum(((f - (1, 0)) / PINWHEEL_SD) ** 2, axis=-1)
    volume = 2**2 * 2 * np.pi * np.prod(PINWHEEL_SD)
    return logsumexp(gaussians, axis=1) - np.log(PINWHEEL_ARMS * volume)


def _spiral(t: np.ndarray) -> np.ndarray:
    return np.stack([-t * np.cos(t), t * np.sin(t)], axis=-1) / 3


def _draw_two_spirals(rng: np.random.Generator, n: int) -> np.ndarray:
    """±(−t cos t, t sin t)/3 with t = 3π√U, plus noise."""
    arm = rng.choice([-1.0, 1.0], size=(n, 1))
    return arm * _spiral(3 * np.pi * np.sqrt(rng.random(n))) + _noise(rng, n, sd=0.1)


@functools.cache
def _two_spirals_mixture() -> Mixture:
    t, weights = _quadrature(0, 3 * np.pi, nodes=800)
    weights = weights * 2 * t / (3 * np.pi)  # the density of t, over the uniform one
    arm = _spiral(t)
    return Mixture(np.concatenate([arm, -arm]), np.tile(weights / 2, 2), sd=0.1)


_ROLL = (1.5 * np.pi, 4.5 * np.pi)


def _draw_swiss_roll(rng: np.random.Generator, n: int) -> np.ndarray:
    """(t cos t, t sin t)/5 with t ~ U(1.5π, 4.5π), plus noise."""
    t = rng.uniform(*_ROLL, n)
    return _polar(t, t) / 5 + _noise(rng, n, sd=0.2)


@functools.cache
def _swiss_roll_mixture() -> Mixture:
    t, weights = _quadrature(*_ROLL, nodes=400)
    return Mixture(_polar(t, t) / 5, weights, sd=0.2)


def _square(half: float) -> tuple[float, float, float, float]:
    return (-half, half, -half, half)


# A density that is a mixture is known by it; the others have a log-density of their own.
MIXTURES: dict[str, Callable[[], Mixture]] = {
    "two_moons": _two_moons_mixture,
    "two_circles": functools.partial(_circles_mixture, **_TWO_CIRCLES),
    "rings": functools.partial(_circles_mixture, **_RINGS),
    "eight_gaussians": _eight_gaussians_mixture,
    "two_spirals": _two_spirals_mixture,
    "swiss_roll": _swiss_roll_mixture,
}


def _log_density_of(name: str) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: _log_mixture(x, MIXTURES[name]())


_DENSITIES = {
    density.name: density
    for density in (
        ToyDensity("two_moons", _square(4.0), _draw_two_moons, _log_density_of("two_moons")),
        ToyDensity(
            "two_circles",
            _square(4.0),
            functools.partial(_draw_circles, **_TWO_CIRCLES),
            functools.partial(_log_circles, **_TWO_CIRCLES),
        ),
        ToyDensity("checkerboard", _square(4.0), _draw_checkerboard, _log_checkerboard),
        ToyDensity(
            "rings",
            _square(4.0),
            functools.partial(_draw_circles, **_RINGS),
            functools.partial(_log_circles, **_RINGS),
        ),
        ToyDensity(
            "eight_gaussians",
            _square(4.5),
            _draw_eight_gaussians,
            _log_density_of("eight_gaussians"),
        ),
        ToyDensity("pinwheel", _square(4.5), _draw_pinwheel, _log_pinwheel),
        ToyDensity("two_spirals", _square(4.0), _draw_two_spirals, _log_density_of("two_spirals")),
        ToyDensity("swiss_roll", _square(4.0), _draw_swiss_roll, _log_density_of("swiss_roll")),
    )
}
