"""Turns what the ledger folds to into files: CSV, JSON lines, Parquet, a page, a summary, a manifest.

Import the modules, not the package: each pulls in only the libraries that it needs.
"""
