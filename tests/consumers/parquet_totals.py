"""Prints what DuckDB and pyarrow, each by itself, find in a Parquet file. `parquet_totals.py FILE`"""

import json
import sys

import duckdb
import pyarrow.compute as pc
import pyarrow.parquet as pq

TEXTS = ["comm", "operation_name", "write_name", "site_function", "python_stack", "native_stack"]


def by_duckdb(path):
    rows = duckdb.execute(
        "select pid, outcome, count(*), sum(bytes)::bigint from read_parquet(?) group by all order by all", [path]
    )
    return rows.fetchall()


def by_pyarrow(table):
    groups = table.group_by(["pid", "outcome"]).aggregate([([], "count_all"), ("bytes", "sum")])
    return sorted([row["pid"], row["outcome"], row["count_all"], row["bytes_sum"]] for row in groups.to_pylist())


def main(path):
    file = pq.ParquetFile(path)
    table = file.read()
    types = {field.name: str(field.type) for field in file.schema_arrow}
    metadata = {key.decode(): value.decode() for key, value in file.schema_arrow.metadata.items()}
    described = duckdb.execute("describe select * from read_parquet(?)", [path]).fetchall()
    # The same texts, by both: a name that one of them cuts at a NUL would differ.
    texts = {}
    for name in TEXTS:
        one = duckdb.execute(f"select distinct {name} from read_parquet(?) where {name} is not null", [path]).fetchall()
        other = pc.unique(table[name].drop_null()).to_pylist()
        assert sorted(row[0] for row in one) == sorted(other), name
        texts[name] = sorted(other)
    first = table.slice(0, 1).to_pylist()
    print(
        json.dumps(
            {
                "duckdb": by_duckdb(path),
                "pyarrow": by_pyarrow(table),
                "types": types,
                "described": {name: kind for name, kind, *_ in described},
                "groups": file.num_row_groups,
                "metadata": metadata,
                "texts": texts,
                "first": first[0] if first else None,
                "sorted": pc.all(pc.less_equal(table["time_ns"][:-1], table["time_ns"][1:])).as_py(),
            }
        )
    )


main(sys.argv[1])
