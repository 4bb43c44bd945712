"""What both examples share: an exported folder and a file of rows, with NumPy alone."""

import argparse
import contextlib
import csv
import hashlib
import json
import sys
from pathlib import Path

import numpy as np

FORMAT = 3  # the newest manifest that this reads
BATCH = 1024


def arguments(description):
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder that keras-flows exported")
    parser.add_argument("rows", type=Path, help="the examples: .csv, or .npy of any shape")
    parser.add_argument("--context", type=Path, help="their contexts, in the same order")
    parser.add_argument(
        "--draws", type=int, help="mean and standard error over draws of the noise, 2 or more"
    )
    parser.add_argument("--seed", type=int, default=0, help="of these draws, 0 or more")
    given = parser.parse_args()
    if given.draws is not None and given.draws < 2:
        parser.error(f"--draws must be 2 or more; got {given.draws}.")
    if given.seed < 0:
        parser.error(f"--seed must be 0 or more; got {given.seed}.")
    return given


@contextlib.contextmanager
def plain_errors():
    """Ends the program with the message of an error in what it was given, without a traceback."""
    try:
        yield
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")


def read_manifest(folder, place, kind):
    """The manifest of an export, whose files all have the SHA-256 that it records.

    Args:
        folder: The exported folder.
        place: Where in it the manifest is.
        kind: `"onnx"` or `"saved_model"`.

    Raises:
        ValueError: If there is none of this kind, or a file is missing or differs.
    """
    path = folder / place / "manifest.json"
    if not path.is_file():
        raise ValueError(f"{folder} is no {kind} export: there is no {path}.")
    manifest = json.loads(path.read_text(encoding="utf-8"))
    if manifest["format"] > FORMAT or manifest["kind"] != kind:
        raise ValueError(
            f"{path} is of kind {manifest['kind']} and format {manifest['format']}; this reads "
            f"{kind} up to format {FORMAT}."
        )
    for name, expected in manifest["files"].items():
        file = folder / name
        if not file.is_file():
            raise ValueError(f"{folder} is not as it was exported: {name} is missing.")
        with open(file, "rb") as content:
            found = hashlib.file_digest(content, "sha256").hexdigest()
        if found != expected:
            raise ValueError(
                f"{folder} is not as it was exported: {name} has SHA-256 {found}, expected "
                f"{expected}."
            )
    return manifest


def score(manifest, run, given):
    """Prints what there is of every row as CSV, and says on standard error what the numbers are.

    That is log_prob; of a calibrated flow its p-value and flag, too.

    Args:
        manifest: See `read_manifest`.
        run: From the name of a graph and a dictionary of arrays to one of the arrays it makes.
        given: See `arguments`.

    Raises:
        ValueError: If the rows, their contexts or the draws are not what the graph takes.
    """
    graph, size = _choose(manifest, given.draws)
    tensors = {tensor["name"]: tensor for tensor in manifest["graphs"][graph]["inputs"]}
    columns = manifest.get("columns")
    inputs = {"x": _read(given.rows, tensors["x"], manifest["integers"], columns)}
    if "context" in tensors:
        if given.context is None:
            raise ValueError("This flow is conditional: give --context, one for every row.")
        kind = tensors["context"]["dtype"]
        inputs["context"] = _read(given.context, tensors["context"], kind.startswith("int"))
        if len(inputs["context"]) != len(inputs["x"]):
            raise ValueError(
                f"{given.context} has {len(inputs['context'])} contexts for {len(inputs['x'])} "
                "rows; give one for every row."
            )
    elif given.context is not None:
        raise ValueError("This flow is not conditional: leave --context out.")

    def all_rows(rng=None):
        parts = []
        for start in range(0, len(inputs["x"]), BATCH):
            batch = {name: array[start : start + BATCH] for name, array in inputs.items()}
            if rng is not None:
                noise = rng.standard_normal((len(batch["x"]), size))
                batch["noise"] = noise.astype(tensors["noise"]["dtype"])
            parts.append(run(graph, batch))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    if given.draws is None:
        made = all_rows()
    else:
        rng = np.random.default_rng(given.seed)
        draws = np.stack([all_rows(rng)["log_prob"] for _ in range(given.draws)]).astype("float64")
        error = draws.std(axis=0, ddof=1) / np.sqrt(given.draws)
        made = {"log_prob": draws.mean(axis=0), "standard_error": error}
    names = [name for name in ("log_prob", "standard_error", "p_value", "flag") if name in made]
    rows = np.stack([made[name] for name in names], axis=1)
    if np.isnan(rows).any():
        bad = np.flatnonzero(np.isnan(rows).any(axis=1))
        raise ValueError(f"log_prob of {len(bad)} rows is NaN, the first of them row {bad[0]}.")
    flags = ""
    if "flag" in made:
        flags = f" flag: p_value at most {manifest['alpha']:.3g}."
    print(
        f"{graph} of {manifest['source']} in nats, {manifest['likelihood']}."
        f"{flags} {manifest['note'] or ''}".rstrip(),
        file=sys.stderr,
    )
    digits = np.finfo(tensors["x"]["dtype"]).precision + 3  # enough to read the same number back
    np.savetxt(sys.stdout, rows, f"%.{digits}g", ",", header=",".join(names), comments="")


