"""Docstrings as Markdown: examples become blocks of code, and names of the package links."""

import re

import griffe

_EXAMPLE = re.compile(r"^(?P<indent> *)>>> .*(?:\n(?P=indent)(?:>>>|\.\.\.) .*)*", re.M)
_NAME = re.compile(r"`keras_flows\.([\w.]+)`")


class Docstrings(griffe.Extension):
    """Rewrites every docstring of a package once it is read."""

    def on_package(self, *, pkg, loader, **kwargs):
        """Goes through all modules, classes and functions."""
        self._rewrite(pkg, pkg)

    def _rewrite(self, thing, package):
        if thing.docstring is not None:
            value = _EXAMPLE.sub(_fenced, thing.docstring.value)
            thing.docstring.value = _NAME.sub(lambda match: _link(match, package), value)
        for member in thing.members.values():
            if not member.is_alias:
                self._rewrite(member, package)


def _fenced(match):
    """An example in a block of its own, without the prompts, which nobody wants to copy."""
    indent = match["indent"]
    code = "\n".join(
        line.replace(">>> ", "", 1).replace("... ", "", 1) for line in match[0].split("\n")
    )
    return f"{indent}```python\n{code}\n{indent}```"


def _link(match, package):
    """A link to where the name is defined; none where it is not in the reference."""
    thing = package
    for part in match[1].split("."):
        if part not in thing.members:
            return match[0]
        thing = thing.members[part]
        try:
            thing = thing.final_target if thing.is_alias else thing
        except griffe.AliasResolutionError:
            return match[0]
    return f'<autoref optional identifier="{thing.canonical_path}">{match[0]}</autoref>'
