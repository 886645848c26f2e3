"""Rows as pictures: SVG that reads in light and dark, without scripts or fonts of its own."""
