//! Families of metrics, each written with all its values.

use std::fmt;

use corex_common::counters::Counter;
use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeCounterValue, EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use corex_script::latency::{BOUNDS, Histogram};

/// Names and values of labels.
pub(super) type Labels = Vec<(&'static str, String)>;

/// Labels of these names and values.
pub(super) fn labels<const N: usize>(labels: [(&'static str, &str); N]) -> Labels {
    let own = |(name, value): (&'static str, &str)| (name, value.to_owned());
    labels.into_iter().map(own).collect()
}

/// The values of a set of counters with the labels that say whose they are.
pub(super) struct Counted {
    /// In the order of the counters' table.
    pub values: Vec<u64>,
    /// Empty: there is one set.
    pub whose: Labels,
}

/// Writes families of metrics.
pub(super) struct Writer<'a>(pub DescriptorEncoder<'a>);

impl Writer<'_> {
    /// A family of counters.
    pub fn counters<N: EncodeCounterValue + fmt::Debug>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels, N)>,
    ) -> fmt::Result {
        let encoder = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        family(
            encoder,
            values
                .into_iter()
                .map(|(labels, value)| (labels, ConstCounter::new(value))),
        )
    }

    /// A family of gauges.
    pub fn gauges(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels, f64)>,
    ) -> fmt::Result {
        let encoder = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        family(
            encoder,
            values
                .into_iter()
                .map(|(labels, value)| (labels, ConstGauge::new(value))),
        )
    }

    /// Sets of the same counters: verdicts become one family with the labels `verdict` and
    /// `reason`, every other counter a family of its own, but for times, which
    /// the caller writes in seconds.
    pub fn sets(
        &mut self,
        prefix: &str,
        verdicts: (&str, &str),
        counters: &[Counter],
        sets: &[Counted],
    ) -> fmt::Result {
        if sets.is_empty() {
            return Ok(());
        }
        let of_verdict = sets.iter().flat_map(|set| {
            let all = counters.iter().zip(&set.values);
            all.filter_map(|(counter, value)| {
                let (verdict, reason) = counter.verdict()?;
                let mut labels = set.whose.clone();
                labels.push(("verdict", verdict.to_owned()));
                labels.push(("reason", reason.to_owned()));
                Some((labels, *value))
            })
        });
        self.counters(verdicts.0, verdicts.1, of_verdict)?;
        for (at, counter) in counters.iter().enumerate() {
            if counter.verdict().is_some() || counter.name.ends_with("_ns") {
                continue;
            }
            let values = sets.iter().map(|set| {
                let value = set.values.get(at).copied().unwrap_or(0);
                (set.whose.clone(), value)
            });
            let name = format!("{prefix}_{}", counter.name);
            self.counters(&name, &plain(counter.doc), values)?;
        }
        Ok(())
    }

    /// A family of histograms.
    pub fn histograms<'h>(
        &mut self,
        name: &str,
        help: &str,
        histograms: impl IntoIterator<Item = (Labels, &'h Histogram)>,
    ) -> fmt::Result {
        let mut family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (labels, histogram) in histograms {
            let bounds = BOUNDS
                .iter()
                .map(|bound| seconds(*bound))
                .chain([f64::INFINITY]);
            let buckets: Vec<(f64, u64)> = bounds.zip(histogram.buckets).collect();
            let labels = labels.as_slice();
            family
                .encode_family(&labels)?
                .encode_histogram::<NoLabelSet>(
                    seconds(histogram.sum),
                    histogram.count(),
                    &buckets,
                    None,
                )?;
        }
        Ok(())
    }
}

/// All values of a family.
fn family<M: EncodeMetric>(
    mut encoder: MetricEncoder<'_>,
    values: impl IntoIterator<Item = (Labels, M)>,
) -> fmt::Result {
    let values: Vec<(Labels, M)> = values.into_iter().collect();
    match &values[..] {
        // Without labels there are no braces either.
        [(labels, value)] if labels.is_empty() => value.encode(encoder),
        values => values.iter().try_for_each(|(labels, value)| {
            value.encode(encoder.encode_family(&labels.as_slice())?)
        }),
    }
}

/// Nanoseconds in the unit that metrics are to have.
pub(super) fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

/// A docstring as help: one line, without links and the full stop.
pub(super) fn plain(doc: &str) -> String {
    let text = doc
        .trim()
        .replace("[`", "")
        .replace("`]", "")
        .replace('`', "");
    text.trim_end_matches('.').to_owned()
}
