"""A template for the page of ``dvc plots`` that needs no network.

DVC's own loads Vega, which draws the curves, from a server.
``python -m fishseg.plots.dvc_page FILE``
writes a template that holds it; ``dvc plots show --html-template FILE`` takes that, or always
after ``dvc config --local plots.html_template FILE``. `make setup` does both.
"""

from __future__ import annotations

import sys
from pathlib import Path

import vl_convert

# The release that the specifications of DVC's plots are written for.
VEGA_LITE = "5.20"

# DVC puts its plots where {plot_divs} stands. Its {scripts} would be those from the server.
TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width">
  {refresh_tag}
  <title>fishseg: plots</title>
  <style>
    body { font: 16px/1.4 system-ui, sans-serif; margin: 1.5rem; }
    /* Two revisions fit side by side; a group of pictures scrolls by itself, so that the page
       stays short. DVC styles each group in its own attribute, which only !important overrides. */
    img { max-width: 44vw; height: auto; }
    div[style*="white-space"] { max-height: 90vh; overflow: auto !important; }
    table { border-spacing: 1rem; }
  </style>
  <script>SCRIPT</script>
</head>
<body>
{plot_divs}
</body>
</html>
"""


def template() -> str:
    """The page with Vega, Vega-Lite and Vega-Embed inside."""
    script = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", VEGA_LITE)
    return TEMPLATE.replace("SCRIPT", script)


def main() -> None:
    """Write the template to the file that the first argument names."""
    Path(sys.argv[1]).write_text(template(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
