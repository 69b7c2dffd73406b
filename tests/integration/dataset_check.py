"""Reads a whole folder of weir's as others do, as one data set whose folders are
columns: Arrow's reader (which is pandas' as well), Arrow's data sets and DuckDB.
They must agree on how many rows there are, and no folder may repeat a column.
Prints the number of rows, and the columns that folders make.

  python dataset_check.py FOLDER

The interpreter comes from tests/integration/venv.sh.
"""

import json
import sys

import duckdb
import pyarrow.dataset as ds
import pyarrow.parquet as pq


def main():
    folder = sys.argv[1]
    table = pq.read_table(folder)
    data = ds.dataset(folder, format="parquet", partitioning="hive")
    own = set(pq.ParquetFile(data.files[0]).schema_arrow.names)
    made = [name for name in table.column_names if name not in own]
    pattern = folder + "/date=*/**/*.parquet"
    rows = duckdb.sql(f"select count(*) from read_parquet('{pattern}', hive_partitioning = true)").fetchone()[0]
    if not (table.num_rows == data.count_rows() == rows):
        sys.exit(f"Arrow reads {table.num_rows} rows, its data set {data.count_rows()}, DuckDB {rows}")
    per_folder = {}
    for name in made[1:]:
        for value in set(table.column(name).to_pylist()):
            per_folder[f"{name}={value}"] = data.count_rows(filter=ds.field(name) == value)
    print(json.dumps({"rows": rows, "made": made, "per_folder": per_folder}))


if __name__ == "__main__":
    main()
