//! Traces and metrics for an OpenTelemetry collector, by its protocol over gRPC
//! (<https://opentelemetry.io/docs/specs/otlp/>). The few messages that the agent says are written down here: spans are told
//! when they are over, hours after their trace began or after a restart, which needs neither the SDK nor its global state.

mod collector;
mod exporter;
mod messages;
mod metrics;

pub use exporter::Exporter;
