//! The messages of a request with metrics, with the names and structure of the crate
//! `opentelemetry-proto`.
//!
//! They are for `wasm32-unknown-unknown` only, where that crate needs a JavaScript host and 400 kB.
//! Tests decode with that crate what a component has encoded with these.
//!
//! Source: `opentelemetry/proto/**/v1/*.proto` of OTLP 1.10; the tags are those of the fields
//! there.

#![allow(missing_docs, reason = "the specification says what each field is")]

pub mod collector {
    pub mod metrics {
        pub mod v1 {
            use super::super::super::metrics::v1::ResourceMetrics;

            #[derive(Clone, PartialEq, prost::Message)]
            pub struct ExportMetricsServiceRequest {
                #[prost(message, repeated, tag = "1")]
                pub resource_metrics: Vec<ResourceMetrics>,
            }
        }
    }
}

pub mod common {
    pub mod v1 {
        #[derive(Clone, PartialEq, prost::Message)]
        pub struct AnyValue {
            #[prost(oneof = "any_value::Value", tags = "1")]
            pub value: Option<any_value::Value>,
        }

        pub mod any_value {
            #[derive(Clone, PartialEq, prost::Oneof)]
            pub enum Value {
                #[prost(string, tag = "1")]
                StringValue(String),
            }
        }

        #[derive(Clone, PartialEq, prost::Message)]
        pub struct KeyValue {
            #[prost(string, tag = "1")]
            pub key: String,
            #[prost(message, optional, tag = "2")]
            pub value: Option<AnyValue>,
        }

        #[derive(Clone, PartialEq, prost::Message)]
        pub struct InstrumentationScope {
            #[prost(string, tag = "1")]
            pub name: String,
        }
    }
}

pub mod resource {
    pub mod v1 {
        use super::super::common::v1::KeyValue;

        #[derive(Clone, PartialEq, prost::Message)]
        pub struct Resource {
            #[prost(message, repeated, tag = "1")]
            pub attributes: Vec<KeyValue>,
        }
    }
}

pub mod metrics {
    pub mod v1 {
        use super::super::common::v1::{InstrumentationScope, KeyValue};
        use super::super::resource::v1::Resource;

        #[derive(Clone, PartialEq, prost::Message)]
        pub struct ResourceMetrics {
            #[prost(message, optional, tag = "1")]
            pub resource: Option<Resource>,
            #[prost(message, repeated, tag = "2")]
            pub scope_metrics: Vec<ScopeMetrics>,
            #[prost(string, tag = "3")]
            pub schema_url: String,
        }

        #[derive(Clone, PartialEq, prost::Message)]
        pub struct ScopeMetrics {
            #[prost(message, optional, tag = "1")]
            pub scope: Option<InstrumentationScope>,
            #[prost(message, repeated, tag = "2")]
            pub metrics: Vec<Metric>,
            #[prost(string, tag = "3")]
            pub schema_url: String,
        }

        #[derive(Clone, PartialEq, prost::Message)]
        pub struct Metric {
            #[prost(string, tag = "1")]
            pub name: String,
            #[prost(string, tag = "2")]
            pub description: String,
            #[prost(string, tag = "3")]
            pub unit: String,
            #[prost(message, repeated, tag = "12")]
            pub metadata: Vec<KeyValue>,
            #[prost(oneof = "metric::Data", tags = "5, 7, 9, 10")]
            pub data: Option<metric::Data>,
        }

        pub mod metric {
            #[derive(Clone, PartialEq, prost::Oneof)]
            pub enum Data {
                #[prost(message, tag = "5")]
                Gauge(super::Gauge),
                #[prost(message, tag = "7")]
                Sum(super::Sum),
                #[prost(message, tag = "9")]
                Histogram(super::Histogram),
                #[prost(message, tag = "10")]
                ExponentialHistogram(super::ExponentialHistogram),
            }
        }

        #[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
        #[repr(i32)]
        pub enum AggregationTemporality {
            Unspecified = 0,
            Delta = 1,
            Cumulative = 2,
        }

        #[derive(Clone, PartialEq, prost::Message)]
        pub struct Gauge {
            #[prost(message, repeated, tag = "1")]
            pub data_points: Vec<NumberDataPoint>,
        }

        #[derive(Clone, PartialEq, prost::Message)]
        pub struct Sum {
            #[prost(message, repeated, tag = "1")]
            pub data_points: Vec<NumberDataPoint>,
            #[prost(enumeration = "AggregationTemporality", tag = "2")]
            pub aggregation_temporality: i32,
            #[prost(bool, tag = "3")]
            pub is_monotonic: bool,
        }