def _choose(manifest, draws):
    """The graph to use, and how many numbers of noise a row needs."""
    noise = [t for t in manifest["graphs"]["log_prob"]["inputs"] if t["name"] == "noise"]
    if draws is not None and not noise:
        raise ValueError("log_prob of this flow takes no noise: leave --draws out.")
    if draws is None and "score" in manifest["graphs"]:
        return "score", 0
    if not noise or draws is not None:
        return "log_prob", noise[0]["shape"][1] if noise else 0
    if "log_prob_fixed" not in manifest["graphs"]:
        raise ValueError("This export has no log_prob_fixed: give --draws, or export it again.")
    return "log_prob_fixed", 0


def _read(path, tensor, integers, columns=None):
    """The rows of a file as an array `(rows, *shape)` of an input.

    A row of a CSV file has the elements of one example in C order; a first line that is no numbers
    is taken for names. Where the columns have names, those of a CSV are put in their order.
    """
    shape, numbers = tuple(tensor["shape"][1:]), int(np.prod(tensor["shape"][1:]))
    if path.suffix == ".npy":
        array = np.load(path, allow_pickle=False)
    elif path.suffix == ".csv":
        with open(path, encoding="utf-8", newline="") as file:
            first = next(csv.reader(file), [])
        skip = 0 if _are_numbers(first) else 1
        chosen = _in_order(path, first, columns) if skip and columns else None
        array = np.loadtxt(
            path, delimiter=",", quotechar='"', skiprows=skip, usecols=chosen, ndmin=2
        )
        if array.shape[1] == numbers:
            array = array.reshape(-1, *shape)
    else:
        raise ValueError(f"{path} must be a .csv or a .npy file.")
    if array.shape[1:] != shape or not len(array) or array.dtype.kind not in "iufb":
        columns = f"; in a .csv, {numbers} columns" if path.suffix == ".csv" else ""
        raise ValueError(
            f"{path} holds {array.dtype} {array.shape}; {tensor['name']} must be numbers of shape "
            f"({', '.join(map(str, ('rows', *shape)))}), at least one row{columns}."
        )
    if integers and np.any(array != np.floor(array)):
        raise ValueError(f"{path}: {tensor['name']} must be integers.")
    with np.errstate(over="ignore"):
        cast = array.astype(tensor["dtype"])
    if not np.isfinite(cast).all():
        row = np.argwhere(~np.isfinite(cast))[0][0]
        raise ValueError(f"{path}: row {row} has an element that is not finite.")
    return cast


def _in_order(path, header, columns):
    """The places in a file of the columns of the flow, in its order; those of the context pass."""
    wanted = [column["name"] for column in columns if not column["context"]]
    known = {column["name"] for column in columns}
    missing = [name for name in wanted if name not in header]
    unknown = [name for name in header if name not in known]
    if missing or unknown:
        raise ValueError(
            f"{path} must have the columns {', '.join(wanted)}; missing: "
            f"{', '.join(missing) or 'none'}, unknown: {', '.join(unknown) or 'none'}."
        )
    return [header.index(name) for name in wanted]


def _are_numbers(cells):
    try:
        [float(cell) for cell in cells]
    except ValueError:
        return False
    return True
