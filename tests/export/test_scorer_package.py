"""keras-flows-scorer is keras-flows with fewer dependencies, within the same bounds."""

import re
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def described(folder):
    return tomllib.loads((REPOSITORY / folder / "pyproject.toml").read_text(encoding="utf-8"))


def bounds(requirements):
    """The bounds of requirements, by name."""
    split = (re.fullmatch(r"([\w.-]+(?:\[\w+\])?)(.*?)(;.*)?", one) for one in requirements)
    return {match[1].lower(): match[2] for match in split}


def test_its_bounds_are_those_of_keras_flows():
    whole, small = described("."), described("export/scorer")
    extras = whole["project"]["optional-dependencies"]
    known = bounds([*whole["project"]["dependencies"], *extras["export"], *extras["data"]])
    own = bounds(small["project"]["dependencies"])
    # The other bound is TensorFlow Probability's.
    assert known.pop("numpy").startswith(own.pop("numpy"))
    assert {name: known.get(name) for name in own} == own
    assert not [name for name in own if "tensor" in name or "keras" in name]
    for name in ("ray", "beam"):
        assert small["project"]["optional-dependencies"][name] == extras[name]
    assert small["project"]["requires-python"] == whole["project"]["requires-python"]
    assert small["project"]["scripts"] == whole["project"]["scripts"]


def test_its_wheel_is_the_package():
    """The paths that it is built from lead to the package, and nothing else."""
    build = described("export/scorer")["tool"]["hatch"]
    included = build["build"]["targets"]["wheel"]["force-include"]
    here = REPOSITORY / "export" / "scorer"
    assert {(here / path).resolve(): name for path, name in included.items()} == {
        REPOSITORY / "keras_flows": "keras_flows"
    }
    assert (here / build["version"]["path"]).resolve() == REPOSITORY / "keras_flows" / "__init__.py"
