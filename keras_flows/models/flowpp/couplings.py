"""The couplings of Flow++, with what stands before each."""

from keras_flows.models.flowpp.network import FlowPlusPlusNetwork
from keras_flows.models.flowpp.steps import PartsConv1x1, PixelNorm
from keras_flows.transforms.coupling import Coupling
from keras_flows.transforms.maps import AffineLogisticMixtureMap


def mixture_couplings(event_shape, masks, sizes, dtype):
    """For every mask an affine map of each number, matrices of both parts, and a coupling.

    Args:
        event_shape: Shape of the images.
        masks: A list of masks, one for each coupling.
        sizes: A dictionary: `width`, `blocks`, `heads` and `context_size` of the networks, and
            the `components` of the mixtures.
        dtype: Dtype policy.

    Returns:
        A list of transforms, three for each mask.
    """
    net = {name: value for name, value in sizes.items() if name != "components"}
    steps = []
    for mask in masks:
        map = AffineLogisticMixtureMap(sizes["components"])
        filters = mask.changed_shape(event_shape)[-1] * map.parameters
        steps += [
            PixelNorm(dtype=dtype),
            PartsConv1x1(mask, dtype=dtype),
            Coupling(mask, FlowPlusPlusNetwork(filters, **net, dtype=dtype), map, dtype=dtype),
        ]
    return steps
