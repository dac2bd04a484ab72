"""The weight of all collapsed stacks, as flamegraph-textual reads them. `folded_totals.py FILE`."""

import json
import sys

from flamegraph_textual.parsers.stackcollapse_parser import StackCollapseParser

with open(sys.argv[1], "rb") as file:
    text = file.read()
assert StackCollapseParser.validate(text)
root = StackCollapseParser("export").parse(text).root_stack
children = {child.name: child.values[0] for child in root.children}
print(json.dumps({"bytes": root.values[0], "children": children}))
