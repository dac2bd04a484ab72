//! The messages of a Perfetto trace that cowtrace writes, with the fields that it sets.
//!
//! Names and numbers are those of the definitions at
//! <https://github.com/google/perfetto/tree/ec5d16b14b743ba6063d720956d6d6af6610fd72/protos/perfetto>; each message names
//! its file there. They are of syntax 2, where what is repeated is not packed unless that is said.

use prost::Message;

/// Number of `Trace.packet`, for writing packets one at a time.
pub(super) const PACKET: u32 = 1;

/// `trace/trace.proto`
#[cfg(test)]
#[derive(Clone, PartialEq, Message)]
pub(super) struct Trace {
    #[prost(message, repeated, tag = "1")]
    pub(super) packet: Vec<TracePacket>,
}

/// `trace/trace_packet.proto`
#[derive(Clone, PartialEq, Message)]
pub(super) struct TracePacket {
    #[prost(message, optional, tag = "6")]
    pub(super) clock_snapshot: Option<ClockSnapshot>,
    #[prost(uint64, optional, tag = "8")]
    pub(super) timestamp: Option<u64>,
    #[prost(uint32, optional, tag = "10")]
    pub(super) trusted_packet_sequence_id: Option<u32>,
    #[prost(message, optional, tag = "11")]
    pub(super) track_event: Option<TrackEvent>,
    #[prost(message, optional, tag = "12")]
    pub(super) interned_data: Option<InternedData>,
    /// [`CLEARED`], [`NEEDED`].
    #[prost(uint32, optional, tag = "13")]
    pub(super) sequence_flags: Option<u32>,
    #[prost(message, optional, tag = "60")]
    pub(super) track_descriptor: Option<TrackDescriptor>,
    #[prost(bool, optional, tag = "87")]
    pub(super) first_packet_on_sequence: Option<bool>,
    #[prost(message, optional, tag = "126")]
    pub(super) trace_attributes: Option<TraceAttributes>,
}

/// `SEQ_INCREMENTAL_STATE_CLEARED`: the packet refers to nothing that was interned before it.
pub(super) const CLEARED: u32 = 1;
/// `SEQ_NEEDS_INCREMENTAL_STATE`: the packet refers to what was interned before it.
pub(super) const NEEDED: u32 = 2;

/// `trace/clock_snapshot.proto`
#[derive(Clone, PartialEq, Message)]
pub(super) struct ClockSnapshot {
    #[prost(message, repeated, tag = "1")]
    pub(super) clocks: Vec<Clock>,
}

/// `ClockSnapshot.Clock`
#[derive(Clone, PartialEq, Message)]
pub(super) struct Clock {
    /// [`REALTIME`], [`BOOTTIME`].
    #[prost(uint32, optional, tag = "1")]
    pub(super) clock_id: Option<u32>,
    #[prost(uint64, optional, tag = "2")]
    pub(super) timestamp: Option<u64>,
}

/// `BUILTIN_CLOCK_REALTIME`, of `common/builtin_clock.proto`.
pub(super) const REALTIME: u32 = 1;
/// `BUILTIN_CLOCK_BOOTTIME`: the clock of every timestamp that says nothing of its clock.
pub(super) const BOOTTIME: u32 = 6;

/// `common/trace_attributes.proto`
#[derive(Clone, PartialEq, Message)]
pub(super) struct TraceAttributes {
    #[prost(message, repeated, tag = "1")]
    pub(super) attribute: Vec<Attribute>,
}

/// `TraceAttributes.Attribute`, with one of the two values.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Attribute {
    #[prost(string, optional, tag = "1")]
    pub(super) key: Option<String>,
    #[prost(int64, optional, tag = "2")]
    pub(super) long_value: Option<i64>,
    #[prost(string, optional, tag = "3")]
    pub(super) string_value: Option<String>,
}

