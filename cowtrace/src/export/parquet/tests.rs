//! What was written, read again.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{Seek, Write as _};

use nix::sys::memfd::{MFdFlags, memfd_create};
use parquet::basic::Encoding;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;

use super::*;
use crate::export::mixture::{HOSTILE, MISSING, trace};
use crate::export::samples;

fn read_again(trace: &Trace, rows: usize) -> SerializedFileReader<File> {
    let mut out = Vec::new();
    write_groups(trace, rows, &mut out).unwrap();
    let mut file = File::from(memfd_create(c"trace", MFdFlags::empty()).unwrap());
    file.write_all(&out).unwrap();
    file.rewind().unwrap();
    SerializedFileReader::new(file).unwrap()
}

type Row = HashMap<String, Field>;

fn rows(reader: &SerializedFileReader<File>) -> Vec<Row> {
    let rows = reader.get_row_iter(None).unwrap().map(|row| row.unwrap().into_columns());
    rows.map(|row| row.into_iter().collect()).collect()
}

fn string(row: &Row, name: &str) -> Option<String> {
    match &row[name] {
        Field::Null => None,
        Field::Str(text) => Some(text.clone()),
        other => panic!("{name} is {other:?}"),
    }
}

fn long(row: &Row, name: &str) -> i64 {
    match row[name] {
        Field::Long(number) => number,
        ref other => panic!("{name} is {other:?}"),
    }
}

/// Every row has every column, with the value that the fault has.
#[test]
fn values_come_back() {
    let trace = trace();
    let rows = rows(&read_again(&trace, GROUP));
    assert_eq!(rows.len(), trace.faults.len());
    for (row, fault) in rows.iter().zip(&trace.faults) {
        assert_eq!(row.len(), COLUMNS.len());
        assert_eq!(long(row, "time_ns").cast_unsigned(), fault.time);
        assert_eq!(row["address"], Field::ULong(fault.address));
        assert_eq!(row["ip"], Field::ULong(fault.ip));
        assert_eq!(row["pid"], Field::UInt(trace.processes[fault.process].pid));
        assert_eq!(string(row, "outcome").unwrap(), crate::export::word(&fault.outcome));
        assert_eq!(long(row, "bytes").cast_unsigned(), fault.bytes);
        assert_eq!(row["collection"], fault.collection.map_or(Field::Null, Field::UInt));
    }
    let swap = &rows[0];
    let texts = ["comm", "operation_kind", "operation_name", "write_kind", "write_type", "write_confidence"];
    assert_eq!(
        texts.map(|name| string(swap, name).unwrap()),
        [HOSTILE, "module_swap", HOSTILE, "dict_entry", "dict", "likely"]
    );
    assert!(string(swap, "write_name").unwrap().len() < 4096, "a name of a mebibyte is bounded");
    assert_eq!(string(swap, "python_stack").unwrap(), "<module> (ann/multi.py:12);f\\x3bg (ann/multi.py:9)");
    assert_eq!(string(swap, "native_stack").unwrap(), "insertdict (libpython3.11.so.1.0)");
    assert_eq!((&swap["site_line"], &swap["latency_ns"]), (&Field::UInt(9), &Field::Null));
    assert_eq!(long(&rows[1], "latency_ns"), 310);
    assert_eq!(string(&rows[3], "operation_chain").unwrap(), "a;a.b");
    assert_eq!(
        ["site_file", "site_library", "site_function"].map(|name| string(&rows[3], name).unwrap()),
        ["/lib/libc.so.6", "libc.so.6", "memcpy"]
    );
    let collected = &rows[5];
    assert_eq!(string(collected, "operation_kind").as_deref(), Some("unknown"));
    for absent in ["site_file", "site_line", "python_stack", "native_stack", "region_path", "operation_chain"]
    {
        assert_eq!(collected[absent], Field::Null, "{absent}");
    }
    assert_eq!(long(rows.last().unwrap(), "region_offset"), 0x7000);
}

