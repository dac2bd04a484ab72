"""Checks a profile against what the Firefox Profiler documents of its processed format (docs-developer and the types of
profile.js in its repository, version 55), and prints its sums. `firefox_check.py FILE`."""

import collections
import json
import sys

COLORS = "transparent purple green orange yellow lightblue blue brown magenta red lightred darkgrey grey".split()
GRAPH_COLORS = "blue green grey ink magenta orange purple red teal yellow".split()
FORMATS = ("url file-path sanitized-string string unique-string duration time seconds milliseconds microseconds nanoseconds "
           "bytes percentage integer decimal pid tid list").split()
TABLES = {
    "samples": "stack timeDeltas weight",
    "markers": "data name startTime endTime phase category",
    "stackTable": "frame prefix",
    "frameTable": "address inlineDepth category subcategory func nativeSymbol innerWindowID line column",
    "funcTable": "name isJS relevantForJS resource fileName lineNumber columnNumber",
    "resourceTable": "lib name host type",
    "nativeSymbols": "libIndex address name functionSize",
}
THREAD = ("processType processStartupTime processShutdownTime registerTime unregisterTime pausedRanges name isMainThread "
          "pid tid stringArray").split()
META = "interval startTime processType product stackwalk version preprocessedProfileVersion categories markerSchema".split()


def columns(table, wanted):
    """Every column is there, and as long as the table says."""
    for column in wanted.split():
        assert len(table[column]) == table["length"], column


def within(values, length, none=False, absent=None):
    for value in values:
        assert (none and value is None) or value == absent or 0 <= value < length, (value, length)


with open(sys.argv[1], encoding="utf-8") as file:
    profile = json.load(file)
meta, threads = profile["meta"], profile["threads"]
assert all(key in meta for key in META), meta.keys()
assert isinstance(profile["libs"], list) and meta["preprocessedProfileVersion"] == 55
categories = meta["categories"]
assert any(category["color"] == "grey" for category in categories)
for category in categories:
    assert category["color"] in COLORS and category["subcategories"][0] == "Other", category
schemas = {schema["name"]: schema for schema in meta["markerSchema"]}
for schema in schemas.values():
    for field in schema["fields"]:
        assert field["format"] in FORMATS, field

pages = weight = 0
markers = collections.Counter()
by_pid = collections.Counter()
for thread in threads:
    assert all(key in thread for key in THREAD), thread.keys()
    assert isinstance(thread["pid"], str) and thread["pausedRanges"] == []
    for name, wanted in TABLES.items():
        columns(thread[name], wanted)
    strings = thread["stringArray"]
    assert all(isinstance(string, str) for string in strings)
    samples, stacks, frames, funcs = (thread[name] for name in ("samples", "stackTable", "frameTable", "funcTable"))
    within(samples["stack"], stacks["length"], none=True)
    assert all(delta >= 0 for delta in samples["timeDeltas"]), "samples are by time"
    assert samples["weightType"] == "bytes"
    within(stacks["frame"], frames["length"])
    for stack, prefix in enumerate(stacks["prefix"]):
        assert prefix is None or 0 <= prefix < stack, "a caller comes before what it calls"
    within(frames["func"], funcs["length"])
    within(frames["category"], len(categories), none=True)
    within(frames["nativeSymbol"], thread["nativeSymbols"]["length"], none=True)
    within(funcs["name"], len(strings))
    within(funcs["resource"], thread["resourceTable"]["length"], absent=-1)
    table = thread["markers"]
    within(table["name"], len(strings))
    within(table["category"], len(categories))
    for data, start, end, phase in zip(table["data"], table["startTime"], table["endTime"], table["phase"]):
        assert phase in (0, 1) and start >= 0, (phase, start)
        assert (end is None or end == 0) if phase == 0 else end >= start, (phase, start, end)
        schema = schemas[data["type"]]
        for field in schema["fields"]:
            if field["format"] == "unique-string" and field["key"] in data:
                within([data[field["key"]]], len(strings))
        if "cause" in data:
            within([data["cause"]["stack"]], stacks["length"])
        markers[data["type"]] += 1
    pages += samples["length"]
    weight += sum(samples["weight"])
    by_pid[thread["pid"]] += sum(samples["weight"])
counted = {}
for counter in profile["counters"]:
    assert threads[counter["mainThreadIndex"]]["pid"] == counter["pid"] and threads[counter["mainThreadIndex"]]["isMainThread"]
    assert counter.get("color", "blue") in GRAPH_COLORS
    columns(counter["samples"], "timeDeltas count number")
    counted[counter["pid"]] = sum(counter["samples"]["count"])
order = list(dict.fromkeys(thread["pid"] for thread in threads))
print(json.dumps({
    "copies": pages, "bytes": weight, "markers": markers, "by_pid": by_pid, "counters": counted, "order": order,
    "notes": [entry["value"] for section in meta["extra"] for entry in section["entries"]],
}))
