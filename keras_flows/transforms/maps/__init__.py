"""Elementwise maps of couplings and autoregressive steps, one file each."""

from keras_flows.transforms.maps.affine import AffineMap as AffineMap
from keras_flows.transforms.maps.base import ElementwiseMap as ElementwiseMap
from keras_flows.transforms.maps.discrete import CategoricalMap as CategoricalMap
from keras_flows.transforms.maps.discrete import DiscreteMap as DiscreteMap
from keras_flows.transforms.maps.discrete import DiscretizedMixtureMap as DiscretizedMixtureMap
from keras_flows.transforms.maps.features import FeatureMaps as FeatureMaps
from keras_flows.transforms.maps.mixture import (
    AffineLogisticMixtureMap as AffineLogisticMixtureMap,
)
from keras_flows.transforms.maps.mixture import (
    CensoredLogisticMixtureMap as CensoredLogisticMixtureMap,
)
from keras_flows.transforms.maps.mixture import LogisticMixtureMap as LogisticMixtureMap
from keras_flows.transforms.maps.normal import NormalMap as NormalMap
from keras_flows.transforms.maps.normal import SigmoidMap as SigmoidMap
from keras_flows.transforms.maps.normal import SigmoidScaleMap as SigmoidScaleMap
from keras_flows.transforms.maps.spline import BoundedSplineMap as BoundedSplineMap
from keras_flows.transforms.maps.spline import PeriodicSplineMap as PeriodicSplineMap
from keras_flows.transforms.maps.spline import SplineMap as SplineMap