/// The rows add up to the kernel's totals, less what is not listed, and the metadata says how much that is.
#[test]
fn totals() {
    let trace = trace();
    let reader = read_again(&trace, GROUP);
    let mut sums: HashMap<(u32, String), (u64, u64)> = HashMap::new();
    for row in rows(&reader) {
        let Field::UInt(pid) = row["pid"] else { panic!("{:?}", row["pid"]) };
        let sum = sums.entry((pid, string(&row, "outcome").unwrap())).or_default();
        *sum = (sum.0 + 1, sum.1 + long(&row, "bytes").cast_unsigned());
    }
    let pairs = reader.metadata().file_metadata().key_value_metadata().unwrap();
    let pairs: HashMap<&str, &str> =
        pairs.iter().map(|pair| (pair.key.as_str(), pair.value.as_deref().unwrap())).collect();
    let json = |key: &str| serde_json::from_str::<serde_json::Value>(pairs[key]).unwrap();
    let processes = json("cowtrace.processes");
    for process in processes.as_array().unwrap() {
        let pid = u32::try_from(process["pid"].as_u64().unwrap()).unwrap();
        for (outcome, total) in process["totals"].as_object().unwrap() {
            let (faults, bytes) = sums.remove(&(pid, outcome.clone())).unwrap_or_default();
            let number = |name: &str| total[name].as_u64().unwrap();
            assert_eq!(faults + number("lost") + number("unlisted"), number("faults"), "{pid} {outcome}");
            assert_eq!(bytes, if outcome.ends_with("copy") { faults * 4096 } else { 0 });
        }
    }
    assert!(sums.is_empty(), "{sums:?}");
    assert_eq!(json("cowtrace.summary")["copies"], trace.summary.copies);
    assert_eq!(json("cowtrace.command"), serde_json::json!(["python", HOSTILE]));
    assert_eq!(json("cowtrace.missing"), serde_json::json!([MISSING]));
    assert_eq!(json("cowtrace.losses")[0]["count"], 2);
    assert_eq!((pairs["cowtrace.schema"], pairs["cowtrace.kernel"]), ("1", "6.18.5"));
}

/// Groups of rows are written one after the other, and hold together what one group would.
#[test]
fn groups() {
    let trace = trace();
    let whole = rows(&read_again(&trace, GROUP));
    let reader = read_again(&trace, 4);
    assert_eq!(reader.num_row_groups(), trace.faults.len().div_ceil(4));
    assert_eq!(rows(&reader), whole);
    let columns = reader.metadata().row_group(0).columns();
    let encodings = |name: &str| -> HashSet<Encoding> {
        let column = columns.iter().find(|column| column.column_path().string() == name).unwrap();
        column.encodings().collect()
    };
    assert!(encodings("time_ns").contains(&Encoding::DELTA_BINARY_PACKED));
    for text in ["operation_kind", "native_stack", "outcome"] {
        assert!(encodings(text).contains(&Encoding::RLE_DICTIONARY), "{text}: {:?}", encodings(text));
    }
}

/// The columns are those of CSV, by name and order.
#[cfg(feature = "csv")]
#[test]
fn as_in_csv() {
    let text = samples::written(&crate::export::csv::FORMAT, &trace());
    let names: Vec<&str> = COLUMNS.iter().map(|column| column.name).collect();
    assert_eq!(text.lines().next().unwrap(), names.join(","));
}

/// A fault whose process and values are not there has nulls.
#[test]
fn foreign_ids() {
    let mut trace = trace();
    trace.faults.truncate(1);
    trace.faults[0].process = 99;
    trace.faults[0].write = crate::record::schema::Id::new(99);
    let rows = rows(&read_again(&trace, GROUP));
    for absent in ["pid", "comm", "generation", "write_kind", "write_confidence"] {
        assert_eq!(rows[0][absent], Field::Null, "{absent}");
    }
}

/// A disk that is full is that error.
#[test]
fn full() {
    assert_eq!(write(&trace(), &mut samples::Full).unwrap_err().kind(), io::ErrorKind::StorageFull);
}
