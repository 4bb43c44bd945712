"""The errors of this library that are not plain mistakes in an argument."""


class LipschitzError(ValueError):
    """A residual block whose Lipschitz bound is not below one: it may not be invertible."""


class ConvergenceError(ArithmeticError):
    """A fixed-point inverse that did not reach its tolerance."""


class NonFiniteError(ArithmeticError):
    """A NaN or infinity where a number is needed; the message names the part it came from."""


class PresetError(ValueError):
    """A preset that cannot be found, or whose files are not what its metadata says."""


class StreamError(ValueError):
    """A folder of scores that is of another run, incomplete, or was changed."""


class ExportError(ValueError):
    """An export that has no such form, disagrees with its flow, or was damaged since."""
