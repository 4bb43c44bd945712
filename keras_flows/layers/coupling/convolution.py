"""Convolutions as the networks inside couplings use them."""

import keras


def convolution(
    filters: int,
    size: int,
    dtype: str | keras.DTypePolicy,
    zeros: bool = False,
    bias: bool = True,
    strides: int = 1,
) -> keras.layers.Conv2D:
    """A convolution that keeps the height and width of an image, or divides them by a stride.

    Its weights start uniform in `±1 / sqrt(inputs)`, inputs being the numbers that one output is
    made of, and its biases at zero.

    Args:
        filters: Channels of the output.
        size: Side of the kernel.
        dtype: Dtype policy.
        zeros: Whether the weights start at zero.
        bias: Whether there is a bias.
        strides: Step between the places of the kernel.

    Returns:
        A `keras.layers.Conv2D`.
    """
    uniform = keras.initializers.VarianceScaling(1.0 / 3.0, "fan_in", "uniform")
    return keras.layers.Conv2D(
        filters,
        size,
        strides,
        padding="same",
        use_bias=bias,
        kernel_initializer="zeros" if zeros else uniform,
        dtype=dtype,
    )
