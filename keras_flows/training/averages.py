"""A flow in training, as it is evaluated."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from keras_flows.training import upkeep

if TYPE_CHECKING:
    from keras_flows.flow import Flow


@contextlib.contextmanager
def averaged(flow: "Flow") -> Iterator["Flow"]:
    """The flow as it is evaluated: averaged weights in place, spectral norms converged.

    The averages are those of an optimizer with `use_ema`; with another, the weights are the
    present ones. Afterwards all weights are what they were, to the last bit, so that looking at a
    flow in the middle of its training does not change the training.

    The norms have to be brought to convergence here: those that belong to the present weights do
    not bound the averaged ones.

    Args:
        flow: A compiled `keras_flows.Flow`.

    Yields:
        The flow.
    """
    with upkeep.restored(flow):
        flow.optimizer.finalize_variable_values(flow.trainable_variables)
        upkeep.converge(flow)
        yield flow
