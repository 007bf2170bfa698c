"""What was done, kept: rows in Parquet shards, committed once, and what runs a stage over them."""
