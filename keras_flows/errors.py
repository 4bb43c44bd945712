"""The errors of this library that are not plain mistakes in an argument."""


class LipschitzError(ValueError):
    """A residual block whose Lipschitz bound is not below one: it may not be invertible."""


class ConvergenceError(ArithmeticError):
    """A fixed-point inverse that did not reach its tolerance."""


class NonFiniteError(ArithmeticError):
    """A NaN or infinity where a number is needed; the message names the part it came from."""
