"""The verbs that copy topics to Parquet files and back: record, replay."""
