"""How the pages become a site: ``make docs``. The pages are plain Markdown and read as well without it."""

import re
import tomllib
from pathlib import Path

from sphinx.application import Sphinx

project = "chandlery"
release = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]["version"]

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
root_doc = "index"
exclude_patterns = ["images"]

# headings are link targets, as they are where the pages are read as plain Markdown
myst_heading_anchors = 4

html_theme = "furo"
html_title = "chandlery"
html_copy_source = False
html_show_sphinx = False
# the built pages ask nobody for anything: no fonts, no scripts from elsewhere
html_theme_options = {"navigation_with_keys": True}
highlight_language = "none"

_FOLDER = Path(__file__).parent
_LINK = re.compile(r"\[([^\]]*)\]\((\.\./[^)]+)\)")


def name_files_outside(_app: Sphinx, page: str, source: list[str]) -> None:
    """Links out of this folder lead to files of the repository, which the site does not hold: it names them."""

    def named(link: re.Match[str]) -> str:
        target = (_FOLDER / page).parent.joinpath(link[2]).resolve()
        if target.is_relative_to(_FOLDER):
            return link[0]
        path = target.relative_to(_FOLDER.parent)
        return f"`{path}`" if link[1] == str(path) else f"{link[1]} (`{path}`)"

    source[0] = _LINK.sub(named, source[0])
    if page == "decisions/README":  # its list leads to them; the site wants a place for each besides
        source[0] += "\n```{toctree}\n:hidden:\n:glob:\n\n*\n```\n"


def setup(app: Sphinx) -> None:
    """Sphinx calls this."""
    app.connect("source-read", name_files_outside)
