"""``python -m fishseg``: the same as the command ``fishseg``."""

from fishseg.cli import main

main()
