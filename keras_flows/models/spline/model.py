"""Neural spline flows on vectors, autoregressive or by couplings."""

from collections.abc import Iterable
from typing import Any

import keras

from keras_flows import checks
from keras_flows.layers import ResidualMADE, ResidualNetwork
from keras_flows.models.arguments import recorded
from keras_flows.models.vectors import VectorModel, changed_features
from keras_flows.transforms import Autoregressive, Coupling, Turn
from keras_flows.transforms.maps import FeatureMaps, PeriodicSplineMap, SplineMap
from keras_flows.transforms.masks import FeatureMask


@keras.saving.register_keras_serializable("keras_flows")
class SplineFlow(VectorModel):
    """Neural spline flow: rational-quadratic splines whose knots a residual network makes.

    The first step is a `Standardize`, set by `keras_flows.training.adapt`. Every layer then maps
    each feature by a monotone spline, with linear tails:

    * autoregressive: by the features before it, in the order of the columns in the first layer, in
      the reverse order in the second, and so on. log_prob takes one pass, a sample as many as there
      are features.
    * by couplings: one part of the features by the others, in turn. Both directions take one pass.

    The flow starts as the standardisation alone: all splines are the identity.

    Features that are angles stay on their circles: they are mapped by splines on the circle, turned
    by half in front of every layer, seen by the networks as cosine and sine, and uniform in the
    base. The density has no cut, and numbers that differ by a turn have the same.

    Sources: Durkan et al. 2019, *Neural Spline Flows*; Rezende et al. 2020, *Normalizing Flows on
    Tori and Spheres*.

    >>> flow = kf.models.SplineFlow((5,))
    >>> kf.training.adapt(flow, x)
    >>> flow.compile(keras.optimizers.Adam(1e-3))
    >>> flow.fit(x, epochs=10)

    Args:
        event_shape: `(features,)`.
        autoregressive: Whether the layers are autoregressive, or else couplings.
        layers: Number of layers; by default 3 that are autoregressive, and of couplings twice the
            number of binary digits that tell the features apart, at least 4.
        bins: Bins of every spline.
        bound: Where the tails of every spline begin, in standard deviations.
        width: Size of the hidden layers of the networks.
        blocks: Residual blocks of every network.
        one_order: Whether all autoregressive layers go in the order of the columns: every column
            then adds an exact conditional term to log_prob, which `keras_flows.detect.explain`
            uses. The density is less flexible.
        circles: The indices of the features that are angles, in radians.
        context_shape: See `Flow`.
        context_embedding: See `Flow`.
        dtype: `"float32"` or `"float64"`.
        **kwargs: `seed` and `name`; see `Flow`.

    Raises:
        ValueError: If an argument is out of its range, couplings are to be of a single feature, or
            the angles are no features.
    """

    @recorded
    def __init__(
        self,
        event_shape: tuple[int, ...],
        autoregressive: bool = True,
        layers: int | None = None,
        bins: int = 8,
        bound: float = 5.0,
        width: int = 64,
        blocks: int = 2,
        one_order: bool = False,
        circles: Iterable[int] = (),
        context_shape: tuple[int, ...] | None = None,
        context_embedding: keras.layers.Layer | None = None,
        dtype: str | keras.DTypePolicy | None = None,
        **kwargs: Any,
    ):
        checks.flag(autoregressive, "autoregressive")
        checks.flag(one_order, "one_order")
        if one_order and not autoregressive:
            raise ValueError("one_order is for autoregressive layers; these are couplings.")
        (features, *_) = checks.event_shape(event_shape)
        if layers is None:
            layers = 3 if autoregressive else max(4, 2 * (features - 1).bit_length())
        checks.count(layers, "layers")
        self.arguments.layers = layers
        circles = self.arguments.circles = checks.indices(circles, "circles", features)
        spline, on_circle = SplineMap(bins, bound), PeriodicSplineMap(bins)
        context_size = checks.context_size(context_shape, context_embedding)
        common = {"width": width, "blocks": blocks, "context_size": context_size}

        def map_of(changed):
            """The map of some features, by their indices."""
            if not set(changed) & set(circles):
                return spline
            return FeatureMaps([on_circle if j in circles else spline for j in changed])

        def autoregressive_step(i, policy):
            map = map_of(range(features))
            net = ResidualMADE(
                features,
                map.parameters,
                reverse=i % 2 == 1 and not one_order,
                circles=circles,
                dtype=policy,
                **common,
            )
            return Autoregressive(net, map, dtype=policy)

        def coupling(changed, policy):
            map, passing = map_of(changed), [j for j in range(features) if j not in changed]
            seen = [place for place, j in enumerate(passing) if j in circles]
            units = len(changed) * map.parameters
            net = ResidualNetwork(units, circles=seen, dtype=policy, **common)
            return Coupling(FeatureMask(changed), net, map, dtype=policy)

        def steps(policy):
            if autoregressive:
                made = [autoregressive_step(i, policy) for i in range(layers)]
            else:
                made = [coupling(changed, policy) for changed in changed_features(features, layers)]
            if not circles:
                return made
            return [step for one in made for step in (Turn(circles, dtype=policy), one)]

        super().__init__(
            event_shape, steps, context_shape, context_embedding, dtype, circles, **kwargs
        )
