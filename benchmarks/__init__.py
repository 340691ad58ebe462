"""Measured claims, one file each: `python -m benchmarks.map`. See README.md beside this file."""
