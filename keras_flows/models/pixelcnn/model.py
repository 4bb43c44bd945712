"""Autoregressive flows on images, pixel by pixel: PixelCNN and PixelCNN++."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_flows import checks
from keras_flows.bases import StandardLogistic
from keras_flows.layers import MaskedConvNetwork, StreamNetwork
from keras_flows.models.arguments import ModelFlow, recorded
from keras_flows.transforms import Affine, Autoregressive, Chain, UniformDequantization
from keras_flows.transforms.maps import (
    CategoricalMap,
    CensoredLogisticMixtureMap,
    DiscretizedMixtureMap,
    LogisticMixtureMap,
)

_OUTPUTS = ("categorical", "mixture", "dequantized", "censored")


def elementwise_map(output, components, bits):
    """The map that an output stands for; mixtures have 10 components by default.

    Raises:
        ValueError: If there is no such output, or components are given for one without.
    """
    kind = checks.known(output, dict.fromkeys(_OUTPUTS, output), "output")
    if kind == "categorical":
        if components is not None:
            raise ValueError(
                "A categorical output has no components: leave them out, or take a mixture."
            )
        return CategoricalMap(bits)
    components = 10 if components is None else components
    if kind == "mixture":
        return DiscretizedMixtureMap(components, bits)
    if kind == "censored":
        return CensoredLogisticMixtureMap(components, bits)
    return LogisticMixtureMap(components)


class _PixelFlow(ModelFlow):
    """An autoregressive step on images of integers, and what goes before it."""

    def __init__(self, map, network, bits, context_shape, context_embedding, dtype, **kwargs):
        step = Autoregressive(network, map, dtype=dtype)
        before = []
        if not step.dequantizes:
            before = [UniformDequantization(bits, dtype=dtype), Affine(0.5, 0.5, dtype=dtype)]
        super().__init__(
            Chain([*before, step], dtype=dtype),
            network.event_shape,
            context_shape=context_shape,
            context_embedding=context_embedding,
            base=StandardLogistic(dtype=dtype),
            dtype=dtype,
            **kwargs,
        )


@keras.saving.register_keras_serializable("keras_flows")
class PixelCNN(_PixelFlow):
    """PixelCNN: every pixel given those above it and to its left, by masked convolutions.

    One `Autoregressive` step with a `MaskedConvNetwork`, on a logistic base. What the network makes
    of a number is one of these, `output`:

    * `"categorical"`: the probabilities of its levels. log_prob is exact, and that of integers.
    * `"mixture"`: a mixture of logistics, whose probabilities of the levels are taken; exact, too.
    * `"dequantized"`: the density of such a mixture, on numbers with uniform noise: log_prob is a
      lower bound, and the network sees the noise.
    * `"censored"`: the same, the tails of the mixture going to the first and the last level.

    log_prob takes one pass. A sample takes as many as there are numbers at most; of integers it
    ends as soon as a pass changes nothing. The defaults are the published PixelCNN on CIFAR-10.

    Sources: van den Oord et al. 2016, *Pixel Recurrent Neural Networks*; Nielsen & Winther 2020,
    *Closing the Dequantization Gap: PixelCNN as a Single-Layer Flow*.

    >>> flow = kf.models.PixelCNN((28, 28, 1), width=32, blocks=5, head=64)

    Args:
        event_shape: `(height, width, channels)`.
        width: See `keras_flows.layers.MaskedConvNetwork`.
        blocks: See there.
        head: See there.
        first: See there.
        output: See above.
        components: Of the mixtures, 10 by default.
        bits: Number of bits of an integer.
        fourier_features: Whether the network sees, beside every integer, its Fourier features.
        context_shape: See `Flow`.
        context_embedding: See `Flow`.
        dtype: `"float32"` or `"float64"`.
        **kwargs: `seed` and `name`; see `Flow`.

    Raises:
        ValueError: If an argument is out of its range.
    """

    @recorded
    def __init__(
        self,
        event_shape: tuple[int, ...],
        width: int = 128,
        blocks: int = 15,
        head: int = 1024,
        first: int = 7,
        output: str = "categorical",
        components: int | None = None,
        bits: int = 8,
        fourier_features: bool = False,
        context_shape: tuple[int, ...] | None = None,
        context_embedding: keras.layers.Layer | None = None,
        dtype: str | keras.DTypePolicy | None = None,
        **kwargs: Any,
    ):
        policy = keras.dtype_policies.get(dtype)
        map = elementwise_map(output, components, bits)
        checks.flag(fourier_features, "fourier_features")
        network = MaskedConvNetwork(
            event_shape,
            map.parameters,
            width,
            blocks,
            head,
            first,
            bound=1.01,  # beyond all levels: at its ends the gradient of a clip is not defined
            context_size=checks.context_size(context_shape, context_embedding),
            fourier_bits=bits if fourier_features else None,
            dtype=policy,
        )
        super().__init__(map, network, bits, context_shape, context_embedding, policy, **kwargs)


@keras.saving.register_keras_serializable("keras_flows")
class PixelCNNPlusPlus(_PixelFlow):
    """PixelCNN++: two streams of gated convolutions at several resolutions, exact probabilities.

    One `Autoregressive` step with a `StreamNetwork`, on a logistic base. `output` is `"mixture"`,
    one discretized mixture of logistics for all colours of a pixel, or, of grey images,
    `"categorical"`, the probabilities of the levels. log_prob is exact, and that of integers.
    Sampling is that of `PixelCNN`. The defaults are the published network on CIFAR-10, without its
    dropout. Half the resolution costs a quarter of the time: on small machines most channels belong
    there.

    Source: Salimans et al. 2017, *PixelCNN++*.

    >>> flow = kf.models.PixelCNNPlusPlus((28, 28, 1), width=(16, 32, 32), blocks=2)

    Args:
        event_shape: `(height, width, channels)`, the sides divisible by 4 for three resolutions.
        width: See `keras_flows.layers.StreamNetwork`.
        blocks: See there.
        scales: See there.
        output: See above.
        components: Of the mixtures, 10 by default.
        bits: Number of bits of an integer.
        fourier_features: Whether the network sees, beside every integer, its Fourier features.
        context_shape: See `Flow`.
        context_embedding: See `Flow`.
        dtype: `"float32"` or `"float64"`.
        **kwargs: `seed` and `name`; see `Flow`.

    Raises:
        ValueError: If an argument is out of its range.
    """

    @recorded
    def __init__(
        self,
        event_shape: tuple[int, ...],
        width: int | Sequence[int] = 160,
        blocks: int = 5,
        scales: int = 3,
        output: str = "mixture",
        components: int | None = None,
        bits: int = 8,
        fourier_features: bool = False,
        context_shape: tuple[int, ...] | None = None,
        context_embedding: keras.layers.Layer | None = None,
        dtype: str | keras.DTypePolicy | None = None,
        **kwargs: Any,
    ):
        policy = keras.dtype_policies.get(dtype)
        map = elementwise_map(output, components, bits)
        event_shape = checks.event_shape(event_shape)
        grey = event_shape[-1] == 1
        if output not in ("mixture", *(("categorical",) if grey else ())):
            raise ValueError(
                "output must be 'mixture', or, of images with one channel, 'categorical'; got "
                f"{output!r} for an image {event_shape}."
            )
        network = StreamNetwork(
            event_shape,
            map.parameters,
            width,
            blocks,
            scales,
            bits,
            context_size=checks.context_size(context_shape, context_embedding),
            fourier_features=fourier_features,
            dtype=policy,
        )
        super().__init__(map, network, bits, context_shape, context_embedding, policy, **kwargs)
