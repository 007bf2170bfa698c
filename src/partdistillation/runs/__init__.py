"""Rows and files of a run: Parquet shards, committed once, and what maps a stage over them."""
