"""Turns what the ledger folds to into files for people and machines: CSV, JSON lines, Parquet, a page, a summary.

Import the modules, not the package: each pulls in only the libraries that it needs.
"""
