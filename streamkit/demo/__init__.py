"""The demo: `python -m streamkit` serves it, with the public names of the package only."""
