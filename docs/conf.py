"""The documentation as a site: `make docs`.

Pages are read where they lie, in the whole repository, so a link works on a forge as it does here.
Sphinx checks every link to a page, a heading or a file; nothing is asked of a network.
"""

project = "Étude"
author = "Étude contributors"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
root_doc = "docs/index"
include_patterns = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "config/README.md",
    "models/**README.md",
    "docs/**",
]
exclude_patterns = [".*", "**/.*", "results", "site", "tests", "benchmarks/results"]
myst_heading_anchors = 4  # as a forge makes them
myst_links_external_new_tab = False
nitpicky = True

html_theme = "furo"
html_title = "Étude"
html_show_copyright = False
html_copy_source = False
templates_path = ["_templates"]
html_additional_pages = {"index": "redirect.html"}  # the root of the site is not where pages lie
