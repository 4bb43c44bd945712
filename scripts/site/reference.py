"""The API reference: a page for every section of docs/api.md, from the docstrings.

docs/api.md is the one list of what is public; tests/test_api.py keeps it complete. On all pages,
`kf.name` in code links to its entry.
"""

import inspect
import os
import re

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is imported

from mkdocs.structure.files import File

import keras_flows as kf

_SECTION = re.compile(r"^(#{2,3}) (.+)\n", re.M)
_ROW = re.compile(r"^\| `kf\.([\w.]+)` \| (\S.*) \|$", re.M)
_NAME = re.compile(r"(?<![\[`])`kf\.([\w.]+)(\([^`]*\))?`(?![`\]])")
_names = {}  # by public name, what mkdocstrings calls it


def on_files(files, config):
    """Adds the pages, and puts them below the overview in the navigation."""
    text = files.get_file_from_path("api.md").content_string
    _names.clear()
    pages = list(_pages(text))
    for slug, _, content in pages:
        files.append(File.generated(config, f"api/{slug}.md", content=content))
    for item in config.nav:
        if item == {"API": "api.md"}:
            item["API"] = ["api.md", *({title: f"api/{slug}.md"} for slug, title, _ in pages)]
    return files


def on_page_markdown(markdown, page, config, files):
    """Links the public names, outside of headings and of blocks of code."""
    lines, fenced = [], False
    for line in markdown.split("\n"):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        if not (fenced or line.startswith(("#", "    "))):
            line = _NAME.sub(_link, line)
        lines.append(line)
    return "\n".join(lines)


def _link(match):
    name = match.group(1)
    return f"[{match.group()}][{_names[name]}]" if name in _names else match.group()


def _pages(text):
    """The sections of the list as `(slug, title, Markdown)`."""
    parts = _SECTION.split(text)[1:]
    for title, body in zip(parts[1::3], parts[2::3], strict=True):
        rows = _ROW.findall(body)
        if not rows:
            continue
        packages = re.findall(r"`kf\.(\w+)`", title)
        slug = packages[-1] if packages else title.split()[-1].lower()
        intro = body.partition("\n|")[0].strip().replace("](", "](../")
        names = [name for name, _ in rows]
        members = [name.removeprefix("Flow.") for name in names if name.startswith("Flow.")]
        shown = [_entry(name, members) for name in names]
        plain = title.partition(":")[0].replace("`", "")
        content = [f"# {title}", intro, *(entry for entry in shown if entry)]
        yield slug, plain, "\n\n".join(part for part in content if part) + "\n"


def _entry(name, members):
    """What mkdocstrings is told of a name; None where its entry is there already.

    `members` are the listed ones of `Flow`, some of them inherited.
    """
    if name.startswith("Flow."):  # a member, shown with its class
        _names[name] = f"{_names['Flow']}.{name.removeprefix('Flow.')}"
        return None
    thing = kf
    for part in name.split("."):
        thing = getattr(thing, part)
    defined = inspect.isclass(thing) or inspect.isfunction(thing)
    identifier = f"{thing.__module__}.{thing.__qualname__}" if defined else f"keras_flows.{name}"
    known = identifier in _names.values()
    _names[name] = identifier
    if known:
        return None
    options = {"heading": f"kf.{name}", "toc_label": name.rpartition(".")[2]}
    if name == "Flow":
        options |= {"members": members, "inherited_members": members}
    lines = "\n".join(f"        {key}: {value}" for key, value in options.items())
    return f"::: {identifier}\n    options:\n{lines}"
