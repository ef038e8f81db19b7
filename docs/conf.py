"""The documentation site: `make docs` builds it into docs/_build. Why Sphinx: docs/adr/0015."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent / "_ext"), str(Path(__file__).parents[1])]

project = "repair_pipeline"
html_title = "repair_pipeline"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click", "mathml", "tables"]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown"}
master_doc = "index"

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nitpicky = True
suppress_warnings = ["toc.empty_glob"]

autodoc_typehints = "none"  # the names of torch's and pandas's types have no page here
nitpick_ignore = [("py:exc", "InputError")]

smartquotes = False  # an option is no dash

html_theme = "furo"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_copyright = False
html_copy_source = False
pygments_style = "friendly"