        #[derive(Clone, PartialEq, prost::Message)]
        pub struct Histogram {
            #[prost(message, repeated, tag = "1")]
            pub data_points: Vec<HistogramDataPoint>,
            #[prost(enumeration = "AggregationTemporality", tag = "2")]
            pub aggregation_temporality: i32,
        }

        #[derive(Clone, PartialEq, prost::Message)]
        pub struct ExponentialHistogram {
            #[prost(message, repeated, tag = "1")]
            pub data_points: Vec<ExponentialHistogramDataPoint>,
            #[prost(enumeration = "AggregationTemporality", tag = "2")]
            pub aggregation_temporality: i32,
        }

        #[derive(Clone, PartialEq, prost::Message)]
        pub struct NumberDataPoint {
            #[prost(message, repeated, tag = "7")]
            pub attributes: Vec<KeyValue>,
            #[prost(fixed64, tag = "2")]
            pub start_time_unix_nano: u64,
            #[prost(fixed64, tag = "3")]
            pub time_unix_nano: u64,
            #[prost(oneof = "number_data_point::Value", tags = "4, 6")]
            pub value: Option<number_data_point::Value>,
            #[prost(uint32, tag = "8")]
            pub flags: u32,
        }

        pub mod number_data_point {
            #[derive(Clone, Copy, PartialEq, prost::Oneof)]
            pub enum Value {
                #[prost(double, tag = "4")]
                AsDouble(f64),
                #[prost(sfixed64, tag = "6")]
                AsInt(i64),
            }
        }

        #[derive(Clone, PartialEq, prost::Message)]
        pub struct Exemplar {
            #[prost(message, repeated, tag = "7")]
            pub filtered_attributes: Vec<KeyValue>,
            #[prost(fixed64, tag = "2")]
            pub time_unix_nano: u64,
            #[prost(bytes = "vec", tag = "4")]
            pub span_id: Vec<u8>,
            #[prost(bytes = "vec", tag = "5")]
            pub trace_id: Vec<u8>,
            #[prost(oneof = "exemplar::Value", tags = "3")]
            pub value: Option<exemplar::Value>,
        }

        pub mod exemplar {
            #[derive(Clone, Copy, PartialEq, prost::Oneof)]
            pub enum Value {
                #[prost(double, tag = "3")]
                AsDouble(f64),
            }
        }

        #[derive(Clone, PartialEq, prost::Message)]
        pub struct HistogramDataPoint {
            #[prost(message, repeated, tag = "9")]
            pub attributes: Vec<KeyValue>,
            #[prost(fixed64, tag = "2")]
            pub start_time_unix_nano: u64,
            #[prost(fixed64, tag = "3")]
            pub time_unix_nano: u64,
            #[prost(fixed64, tag = "4")]
            pub count: u64,
            #[prost(double, optional, tag = "5")]
            pub sum: Option<f64>,
            #[prost(fixed64, repeated, tag = "6")]
            pub bucket_counts: Vec<u64>,
            #[prost(double, repeated, tag = "7")]
            pub explicit_bounds: Vec<f64>,
            #[prost(message, repeated, tag = "8")]
            pub exemplars: Vec<Exemplar>,
            #[prost(uint32, tag = "10")]
            pub flags: u32,
        }

        #[derive(Clone, PartialEq, prost::Message)]
        pub struct ExponentialHistogramDataPoint {
            #[prost(message, repeated, tag = "1")]
            pub attributes: Vec<KeyValue>,
            #[prost(fixed64, tag = "2")]
            pub start_time_unix_nano: u64,
            #[prost(fixed64, tag = "3")]
            pub time_unix_nano: u64,
            #[prost(fixed64, tag = "4")]
            pub count: u64,
            #[prost(double, optional, tag = "5")]
            pub sum: Option<f64>,
            #[prost(sint32, tag = "6")]
            pub scale: i32,
            #[prost(fixed64, tag = "7")]
            pub zero_count: u64,
            #[prost(message, optional, tag = "8")]
            pub positive: Option<exponential_histogram_data_point::Buckets>,
            #[prost(uint32, tag = "10")]
            pub flags: u32,
            #[prost(message, repeated, tag = "11")]
            pub exemplars: Vec<Exemplar>,
            #[prost(double, tag = "14")]
            pub zero_threshold: f64,
        }

        pub mod exponential_histogram_data_point {
            #[derive(Clone, PartialEq, prost::Message)]
            pub struct Buckets {
                #[prost(sint32, tag = "1")]
                pub offset: i32,
                #[prost(uint64, repeated, tag = "2")]
                pub bucket_counts: Vec<u64>,
            }
        }
    }
}
