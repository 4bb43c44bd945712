"""Which numbers of an event pass through a coupling, one file each."""

from keras_flows.transforms.masks.base import Mask as Mask
from keras_flows.transforms.masks.checkerboard import Checkerboard as Checkerboard
from keras_flows.transforms.masks.columns import AlternateColumns as AlternateColumns
from keras_flows.transforms.masks.features import FeatureMask as FeatureMask
from keras_flows.transforms.masks.halves import ChannelHalves as ChannelHalves
from keras_flows.transforms.masks.tokens import HalfTheTokens as HalfTheTokens