/// `trace/track_event/track_descriptor.proto`
#[derive(Clone, PartialEq, Message)]
pub(super) struct TrackDescriptor {
    #[prost(uint64, optional, tag = "1")]
    pub(super) uuid: Option<u64>,
    #[prost(string, optional, tag = "2")]
    pub(super) name: Option<String>,
    #[prost(message, optional, tag = "3")]
    pub(super) process: Option<ProcessDescriptor>,
    #[prost(message, optional, tag = "4")]
    pub(super) thread: Option<ThreadDescriptor>,
    #[prost(uint64, optional, tag = "5")]
    pub(super) parent_uuid: Option<u64>,
    #[prost(message, optional, tag = "8")]
    pub(super) counter: Option<CounterDescriptor>,
    #[prost(int32, optional, tag = "12")]
    pub(super) sibling_order_rank: Option<i32>,
    #[prost(string, optional, tag = "14")]
    pub(super) description: Option<String>,
    /// [`EXPLICIT`], on the root alone.
    #[prost(int32, optional, tag = "19")]
    pub(super) process_ordering: Option<i32>,
    /// [`EXPLICIT`], on the root alone.
    #[prost(int32, optional, tag = "20")]
    pub(super) thread_ordering: Option<i32>,
}

/// `PROCESS_ORDERING_EXPLICIT` and `THREAD_ORDERING_EXPLICIT`: by their rank.
pub(super) const EXPLICIT: i32 = 1;

/// `trace/track_event/process_descriptor.proto`
#[derive(Clone, PartialEq, Message)]
pub(super) struct ProcessDescriptor {
    #[prost(int32, optional, tag = "1")]
    pub(super) pid: Option<i32>,
    #[prost(string, repeated, tag = "2")]
    pub(super) cmdline: Vec<String>,
    #[prost(string, optional, tag = "6")]
    pub(super) process_name: Option<String>,
    #[prost(int64, optional, tag = "7")]
    pub(super) start_timestamp_ns: Option<i64>,
    #[prost(string, repeated, tag = "8")]
    pub(super) process_labels: Vec<String>,
}

/// `trace/track_event/thread_descriptor.proto`
#[derive(Clone, PartialEq, Message)]
pub(super) struct ThreadDescriptor {
    #[prost(int32, optional, tag = "1")]
    pub(super) pid: Option<i32>,
    #[prost(int64, optional, tag = "2")]
    pub(super) tid: Option<i64>,
    #[prost(string, optional, tag = "5")]
    pub(super) thread_name: Option<String>,
}

/// `trace/track_event/counter_descriptor.proto`
#[derive(Clone, PartialEq, Message)]
pub(super) struct CounterDescriptor {
    /// [`SIZE_BYTES`].
    #[prost(int32, optional, tag = "3")]
    pub(super) unit: Option<i32>,
}

/// `UNIT_SIZE_BYTES`
pub(super) const SIZE_BYTES: i32 = 3;

/// `trace/track_event/track_event.proto`
#[derive(Clone, PartialEq, Message)]
pub(super) struct TrackEvent {
    #[prost(uint64, repeated, packed = "false", tag = "3")]
    pub(super) category_iids: Vec<u64>,
    #[prost(message, repeated, tag = "4")]
    pub(super) debug_annotations: Vec<DebugAnnotation>,
    /// One of the `TYPE_…`.
    #[prost(int32, optional, tag = "9")]
    pub(super) r#type: Option<i32>,
    #[prost(uint64, optional, tag = "10")]
    pub(super) name_iid: Option<u64>,
    #[prost(uint64, optional, tag = "11")]
    pub(super) track_uuid: Option<u64>,
    #[prost(int64, optional, tag = "30")]
    pub(super) counter_value: Option<i64>,
    #[prost(fixed64, repeated, packed = "false", tag = "47")]
    pub(super) flow_ids: Vec<u64>,
    #[prost(fixed64, repeated, packed = "false", tag = "48")]
    pub(super) terminating_flow_ids: Vec<u64>,
    #[prost(uint64, optional, tag = "56")]
    pub(super) callstack_iid: Option<u64>,
    #[prost(double, optional, tag = "57")]
    pub(super) callstack_weight: Option<f64>,
}

/// A slice begins.
pub(super) const TYPE_SLICE_BEGIN: i32 = 1;
/// The innermost slice of its track ends.
pub(super) const TYPE_SLICE_END: i32 = 2;
/// Something without a duration.
pub(super) const TYPE_INSTANT: i32 = 3;
/// A counter's new value.
pub(super) const TYPE_COUNTER: i32 = 4;

