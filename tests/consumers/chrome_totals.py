"""Checks an export in Chrome's Trace Event Format and prints its sums. `chrome_totals.py FILE`."""

import collections
import json
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    trace = json.load(file)
events = trace["traceEvents"]
processes = {e["pid"]: e["args"]["sort_index"] for e in events if e["ph"] == "M" and e["name"] == "process_sort_index"}
named = {e["pid"] for e in events if e["ph"] == "M" and e["name"] == "process_name"}
assert named == set(processes) and sorted(processes.values()) == list(range(len(processes)))

faults = copies = total = 0
counters = {}
slices = collections.defaultdict(list)
names = collections.Counter()
flows = collections.defaultdict(set)
frames = trace["stackFrames"]
for frame in frames.values():
    assert frame["name"] and ("parent" not in frame or str(frame["parent"]) in frames)
for event in events:
    phase = event["ph"]
    assert event["pid"] in processes, event
    if phase == "M":
        continue
    assert event["ts"] >= 0 and isinstance(event["tid"], int), event
    if phase == "X":
        assert event["dur"] >= 0, event
        slices[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    elif phase == "i":
        assert event["s"] in ("t", "p"), event
    elif phase in ("s", "f"):
        flows[event["id"]].add(phase)
    elif phase == "C":
        value = event["args"]["bytes"]
        assert value >= counters.get(event["pid"], 0), "a counter of what was copied falls"
        counters[event["pid"]] = value
    else:
        raise AssertionError(event)
    names[event["cat"]] += 1
    if "outcome" in event.get("args", {}):
        faults += 1
        assert str(event["sf"]) in frames and event["args"]["address"].startswith("0x"), event
        if event["args"]["outcome"] in ("copy", "file_copy"):
            copies += 1
            total += event["args"]["bytes"]
assert all(ends == {"s", "f"} for ends in flows.values())
# Viewers show slices of a thread that cross one another wrongly. Times are floats of microseconds.
crossing = 0
for own in slices.values():
    under_way = []
    for start, end in sorted(own, key=lambda slice: (slice[0], -slice[1])):
        while under_way and under_way[-1] <= start + 1e-6:
            under_way.pop()
        crossing += bool(under_way) and end > under_way[-1] + 1e-6
        under_way.append(end)
print(json.dumps({
    "faults": faults, "copies": copies, "bytes": total, "crossing": crossing, "counters": counters,
    "order": sorted(processes, key=processes.get), "categories": names, "notes": trace["otherData"]["notes"],
}))
