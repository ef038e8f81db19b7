"""Where values live between steps: Parquet tables, safetensors, and DuckDB views over them."""
