"""A table of PostgreSQL into Parquet in S3 by dlt, with pyarrow between: load.py TABLE"""

import os
import sys

import dlt
from dlt.destinations import filesystem
from dlt.sources.sql_database import sql_table

schema, table = sys.argv[1].split(".")
rows = sql_table(credentials=os.environ["PEER_DSN"], schema=schema, table=table, backend="pyarrow",
                 chunk_size=50_000, reflection_level="full_with_precision")
pipeline = dlt.pipeline(
    pipeline_name="peer", pipelines_dir=os.environ["PEER_DIR"], dataset_name="dlt",
    destination=filesystem(bucket_url=os.environ["PEER_BUCKET"], credentials={
        "aws_access_key_id": os.environ["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": os.environ["AWS_SECRET_ACCESS_KEY"],
        "endpoint_url": os.environ["PEER_ENDPOINT"], "region_name": "us-east-1"}))
info = pipeline.run(rows, write_disposition="replace", loader_file_format="parquet")
info.raise_on_failed_jobs()
print(sum(pipeline.last_trace.last_normalize_info.row_counts.get(name, 0)
          for name in pipeline.last_trace.last_normalize_info.row_counts if name == table))
