"""Maps of the columns of a table to the whole real line or to a circle, one file each."""

from keras_flows.transforms.columns.base import ColumnMap as ColumnMap
from keras_flows.transforms.columns.base import RealColumn as RealColumn
from keras_flows.transforms.columns.circle import CircleColumn as CircleColumn
from keras_flows.transforms.columns.integer import IntegerColumn as IntegerColumn
from keras_flows.transforms.columns.interval import IntervalColumn as IntervalColumn
from keras_flows.transforms.columns.periodic import PeriodicColumn as PeriodicColumn
from keras_flows.transforms.columns.positive import PositiveColumn as PositiveColumn
from keras_flows.transforms.columns.positive import SoftplusColumn as SoftplusColumn
