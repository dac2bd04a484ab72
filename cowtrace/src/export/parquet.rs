//! Parquet: a row for each listed fault with the columns of the CSV export, typed; header, losses and totals are the
//! file's key-value metadata.
//!
//! Of the rows never more than one group is in memory.

mod columns;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;

use parquet::basic::{Compression, ZstdLevel};
use parquet::column::writer::{ColumnWriter, ColumnWriterImpl};
use parquet::data_type::DataType;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnPath, Type, TypePtr};
use serde::Serialize;

use self::columns::{COLUMNS, Column, Kind, Texts};
use super::{Format, jsonl};
use crate::record::json;
use crate::record::schema::{Fault, Trace};

/// The format.
pub(super) const FORMAT: Format = Format {
    name: "parquet",
    extensions: &["parquet"],
    about: "Parquet: a typed row for each fault, for DuckDB, pandas, polars, Spark",
    write,
};

/// Rows of a group. Readers take groups one by one and skip those whose range of times or values does not fit.
const GROUP: usize = 128 << 10;
/// Values that are handed over at once.
const BATCH: usize = 8 << 10;
/// Bytes of distinct strings of one column in one group up to which each is stored once.
const DICTIONARY: usize = 16 << 20;

/// Writes a trace, a group of rows at a time.
fn write(trace: &Trace, out: &mut dyn io::Write) -> io::Result<()> {
    write_groups(trace, GROUP, out)
}

fn write_groups(trace: &Trace, rows: usize, out: &mut dyn io::Write) -> io::Result<()> {
    let schema = schema().map_err(error)?;
    // The library wants a writer that may go to another thread, which `out` need not be: a group is handed over whole.
    let mut file = SerializedFileWriter::new(Vec::new(), schema, properties(trace)?).map_err(error)?;
    for faults in trace.faults.chunks(rows) {
        let mut group = file.next_row_group().map_err(error)?;
        for column in COLUMNS {
            let mut writer = group.next_column().map_err(error)?.ok_or_else(too_few)?;
            write_column(trace, faults, column, writer.untyped()).map_err(error)?;
            writer.close().map_err(error)?;
        }
        group.close().map_err(error)?;
        file.flush()?;
        out.write_all(file.inner())?;
        file.inner_mut().clear();
    }
    // This writes the footer.
    out.write_all(&file.into_inner().map_err(error)?)?;
    out.flush()
}

fn error(error: ParquetError) -> io::Error {
    io::Error::other(error)
}

/// The schema has a column for each of [`COLUMNS`]: this is never seen.
fn too_few() -> io::Error {
    io::Error::other("the Parquet schema has too few columns")
}

fn schema() -> Result<TypePtr, ParquetError> {
    let fields = COLUMNS.iter().map(|column| column.of_schema().map(Arc::new)).collect::<Result<_, _>>()?;
    Ok(Arc::new(Type::group_type_builder("fault").with_fields(fields).build()?))
}

fn properties(trace: &Trace) -> io::Result<WriterPropertiesPtr> {
    let mut properties = WriterProperties::builder()
        .set_created_by(format!("cowtrace version {}", trace.header.version))
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_dictionary_page_size_limit(DICTIONARY)
        .set_key_value_metadata(Some(metadata(trace)?));
    for column in COLUMNS {
        if let Some(encoding) = column.encoding() {
            let path = || ColumnPath::from(column.name);
            properties =
                properties.set_column_dictionary_enabled(path(), false).set_column_encoding(path(), encoding);
        }
    }
    Ok(Arc::new(properties.build()))
}

/// What is not about a single fault, each value as JSON Lines have it.
fn metadata(trace: &Trace) -> io::Result<Vec<KeyValue>> {
    let header = &trace.header;
    let processes: Vec<_> = trace.processes.iter().map(jsonl::process_line).collect();
    Ok(vec![
        pair("version", header.version.clone()),
        pair("schema", header.schema.to_string()),
        pair("command", as_json(&header.command)?),
        pair("start", header.start.clone()),
        pair("kernel", header.kernel.clone()),
        pair("probes", as_json(&header.probes)?),
        pair("missing", as_json(&header.missing)?),
        pair("interpreters", as_json(&header.interpreters)?),
        pair("losses", as_json(&trace.losses)?),
        pair("summary", as_json(&jsonl::summary_line(trace))?),
        pair("processes", as_json(&processes)?),
    ])
}

fn pair(key: &str, value: String) -> KeyValue {
    KeyValue::new(format!("cowtrace.{key}"), value)
}

fn as_json<T: Serialize>(value: &T) -> io::Result<String> {
    let mut text = Vec::new();
    json::write(&mut text, value)?;
    String::from_utf8(text).map_err(io::Error::other)
}

fn write_column(
    trace: &Trace,
    faults: &[Fault],
    column: &Column,
    writer: &mut ColumnWriter<'_>,
) -> Result<(), ParquetError> {
    match (column.kind, writer) {
        (Kind::Size(value), ColumnWriter::Int64ColumnWriter(writer)) => {
            // No time and no size gets there.
            let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
            values(faults, column, writer, |fault| value(trace, fault).map(signed))
        }
        (Kind::Address(value), ColumnWriter::Int64ColumnWriter(writer)) => {
            values(faults, column, writer, |fault| Some(value(fault).cast_signed()))
        }
        (Kind::Number(value), ColumnWriter::Int32ColumnWriter(writer)) => {
            values(faults, column, writer, |fault| value(trace, fault).map(u32::cast_signed))
        }
        (Kind::Text(key, text), ColumnWriter::ByteArrayColumnWriter(writer)) => {
            let mut texts = Texts::new(trace, text);
            values(faults, column, writer, |fault| texts.of(key(trace, fault)?))
        }
        _ => Err(ParquetError::General(format!("column {} is of another type", column.name))),
    }
}

/// Writes a column of one group; what has no value is null.
fn values<T: DataType>(
    faults: &[Fault],
    column: &Column,
    writer: &mut ColumnWriterImpl<'_, T>,
    mut value: impl FnMut(&Fault) -> Option<T::T>,
) -> Result<(), ParquetError> {
    let (mut present, mut levels) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
    for batch in faults.chunks(BATCH) {
        present.clear();
        levels.clear();
        for fault in batch {
            let value = value(fault);
            levels.push(i16::from(value.is_some()));
            present.extend(value);
        }
        writer.write_batch(&present, (!column.required).then_some(&levels[..]), None)?;
    }
    Ok(())
}