/// `trace/track_event/debug_annotation.proto`, with one value, entries or values.
#[derive(Clone, PartialEq, Message)]
pub(super) struct DebugAnnotation {
    #[prost(uint64, optional, tag = "1")]
    pub(super) name_iid: Option<u64>,
    #[prost(bool, optional, tag = "2")]
    pub(super) bool_value: Option<bool>,
    #[prost(uint64, optional, tag = "3")]
    pub(super) uint_value: Option<u64>,
    #[prost(int64, optional, tag = "4")]
    pub(super) int_value: Option<i64>,
    #[prost(uint64, optional, tag = "7")]
    pub(super) pointer_value: Option<u64>,
    #[prost(message, repeated, tag = "11")]
    pub(super) dict_entries: Vec<DebugAnnotation>,
    #[prost(message, repeated, tag = "12")]
    pub(super) array_values: Vec<DebugAnnotation>,
    #[prost(uint64, optional, tag = "17")]
    pub(super) string_value_iid: Option<u64>,
}

/// `trace/interned_data/interned_data.proto`
#[derive(Clone, PartialEq, Message)]
pub(super) struct InternedData {
    #[prost(message, repeated, tag = "1")]
    pub(super) event_categories: Vec<Name>,
    #[prost(message, repeated, tag = "2")]
    pub(super) event_names: Vec<Name>,
    #[prost(message, repeated, tag = "3")]
    pub(super) debug_annotation_names: Vec<Name>,
    #[prost(message, repeated, tag = "5")]
    pub(super) function_names: Vec<InternedString>,
    #[prost(message, repeated, tag = "6")]
    pub(super) frames: Vec<Frame>,
    #[prost(message, repeated, tag = "7")]
    pub(super) callstacks: Vec<Callstack>,
    #[prost(message, repeated, tag = "18")]
    pub(super) source_paths: Vec<InternedString>,
    #[prost(message, repeated, tag = "29")]
    pub(super) debug_annotation_string_values: Vec<InternedString>,
}

/// `EventCategory`, `EventName` and `DebugAnnotationName`, which are alike.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Name {
    #[prost(uint64, optional, tag = "1")]
    pub(super) iid: Option<u64>,
    #[prost(string, optional, tag = "2")]
    pub(super) name: Option<String>,
}

/// `trace/profiling/profile_common.proto`
#[derive(Clone, PartialEq, Message)]
pub(super) struct InternedString {
    #[prost(uint64, optional, tag = "1")]
    pub(super) iid: Option<u64>,
    /// Bytes there, which is the same on the wire.
    #[prost(string, optional, tag = "2")]
    pub(super) str: Option<String>,
}

/// `trace/profiling/profile_common.proto`
#[derive(Clone, PartialEq, Message)]
pub(super) struct Frame {
    #[prost(uint64, optional, tag = "1")]
    pub(super) iid: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    pub(super) function_name_id: Option<u64>,
    #[prost(uint64, optional, tag = "5")]
    pub(super) source_path_iid: Option<u64>,
    #[prost(uint32, optional, tag = "6")]
    pub(super) line_number: Option<u32>,
    /// [`KIND_NATIVE`], [`KIND_INTERPRETED`].
    #[prost(int32, optional, tag = "7")]
    pub(super) kind: Option<i32>,
    /// Instead of `kind`.
    #[prost(string, optional, tag = "8")]
    pub(super) kind_str: Option<String>,
}

/// Native code.
pub(super) const KIND_NATIVE: i32 = 1;
/// Interpreted code.
pub(super) const KIND_INTERPRETED: i32 = 3;

/// `trace/profiling/profile_common.proto`
#[derive(Clone, PartialEq, Message)]
pub(super) struct Callstack {
    #[prost(uint64, optional, tag = "1")]
    pub(super) iid: Option<u64>,
    /// Outermost first.
    #[prost(uint64, repeated, packed = "false", tag = "2")]
    pub(super) frame_ids: Vec<u64>,
}
