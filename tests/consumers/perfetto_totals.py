"""Decodes a trace by Perfetto's own definitions, plays it as its importer does and prints what is there.
`perfetto_totals.py FILE`

Fails where the format is not kept to: numbers that name nothing, a slice that ends without having begun, a track that was not
described.
"""

import collections
import json
import sys

from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as proto

OUTCOMES = ["copy", "file_copy", "reuse", "zero_fill", "shared_write", "read", "swap_in", "other", "failed"]
INTERNED = {
    "event_categories": "name",
    "event_names": "name",
    "debug_annotation_names": "name",
    "debug_annotation_string_values": "str",
    "function_names": "str",
    "source_paths": "str",
    "frames": None,
    "callstacks": None,
}


class Player:
    def __init__(self):
        self.interned = {kind: {} for kind in INTERNED}
        self.tracks = {}
        self.open = collections.defaultdict(list)
        self.counters = {}
        self.totals = collections.Counter()
        self.bytes = collections.Counter()
        self.slices = collections.defaultdict(list)
        self.depths = collections.Counter()
        self.flows = collections.defaultdict(list)
        self.stacks = collections.Counter()
        self.names = set()
        self.attributes = {}
        self.last = 0

    def learn(self, data):
        for kind, text in INTERNED.items():
            known = self.interned[kind]
            for entry in getattr(data, kind):
                assert entry.iid and entry.iid not in known, (kind, entry.iid)
                value = getattr(entry, text) if text else entry
                known[entry.iid] = value.decode() if isinstance(value, bytes) else value

    def pid(self, track):
        descriptor = self.tracks[track]
        if descriptor.HasField("thread"):
            return descriptor.thread.pid
        if descriptor.HasField("process"):
            return descriptor.process.pid
        return self.pid(descriptor.parent_uuid) if descriptor.parent_uuid else 0

    def annotations(self, event):
        found = {}
        for annotation in event.debug_annotations:
            value = annotation.WhichOneof("value")
            content = getattr(annotation, value) if value else None
            if value == "string_value_iid":
                content = self.interned["debug_annotation_string_values"][content]
            found[self.interned["debug_annotation_names"][annotation.name_iid]] = content
        return found

    def event(self, time, event):
        track = event.track_uuid
        assert track in self.tracks, track
        assert time >= self.last, (time, self.last)
        self.last = time
        kind = proto.TrackEvent.Type.Name(event.type)
        if kind == "TYPE_COUNTER":
            assert self.tracks[track].HasField("counter")
            values = self.counters.setdefault(self.pid(track), [])
            assert not values or values[-1] <= event.counter_value
            values.append(event.counter_value)
            return
        if kind == "TYPE_SLICE_END":
            category, name, start = self.open[track].pop()
            assert start <= time
            self.slices[category].append([self.pid(track), name, start, time, len(self.open[track])])
            return
        category = self.interned["event_categories"][event.category_iids[0]]
        name = self.interned["event_names"][event.name_iid]
        found = self.annotations(event)
        for flow in [*event.flow_ids, *event.terminating_flow_ids]:
            self.flows[flow].append(category)
        self.names.add(name)
        if category in OUTCOMES:
            pid = self.pid(track)
            assert self.tracks[track].HasField("thread")
            self.totals[pid, category] += 1
            self.bytes[pid, category] += found["bytes"]
            assert event.callstack_weight == found["bytes"] and found["address"]
            assert {"write", "operation", "region"} <= found.keys(), found
            self.depths[tuple(open[0] for open in self.open[track])] += 1
            stack = self.interned["callstacks"][event.callstack_iid]
            frames = [self.interned["frames"][frame] for frame in stack.frame_ids]
            assert all(self.interned["function_names"][frame.function_name_id] for frame in frames)
            kinds = {frame.WhichOneof("kind_field") and (frame.kind_str or frame.kind) for frame in frames}
            self.stacks[
                "mixed" if {1, 3} <= kinds else "native" if 1 in kinds else "python" if 3 in kinds else "none"
            ] += 1
        if kind == "TYPE_SLICE_BEGIN":
            self.open[track].append((category, name, time))

    def packet(self, packet, first):
        assert packet.trusted_packet_sequence_id == 1
        assert bool(packet.sequence_flags & 1) == first
        assert first or packet.sequence_flags & 2
        self.learn(packet.interned_data)
        for attribute in packet.trace_attributes.attribute:
            self.attributes[attribute.key] = getattr(attribute, attribute.WhichOneof("value"))
        if packet.HasField("track_descriptor"):
            assert packet.track_descriptor.uuid not in self.tracks
            self.tracks[packet.track_descriptor.uuid] = packet.track_descriptor
        if packet.HasField("track_event"):
            self.event(packet.timestamp, packet.track_event)


def main(path):
    trace = proto.Trace()
    with open(path, "rb") as file:
        trace.ParseFromString(file.read())
    player = Player()
    for nth, packet in enumerate(trace.packet):
        player.packet(packet, nth == 0)
    assert not any(player.open.values()), "a slice does not end"
    processes = [track for track in player.tracks.values() if track.HasField("process")]
    processes.sort(key=lambda track: track.sibling_order_rank)
    print(
        json.dumps(
            {
                "totals": sorted([*key, count, player.bytes[key]] for key, count in player.totals.items()),
                "counters": {pid: values[-1] for pid, values in player.counters.items()},
                "processes": [[track.process.pid, track.process.process_name] for track in processes],
                "threads": sorted(
                    [track.thread.pid, track.thread.tid] for track in player.tracks.values() if track.HasField("thread")
                ),
                "slices": player.slices,
                "depths": [[list(key), count] for key, count in player.depths.items()],
                "stacks": player.stacks,
                "names": sorted(player.names),
                "arrows": sum(sorted(ends) == ["fork", "process"] for ends in player.flows.values()),
                "attributes": player.attributes,
                "clocks": [
                    [clock.clock_id, clock.timestamp] for packet in trace.packet for clock in packet.clock_snapshot.clocks
                ],
            }
        )
    )


main(sys.argv[1])
