"""Prints what a reader of pprof profiles finds in one. `pprof_totals.py FILE`"""

import collections
import gzip
import json
import sys

from flamegraph_textual.parsers import pprof_parser, profile_pb2


def main(path):
    with open(path, "rb") as file:
        content = file.read()
    profile = profile_pb2.Profile()
    profile.ParseFromString(gzip.decompress(content))
    strings = profile.string_table
    assert strings[0] == "" and len(set(strings)) == len(strings)
    functions = {function.id: function for function in profile.function}
    locations = {location.id: location for location in profile.location}
    mappings = {mapping.id: mapping for mapping in profile.mapping}
    totals, lines = collections.defaultdict(lambda: [0, 0]), collections.Counter()
    for sample in profile.sample:
        labels = {strings[label.key]: strings[label.str] for label in sample.label}
        assert {"process", "operation", "write", "outcome"} <= labels.keys(), labels
        total = totals[labels["process"], labels["outcome"]]
        for at, value in enumerate(sample.value):
            total[at] += value
        for location in {location for location in sample.location_id}:
            line = locations[location].line[0]
            function = functions[line.function_id]
            lines[strings[function.name], strings[function.filename], line.line] += sample.value[0]
    for location in profile.location:
        if location.mapping_id:
            mapping = mappings[location.mapping_id]
            assert mapping.memory_start <= location.address < mapping.memory_limit
    # Another reader, which makes a tree of it.
    tree = pprof_parser.parse_profile(content, path)
    print(
        json.dumps(
            {
                "types": [[strings[kind.type], strings[kind.unit]] for kind in profile.sample_type],
                "default": strings[profile.default_sample_type],
                "totals": sorted([*key, *values] for key, values in totals.items()),
                "lines": [[*key, count] for key, count in lines.most_common()],
                "mappings": [strings[mapping.filename] for mapping in profile.mapping],
                "comments": [strings[comment] for comment in profile.comment],
                "tree": list(tree.root_stack.values),
                "duration": profile.duration_nanos,
            }
        )
    )


main(sys.argv[1])
