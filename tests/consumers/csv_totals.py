"""Rows and sums of a CSV export, as Python's csv module reads it. `csv_totals.py FILE`."""

import collections
import csv
import json
import sys

csv.field_size_limit(1 << 30)
rows = copies = 0
by_pid = collections.Counter()
kinds = collections.Counter()
with open(sys.argv[1], newline="", encoding="utf-8") as file:
    for row in csv.DictReader(file, strict=True):
        assert None not in row and None not in row.values(), row
        rows += 1
        kinds[row["operation_kind"]] += 1
        if row["outcome"] in ("copy", "file_copy"):
            copies += 1
            by_pid[row["pid"]] += int(row["bytes"])
print(json.dumps({"rows": rows, "copies": copies, "bytes": sum(by_pid.values()), "by_pid": by_pid, "kinds": kinds}))
