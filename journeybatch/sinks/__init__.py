"""Where results go besides Parquet in the output directory."""
