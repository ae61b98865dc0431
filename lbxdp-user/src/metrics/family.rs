//! Metrics of one name: what they are, and where their values come from.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::Exposition;
use crate::api::{Status, Traffic};

/// Metrics of one name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Family {
    /// The name, without prefix, unit and `_total`.
    name: &'static str,
    kind: Kind,
    unit: Option<Base>,
    labels: &'static [&'static str],
    help: &'static str,
    samples: Source,
}

/// What kind of value it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// Grows, until maps or agent begin anew.
    Counter,
    /// Is what it is now.
    Gauge,
}

/// Base units, as they stand in names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Base {
    Bytes,
    Ratio,
    Seconds,
}

/// Where the values come from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    /// Known even when the agent does not answer.
    Always(fn(&Exposition, &mut Samples<'_>) -> fmt::Result),
    /// What the agent answers.
    Status(fn(&Status, &mut Samples<'_>) -> fmt::Result),
}

impl Family {
    /// A count that grows.
    pub(super) const fn counter(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
        samples: Source,
    ) -> Self {
        Self {
            name,
            kind: Kind::Counter,
            unit: None,
            labels,
            help,
            samples,
        }
    }

    /// A value that goes up and down.
    pub(super) const fn gauge(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
        samples: Source,
    ) -> Self {
        Self {
            kind: Kind::Gauge,
            ..Self::counter(name, labels, help, samples)
        }
    }

    /// The same, of bytes.
    pub(super) const fn bytes(self) -> Self {
        self.of(Base::Bytes)
    }

    /// The same, of something between 0 and 1.
    pub(super) const fn ratio(self) -> Self {
        self.of(Base::Ratio)
    }

    /// The same, of seconds.
    pub(super) const fn seconds(self) -> Self {
        self.of(Base::Seconds)
    }

    const fn of(self, unit: Base) -> Self {
        Self {
            unit: Some(unit),
            ..self
        }
    }

    /// The whole name, as queries write it.
    pub(super) fn full_name(&self) -> String {
        let unit = match self.unit {
            None => "",
            Some(Base::Bytes) => "_bytes",
            Some(Base::Ratio) => "_ratio",
            Some(Base::Seconds) => "_seconds",
        };
        let total = match self.kind {
            Kind::Counter => "_total",
            Kind::Gauge => "",
        };
        format!("{}_{}{unit}{total}", super::PREFIX, self.name)
    }

    /// A row of the reference.
    pub(super) fn row(&self) -> String {
        let kind = match self.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let labels: Vec<String> = self.labels.iter().map(|name| format!("`{name}`")).collect();
        let labels = labels.join(", ");
        format!(
            "| `{}` | {kind} | {labels} | {} |\n",
            self.full_name(),
            self.help
        )
    }

    /// Writes all samples there are.
    pub(super) fn encode(
        &self,
        exposition: &Exposition,
        encoder: &mut DescriptorEncoder<'_>,
    ) -> fmt::Result {
        let unit = self.unit.map(|unit| match unit {
            Base::Bytes => Unit::Bytes,
            // The library has the plural, the field has not.
            Base::Ratio => Unit::Other("ratio".to_owned()),
            Base::Seconds => Unit::Seconds,
        });
        let kind = match self.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
        };
        let mut samples = Samples {
            encoder: encoder.encode_descriptor(self.name, self.help, unit.as_ref(), kind)?,
            kind: self.kind,
            labels: self.labels,
        };
        match (self.samples, &exposition.status) {
            (Source::Always(write), _) => write(exposition, &mut samples),
            (Source::Status(write), Some(status)) => write(status, &mut samples),
            (Source::Status(_), None) => Ok(()),
        }
    }
}

/// Takes the samples of a family.
#[derive(Debug)]
pub(super) struct Samples<'a> {
    encoder: MetricEncoder<'a>,
    kind: Kind,
    labels: &'static [&'static str],
}

impl Samples<'_> {
    /// A value with these values of the labels.
    pub(super) fn add(&mut self, labels: &[&str], value: impl Into<Value>) -> fmt::Result {
        debug_assert_eq!(labels.len(), self.labels.len(), "{:?}", self.labels);
        let labels: Vec<(&str, &str)> = std::iter::zip(self.labels, labels)
            .map(|(&name, &value)| (name, value))
            .collect();
        let encoder = self.encoder.encode_family(&labels)?;
        match (self.kind, value.into()) {
            (Kind::Counter, Value::Whole(value)) => ConstCounter::new(value).encode(encoder),
            (Kind::Counter, Value::Real(value)) => ConstCounter::new(value).encode(encoder),
            (Kind::Gauge, Value::Whole(value)) => ConstGauge::new(value).encode(encoder),
            (Kind::Gauge, Value::Real(value)) => ConstGauge::new(value).encode(encoder),
        }
    }

    /// The same, if there is a value.
    pub(super) fn add_some(
        &mut self,
        labels: &[&str],
        value: Option<impl Into<Value>>,
    ) -> fmt::Result {
        value.map_or(Ok(()), |value| self.add(labels, value))
    }

    /// 1 for the state that something is in, 0 for all others; the state is the last label.
    pub(super) fn add_states(
        &mut self,
        labels: &[&str],
        states: &[&str],
        current: &str,
    ) -> fmt::Result {
        for state in states {
            self.add(&[labels, &[state]].concat(), *state == current)?;
        }
        if states.contains(&current) {
            return Ok(());
        }
        self.add(&[labels, &[current]].concat(), true)
    }

    /// What has gone both ways; the direction is the last label.
    pub(super) fn add_ways(&mut self, labels: &[&str], forward: u64, reply: u64) -> fmt::Result {
        self.add(&[labels, &["forward"]].concat(), forward)?;
        self.add(&[labels, &["reply"]].concat(), reply)
    }

    /// Packets both ways.
    pub(super) fn add_packets(&mut self, labels: &[&str], traffic: &Traffic) -> fmt::Result {
        self.add_ways(labels, traffic.packets, traffic.reply_packets)
    }

    /// Bytes both ways.
    pub(super) fn add_bytes(&mut self, labels: &[&str], traffic: &Traffic) -> fmt::Result {
        self.add_ways(labels, traffic.bytes, traffic.reply_bytes)
    }
}

/// The value of a sample.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Value {
    Whole(u64),
    Real(f64),
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Whole(value.into())
    }
}

impl From<u16> for Value {
    fn from(value: u16) -> Self {
        Self::Whole(value.into())
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Whole(value.into())
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self::Whole(u64::try_from(value).unwrap_or(u64::MAX))
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}
