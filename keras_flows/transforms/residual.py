"""The Lipschitz residual block."""

from typing import Any, Self

import keras
import tensorflow as tf

from keras_flows import checks
from keras_flows.layers.lipschitz.layer import LipschitzLayer
from keras_flows.noise import Noise
from keras_flows.numerics import fixed_point
from keras_flows.numerics import log_det as log_dets
from keras_flows.numerics.elimination import solve_identity_plus
from keras_flows.numerics.events import event_size
from keras_flows.numerics.fixed_point import Inversion
from keras_flows.numerics.log_det import jacobian
from keras_flows.transforms.base import Transform
from keras_flows.transforms.parts import deserialized, serialized
from keras_flows.transforms.repeated import once, with_these_weights

# Up to this many dimensions the inverse uses the Jacobian.
_NEWTON_SIZE = 8

# The default tolerance of the inverse, a few units of rounding.
_TOLERANCE = {"float64": 1e-12, "float32": 1e-6}


@keras.saving.register_keras_serializable("keras_flows")
class ResidualBlock(Transform):
    """`z = x + g(x)` with `Lip(g) < 1`, hence a bijection.

    `log_det = ln |det(I + J_g(x))|` by an estimator of `keras_flows.numerics.log_det`; the
    inverse is the fixed point of `x <- z - g(x)` (found by a safeguarded Newton method for vectors
    of a few numbers), with the gradient of the implicit function theorem.

    Sources: Behrmann et al. 2019, *Invertible Residual Networks*; Chen et al. 2019, *Residual
    Flows for Invertible Generative Modeling*.

    Args:
        net: The network g: a `LipschitzLayer` called as `net(x, context)`, whose output has the
            shape of its input.
        log_det: `"exact"`, `"power_series"`, `"unbiased"`, or an estimator object.
        tolerance: Of the inverse, absolute and relative (see `keras_flows.numerics.fixed_point`);
            1e-6 in float32 and 1e-12 in float64 by default.
        max_iterations: Of the inverse.
    """

    def __init__(
        self,
        net: LipschitzLayer,
        log_det: str | log_dets.Estimator = "exact",
        tolerance: float | None = None,
        max_iterations: int = 1000,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        checks.instance(net, LipschitzLayer, "net")
        self.net = net
        self.log_det = log_dets.estimator(log_det)
        if tolerance is None:
            tolerance = _TOLERANCE[self.compute_dtype]
        checks.positive(tolerance, "tolerance")
        checks.count(max_iterations, "max_iterations")
        self.tolerance = tolerance
        self.max_iterations = max_iterations

    def build(self, input_shape: tuple) -> None:
        checks.build_once(self.net, input_shape)
        made = tuple(self.net.compute_output_shape(input_shape))[1:]
        if made != tuple(input_shape[1:]):
            raise ValueError(
                f"The network of a residual block must keep the shape of its input: it is given "
                f"{tuple(input_shape[1:])} and makes {made}."
            )
        super().build(input_shape)

    @property
    def likelihood(self) -> str:
        return self.log_det.likelihood

    def noise_size(self, direction: str) -> int:
        return self.log_det.noise_size(event_size(self.event_shape)) if direction == "encode" else 0

    def lipschitz_bounds(self) -> dict[str, float]:
        return {type(self).__name__: self.net.lipschitz_bound()}

    def encode(
        self,
        x: tf.Tensor,
        context: tf.Tensor | None = None,
        noise: Noise | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        def encode(x, context, noise):
            g, log_det = self.log_det(self.net, x, context, noise, training)
            return x + g, log_det

        noise = noise if self.noise_size("encode") else None
        return once(self, ("encode", training), encode, x, context, noise)

    @property
    def _newton(self):
        # Where the Jacobian is cheap, Newton's method takes far fewer steps.
        return len(self.event_shape) == 1 and self.event_shape[0] <= _NEWTON_SIZE

    @property
    def decodes_in_loops(self) -> bool:
        # The graph of Newton's method is large. Of images it is the network that takes the time,
        # and more of it where its kernels are no constants.
        return self._newton

    @property
    def wanted_tolerance(self) -> float | tf.Tensor:
        """The tolerance of the inverse, or the one that a call asks for instead."""
        return fixed_point.wanted(self.tolerance)

    @property
    def _limits(self):
        return self.wanted_tolerance, self.wanted_tolerance, self.max_iterations

    def invert(self, z: tf.Tensor, context: tf.Tensor | None = None) -> Inversion:
        """The inverse with its diagnostics, a `keras_flows.numerics.fixed_point.Inversion`."""

        def of(context, pick):
            return None if context is None else pick(context)

        with self.net.bound():
            if self._newton:
                return fixed_point.newton(
                    lambda x, pick: jacobian(self.net, x, of(context, pick)), z, *self._limits
                )
            return fixed_point.solve(
                lambda x, pick: self.net.call(x, context=of(context, pick)), z, *self._limits
            )

    def _solve_transposed(self, x, context, w):
        """`(I + J^T)^-1 w`, J the Jacobian at x."""
        if self._newton:
            matrix = jacobian(self.net, x, context)[1]
            return solve_identity_plus(tf.transpose(matrix, (0, 2, 1)), w)
        pullback = self.net.vjp(x, context=context)[1]
        # The pullback is at all examples.
        solution = fixed_point.solve(
            lambda v, _: pullback(v[None])[0], w, *self._limits, everywhere=True
        )

        @tf.custom_gradient
        def constant(w, x):
            def refuse(_):
                raise ValueError(
                    "Second derivatives through the inverse are there for vectors of up to "
                    f"{_NEWTON_SIZE} numbers; this block's events have the shape "
                    f"{self.event_shape}."
                )

            return fixed_point.mark_unconverged(solution), refuse

        return constant(w, x)

    def decode(
        self, z: tf.Tensor, context: tf.Tensor | None = None, noise: Noise | None = None
    ) -> tf.Tensor:
        def decode(z, context, _):
            x = fixed_point.mark_unconverged(self.invert(z, context))
            weights = with_these_weights()

            def solve_transposed(w):
                # At the result, which depends on z: second derivatives need that.
                with weights():
                    return self._solve_transposed(result, context, w)

            residual = z - x - self.net.call(x, context=context)
            result = x + fixed_point.attach_gradient(residual, solve_transposed)
            return result

        return once(self, "decode", decode, z, context)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            **serialized(net=self.net, log_det=self.log_det),
            "tolerance": self.tolerance,
            "max_iterations": self.max_iterations,
        }

    @classmethod
    def from_config(cls, config: dict) -> Self:
        return cls(**deserialized(config, "net", "log_det"))
