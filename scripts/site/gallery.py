"""The gallery inside the site, where one was written; its page says how to have it."""

import shutil
from pathlib import Path

_MARK = "<!-- the gallery -->"
_THERE = """<a class="md-button md-button--primary" href="app/">Open it on a page of its own</a>

<iframe class="gallery" src="app/index.html" title="The gallery" loading="lazy"></iframe>
"""
_MISSING = """!!! note "This site was built without it"

    The exports take minutes to write, and are not kept in the repository. `keras-flows gallery
    {folder}` writes them, and the next build of this site has them here.
"""


def _folder(config):
    """Where the gallery is looked for: `extra.gallery`, from the repository."""
    return Path(config.config_file_path).parent / config.extra["gallery"]


def _is_there(config):
    return (_folder(config) / "index.html").is_file()


def on_page_markdown(markdown, page, config, files):
    """Shows the gallery, or says how to have it."""
    if page.file.src_uri != "gallery.md":
        return markdown
    shown = _THERE if _is_there(config) else _MISSING.format(folder=config.extra["gallery"])
    return markdown.replace(_MARK, shown)


def on_post_build(config):
    """Copies it, as it is."""
    if _is_there(config):
        shutil.copytree(
            _folder(config), Path(config.site_dir) / "gallery" / "app", dirs_exist_ok=True
        )
