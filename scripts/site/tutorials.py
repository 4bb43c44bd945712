"""Pages of what scripts/run_tutorials.py executed.

The source of a page is a script of cells, docs/…/NAME.py. What it gave stands beside it as
NAME.ipynb: that becomes the page, and is its download.
"""

import posixpath

import nbformat
from mkdocs.structure.files import File
from nbconvert import MarkdownExporter
from nbconvert.filters import strip_ansi
from nbconvert.preprocessors import CoalesceStreamsPreprocessor

_TEMPLATE = """
{%- extends 'markdown/index.md.j2' -%}
{%- block input -%}
{{ cell.source | as_code }}
{%- endblock input -%}
{%- block stream -%}
{{ output.text | as_output }}
{%- endblock stream -%}
{%- block data_text -%}
{{ output.data['text/plain'] | as_output }}
{%- endblock data_text -%}
{%- block data_png -%}
![{{ cell.metadata['alt'] }}]({{ output.metadata.filenames['image/png'] | path2url }})
{%- endblock data_png -%}
"""
_DOWNLOADS = """
[:material-download: Notebook]({name}.ipynb){{ .md-button download="{name}.ipynb" }}
[:material-download: Script]({name}.py){{ .md-button download="{name}.py" }}
{{ .downloads }}
"""


def on_files(files, config):
    """Adds the page and the pictures of every notebook."""
    exporter = MarkdownExporter(raw_template=_TEMPLATE, filters=_FILTERS)
    exporter.register_preprocessor(CoalesceStreamsPreprocessor, enabled=True)
    for file in [file for file in files if file.src_uri.endswith(".ipynb")]:
        page = file.src_uri.removesuffix(".ipynb")
        folder, name = posixpath.split(page)
        notebook = nbformat.read(file.abs_src_path, as_version=4)
        names = {"output_files_dir": name, "unique_key": "picture"}
        text, resources = exporter.from_notebook_node(notebook, resources=names)
        for path, picture in resources["outputs"].items():
            files.append(File.generated(config, f"{folder}/{path}", content=picture))
        title, _, rest = text.lstrip().partition("\n")
        text = f"{title}\n{_DOWNLOADS.format(name=name)}{rest}\n\n{_colophon(notebook)}"
        files.append(File.generated(config, f"{page}.md", content=text))
    return files


def _as_output(text):
    """What a cell printed, as a block that looks like it."""
    return f"\n```{{ .text .output .no-copy }}\n{strip_ansi(text).rstrip()}\n```\n"


def _as_code(source):
    """A cell as a block, a cell of a shell as one of bash."""
    first, _, rest = source.partition("\n")
    language, source = ("bash", rest) if first == "%%bash" else ("python", source)
    return f"\n```{language}\n{source}\n```\n"


_FILTERS = {"as_code": _as_code, "as_output": _as_output}


def _colophon(notebook):
    """When, with what and how long it ran."""
    run = notebook.metadata["keras_flows"]
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    return (
        f"<small>Executed from its script on {run['date']} in {run['seconds']:.0f} s of processor "
        f"time: {versions}.</small>\n"
    )
