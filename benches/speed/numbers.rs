//! What was measured.

use std::collections::BTreeMap;

use serde::Serialize;

/// Numbers by system and measure.
#[derive(Default, Serialize)]
pub(crate) struct Numbers {
    pub(crate) measured: BTreeMap<&'static str, BTreeMap<&'static str, f64>>,
    pub(crate) skipped: BTreeMap<&'static str, String>,
}

impl Numbers {
    pub(crate) fn set(&mut self, system: &'static str, measure: &'static str, value: f64) {
        eprintln!("  {system} {measure} = {value:.2}");
        self.measured.entry(system).or_default().insert(measure, value);
    }

    pub(crate) fn get(&self, system: &str, measure: &str) -> Option<f64> {
        self.measured.get(system)?.get(measure).copied()
    }

    pub(crate) fn skip(&mut self, system: &'static str, reason: String) {
        self.skipped.insert(system, reason);
    }
}

/// The value in the middle; 0 of nothing.
pub(crate) fn median(values: &[f64]) -> f64 {
    percentile(values, 50)
}

/// The value below which `percent` of all values lie; 0 of nothing.
pub(crate) fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut ordered = values.to_vec();
    ordered.sort_by(f64::total_cmp);
    // Nearest rank: of 200 values the 198th is the 99th percentile.
    let rank = (ordered.len() * percent).div_ceil(100);
    ordered.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}
