"""How many parameters the published configurations of the families on images have."""

import math

import pytest

import keras_flows as kf

# Of Real NVP, Flow++, VFlow and PixelCNN++ those of the published code; Glow there has 82,944 more,
# of a convolution that sees zeros only, and i-ResNet a trained deviation for every latent number.
SIZES = {
    "realnvp_cifar10": 19_631_589,
    "pixelcnn_cifar10": 3_537_408,
    "pixelcnnpp_cifar10": 53_659_080,
    "flowpp_cifar10": 31_443_440,
    "vflow_cifar10": 39_700_096,
    "iresnet_cifar10": 15_729_654,
    "glow_cifar10": 44_520_660,
    "survae_cifar10": 105_044_544,
}


def count(flow):
    return sum(math.prod(weight.shape) for weight in flow.trainable_weights)


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
def test_published_configurations(name):
    assert count(kf.models.from_name(name)) == SIZES[name]


@pytest.mark.slow
def test_the_published_tarflow():
    # Equal layers in equal blocks; the whole would take gigabytes.
    one, two = (count(kf.models.TarFlow((64, 64, 3), blocks=1, layers=n)) for n in (1, 2))
    assert 8 * (one + 7 * (two - one)) == 460_142_784
