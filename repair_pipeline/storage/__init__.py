"""Storage of values between steps: Parquet tables, safetensors files, and DuckDB views over the tables."""
