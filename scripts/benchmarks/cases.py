"""What is measured: the sections, and the cases of each.

A case is what its worker is given (see ours.py), and two numbers of the command: `times`, the calls
of every function in a turn, and `rounds`, the turns.
"""

TOY = "idensenet_lc_two_moons"
IMAGE = "idensenet_lc_mnist"


def _train(title, flow, batch, times=5, rounds=3, **more):
    case = {"kind": "training", "title": title, "flow": flow, "batch": batch}
    return {**case, "times": times, "rounds": rounds, **more}


START = {
    "import keras": ["-c", "import keras"],
    "import keras_flows": ["-c", "import keras_flows"],
    "keras-flows --help": ["-m", "keras_flows", "--help"],
    "keras-flows list": ["-m", "keras_flows", "list"],
    "keras-flows show": ["-m", "keras_flows", "show", TOY],
    "scripts/quickstart.py": ["scripts/quickstart.py"],
}
STARTS = 3  # of each, in turns

TRAINING = {
    "toy": _train(f"`{TOY}`, 500 points", TOY, 500),
    "toy, XLA": _train(f"`{TOY}`, 500 points, XLA", TOY, 500, 10, jit_compile=True),
    "columns": _train(
        "exact `IDenseNet` on 30 columns, 200 rows",
        ["IDenseNet", {"event_shape": [30], "log_det": "exact"}],
        200,
    ),
    "spline": _train(
        "`SplineFlow` on 30 columns, 200 rows", ["SplineFlow", {"event_shape": [30]}], 200
    ),
    "denseflow": _train("`denseflow_mnist`, 32 images", "denseflow_mnist", 32, 3),
    "image": _train(f"`{IMAGE}`, 64 images", IMAGE, 64, 5, 4),
}


def _calls(flow, batches, times, rounds):
    case = {"kind": "calls", "flow": flow, "batches": batches}
    return {**case, "times": times, "rounds": rounds}


CALLS = {
    TOY: _calls(TOY, [1, 32, 1024], 3, 2),
    "spline_magic": _calls("spline_magic", [1, 32, 1024], 3, 2),
    IMAGE: _calls(IMAGE, [1, 32], 2, 2),
}

ZOO = {
    name: {
        "kind": "zoo",
        "flow": name,
        "warm": "idensenet_lc_digits" if "spline" in name else "spline_iris",
        "times": {"load": 5, "export": 1},
        "rounds": 1,
    }
    for name in (TOY, "residual_flow_two_moons", "spline_letters", IMAGE, "denseflow_mnist")
}

SAMPLING = {
    TOY: {"kind": "sampling", "flow": TOY, "batch": 10_000, "times": 1, "rounds": 3},
    IMAGE: {"kind": "sampling", "flow": IMAGE, "batch": 64, "times": 1, "rounds": 3},
}

# Of growth: kinds of flows, each with one thing that grows, and the others as they are at the
# middle: 8 columns, one block or two couplings, 256 rows.
_BASE = {"columns": 8, "depth": 1, "batch": 256}
GROWING = {
    "columns": {"exact": (2, 4, 8, 16, 32), "unbiased": (2, 8, 32, 64), "coupling": (2, 8, 32, 64)},
    "depth": {"exact": (1, 2, 4), "unbiased": (1, 2, 4), "coupling": (1, 2, 4)},
    "batch": dict.fromkeys(("exact", "unbiased", "coupling"), (64, 256, 1024)),
    "side": {"unbiased": (8, 16, 32), "coupling": (8, 16, 32)},
}


def _growing(kind, what, value):
    """The flow of one kind where one thing has a value, and the size of its batch."""
    at = {**_BASE, what: value}
    if what == "side":
        shape, at["batch"] = [value, value, 1], 16
        if kind == "coupling":
            return ["Glow", {"event_shape": shape, "levels": 2, "steps": 2, "width": 32}], 16
        small = {"blocks": [1, 1], "depth": 2, "growth": 16, "activation": "lipswish"}
        flow = {**small, "event_shape": shape, "fully_connected": {"blocks": 0, "size": 32}}
        return ["IDenseNet", flow], 16
    shape = [at["columns"]]
    if kind == "coupling":
        return ["RealNVP", {"event_shape": shape, "layers": 2 * at["depth"]}], at["batch"]
    sizes = {"blocks": at["depth"], "depth": 3, "growth": 64}
    return ["IDenseNet", {"event_shape": shape, "log_det": kind, **sizes}], at["batch"]


def _growth():
    cases = {}
    for what, kinds in GROWING.items():
        for kind, values in kinds.items():
            for value in values:
                flow, batch = _growing(kind, what, value)
                # One process serves wherever the case is the same.
                cases[f"{kind}, {what} {value}"] = _train("", flow, batch, 5, 2)
    return cases


GROWTH = _growth()


def _compare(title, batch, times=10, rounds=4, **more):
    return {"kind": "compared", "title": title, "batch": batch, "times": times, "rounds": rounds}


COMPARE = {
    "residual": _compare("Residual Flow, 10 blocks of 4 × 128, exact, 2 columns", 500, 5),
    "residual, unbiased": _compare("the same, unbiased, 16 columns", 500, 5),
    "realnvp": _compare("Real NVP, 8 couplings, residual networks of 2 × 64", 500),
    "spline": _compare("neural spline couplings, 6, 8 bins", 500),
    "maf": _compare("MAF, 5 steps, 2 × 64", 500),
    "glow": _compare("Glow, 2 levels of 4 steps, width 64, 16×16×3", 32, 3),
}
COMPARE = {name: {**case, "pair": name} for name, case in COMPARE.items()}

SECTIONS = {
    "start": START,
    "training": TRAINING,
    "calls": CALLS,
    "zoo": ZOO,
    "sampling": SAMPLING,
    "growth": GROWTH,
    "compare": COMPARE,
}
# Whose cases are run on another commit too.
AGAINST = ("start", "training", "sampling")
