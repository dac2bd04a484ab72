//! Kinds of markers, with the fields that the profiler shows of each.

use fxprof_processed_profile::{
    CategoryHandle, MarkerFieldFlags, MarkerFieldFormat, MarkerLocations, Profile, StaticSchemaMarker,
    StaticSchemaMarkerField, StringHandle,
};

use super::super::told;
use super::float;
use crate::record::schema::{Fault, Trace};

const SHOWN: MarkerLocations = MarkerLocations::MARKER_CHART
    .union(MarkerLocations::MARKER_TABLE)
    .union(MarkerLocations::TIMELINE_OVERVIEW);

const fn field(key: &'static str, label: &'static str, format: MarkerFieldFormat) -> StaticSchemaMarkerField {
    StaticSchemaMarkerField { key, label, format, flags: MarkerFieldFlags::SEARCHABLE }
}

/// A listed fault.
pub(super) struct FaultMarker {
    name: StringHandle,
    category: CategoryHandle,
    /// In the order of the fields; that of the bytes stands for nothing.
    texts: [StringHandle; 7],
    bytes: f64,
}

impl FaultMarker {
    pub(super) fn new(
        profile: &mut Profile,
        trace: &Trace,
        fault: &Fault,
        name: StringHandle,
        category: CategoryHandle,
    ) -> Self {
        let texts = [
            format!("{:#x}", fault.address),
            outcome(fault),
            String::new(),
            trace.operations.get(fault.operation).map_or_else(unknown, told::operation),
            trace.writes.get(fault.write).map_or_else(unknown, told::write),
            fault.site.and_then(|site| trace.sites.get(site)).map_or_else(unknown, told::site),
            trace.regions.get(fault.region).map_or_else(unknown, told::region),
        ];
        Self {
            name,
            category,
            texts: texts.map(|text| profile.intern_string(&text)),
            bytes: float(fault.bytes),
        }
    }
}

impl StaticSchemaMarker for FaultMarker {
    const UNIQUE_MARKER_TYPE_NAME: &'static str = "Fault";
    const DESCRIPTION: Option<&'static str> = Some("A page fault by a write, named after what was written");
    const LOCATIONS: MarkerLocations = SHOWN;
    const CHART_LABEL: Option<&'static str> = Some("{marker.name}");
    const TABLE_LABEL: Option<&'static str> =
        Some("{marker.data.outcome} {marker.data.address} {marker.data.site}");
    const FIELDS: &'static [StaticSchemaMarkerField] = &[
        field("address", "Address", MarkerFieldFormat::String),
        field("outcome", "Outcome", MarkerFieldFormat::String),
        field("bytes", "Copied", MarkerFieldFormat::Bytes),
        field("operation", "Operation", MarkerFieldFormat::String),
        field("write", "Write", MarkerFieldFormat::String),
        field("site", "Site", MarkerFieldFormat::String),
        field("region", "Mapping", MarkerFieldFormat::String),
    ];

    fn name(&self, _: &mut Profile) -> StringHandle {
        self.name
    }
    fn category(&self, _: &mut Profile) -> CategoryHandle {
        self.category
    }
    fn string_field_value(&self, field: u32) -> StringHandle {
        self.texts.get(field as usize).copied().unwrap_or(self.name)
    }
    fn number_field_value(&self, _: u32) -> f64 {
        self.bytes
    }
}

fn unknown() -> String {
    "unknown".to_owned()
}

fn outcome(fault: &Fault) -> String {
    serde_json::to_value(fault.outcome)
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}

/// An import or a collection.
pub(super) struct Span {
    pub(super) name: StringHandle,
    pub(super) category: CategoryHandle,
    pub(super) about: StringHandle,
    pub(super) pages: u64,
    pub(super) bytes: u64,
}

impl StaticSchemaMarker for Span {
    const UNIQUE_MARKER_TYPE_NAME: &'static str = "Span";
    const DESCRIPTION: Option<&'static str> = Some(
        "From its first page fault to its last: it began then or a little before, and ended then or later",
    );
    const LOCATIONS: MarkerLocations = SHOWN;
    const CHART_LABEL: Option<&'static str> = Some("{marker.data.about}");
    const TABLE_LABEL: Option<&'static str> = Some("{marker.data.about}");
    const FIELDS: &'static [StaticSchemaMarkerField] = &[
        field("about", "Which", MarkerFieldFormat::String),
        field("pages", "Pages copied", MarkerFieldFormat::Integer),
        field("bytes", "Copied", MarkerFieldFormat::Bytes),
    ];

    fn name(&self, _: &mut Profile) -> StringHandle {
        self.name
    }
    fn category(&self, _: &mut Profile) -> CategoryHandle {
        self.category
    }
    fn string_field_value(&self, _: u32) -> StringHandle {
        self.about
    }
    fn number_field_value(&self, field: u32) -> f64 {
        float(if field == 1 { self.pages } else { self.bytes })
    }
}

/// A fork or an exec.
pub(super) struct Event {
    pub(super) name: StringHandle,
    pub(super) about: StringHandle,
}

impl StaticSchemaMarker for Event {
    const UNIQUE_MARKER_TYPE_NAME: &'static str = "Process";
    const LOCATIONS: MarkerLocations = SHOWN;
    const CHART_LABEL: Option<&'static str> = Some("{marker.data.about}");
    const TABLE_LABEL: Option<&'static str> = Some("{marker.data.about}");
    const FIELDS: &'static [StaticSchemaMarkerField] =
        &[field("about", "Process", MarkerFieldFormat::String)];

    fn name(&self, _: &mut Profile) -> StringHandle {
        self.name
    }
    fn category(&self, _: &mut Profile) -> CategoryHandle {
        CategoryHandle::OTHER
    }
    fn string_field_value(&self, _: u32) -> StringHandle {
        self.about
    }
    fn number_field_value(&self, _: u32) -> f64 {
        0.0
    }
}
