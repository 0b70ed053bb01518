//! A run as SVG.

use std::fmt::Display;

use anyhow::{Error, Result};
use plotters::{
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::bench::{
    results::{By, Run, Series},
    statistics::{median, ratios},
};

const WIDTH: u32 = 860;
/// Height of a line, and of all around the lines.
const LINE: u32 = 22;
const AROUND: u32 = 60;
/// Where the names of devices are.
const NAMES: u32 = 240;
const FONT: (&str, u32) = ("sans-serif", 13);

/// By who does the work; also where colours aren't seen as such they differ in lightness.
fn colour(by: By) -> RGBColor {
    match by {
        By::Bare => RGBColor(170, 170, 170),
        By::Corex => RGBColor(0, 90, 170),
        By::Kamailio => RGBColor(230, 140, 40),
    }
}

fn failed(error: impl Display) -> Error {
    Error::msg(format!("draw: {error}"))
}

/// All plots, by name.
///
/// # Errors
/// They can't be drawn.
pub fn all(run: &Run) -> Result<Vec<(&'static str, String)>> {
    Ok(vec![
        ("rates", rates(run)?),
        ("latencies", latencies(run)?),
        ("growth", growth(run)?),
    ])
}

/// A line of a plot by device: values from the best on.
struct Bar<'a> {
    name: &'a str,
    by: By,
    values: Vec<f64>,
}

fn rates(run: &Run) -> Result<String> {
    let bars: Vec<Bar<'_>> = run
        .rows
        .iter()
        .map(|row| {
            let rates: Vec<f64> = row.turns.iter().map(|turn| turn.rate / 1e3).collect();
            Bar {
                name: &row.name,
                by: row.by,
                values: median(&rates).into_iter().collect(),
            }
        })
        .collect();
    by_device("thousand messages each second", &bars)
}

fn latencies(run: &Run) -> Result<String> {
    let bars: Vec<Bar<'_>> = run
        .rows
        .iter()
        .map(|row| Bar {
            name: &row.name,
            by: row.by,
            values: [
                row.at_half(|latency| latency.p50),
                row.at_half(|latency| latency.p99),
                row.at_half(|latency| latency.p999),
            ]
            .into_iter()
            .flatten()
            .collect(),
        })
        .collect();
    by_device("µs at half load: p50, p99, p99.9", &bars)
}

/// A range that has all values, for a logarithmic axis.
fn around(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let positive = values.filter(|value| *value > 0.0);
    let low = positive.clone().min_by(f64::total_cmp).unwrap_or(1.0);
    let high = positive.max_by(f64::total_cmp).unwrap_or(10.0);
    (low / 1.5, high * 1.5)
}

/// Bars from the left to the first value, and a mark at each further one.
fn by_device(title: &str, bars: &[Bar<'_>]) -> Result<String> {
    let mut svg = String::new();
    let count = bars.len() as f64;
    {
        let height = AROUND + LINE * bars.len() as u32;
        let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        root.fill(&WHITE).map_err(failed)?;
        let (low, high) = around(bars.iter().flat_map(|bar| bar.values.iter().copied()));
        let mut chart = ChartBuilder::on(&root)
            .margin(8)
            .x_label_area_size(40)
            .y_label_area_size(NAMES)
            .build_cartesian_2d((low..high).log_scale(), 0.0..count)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .y_labels(0)
            .x_desc(title)
            .label_style(FONT)
            .draw()
            .map_err(failed)?;
        let names = TextStyle::from(FONT.into_font()).pos(Pos::new(HPos::Right, VPos::Center));
        for (index, bar) in bars.iter().enumerate() {
            let middle = count - index as f64 - 0.5;
            let left = chart.backend_coord(&(low, middle));
            root.draw_text(bar.name, &names, (left.0 - 8, left.1))
                .map_err(failed)?;
            let mut from = low;
            for (rank, value) in bar.values.iter().enumerate() {
                let strength = 1.0 / (rank as f64 + 1.0);
                let corners = [(from, middle - 0.35), (*value, middle + 0.35)];
                let style = colour(bar.by).mix(strength).filled();
                chart
                    .draw_series([Rectangle::new(corners, style)])
                    .map_err(failed)?;
                from = *value;
            }
        }
        root.present().map_err(failed)?;
    }
    Ok(svg)
}

/// A line of the plot of growth: how many, and the ratio to the first.
fn line(series: &Series) -> Vec<(f64, f64)> {
    let some = |rates: &[f64]| rates.iter().copied().map(Some).collect::<Vec<_>>();
    let points = series.points.iter().filter_map(|point| {
        let ratios = ratios(&some(&point.rates), &some(&series.points.first()?.rates));
        Some((point.x as f64, median(&ratios)?))
    });
    points.collect()
}

fn growth(run: &Run) -> Result<String> {
    let mut svg = String::new();
    let lines: Vec<(&str, Vec<(f64, f64)>)> = run
        .growth
        .iter()
        .map(|series| (series.name.as_str(), line(series)))
        .collect();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, 420)).into_drawing_area();
        root.fill(&WHITE).map_err(failed)?;
        let points = || lines.iter().flat_map(|(_, line)| line);
        let (low, high) = around(points().map(|(x, _)| *x));
        let top = points().map(|(_, ratio)| *ratio).fold(1.0, f64::max) * 1.2;
        let mut chart = ChartBuilder::on(&root)
            .margin(8)
            .x_label_area_size(40)
            .y_label_area_size(60)
            .build_cartesian_2d((low..high).log_scale(), 0.0..top)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .x_desc("how many")
            .y_desc("rate, to that of the first point")
            .label_style(FONT)
            .draw()
            .map_err(failed)?;
        for (index, (name, line)) in lines.iter().enumerate() {
            let colour = Palette99::pick(index).to_rgba();
            let marks = line
                .iter()
                .map(|point| Circle::new(*point, 4, colour.filled()));
            chart.draw_series(marks).map_err(failed)?;
            chart
                .draw_series(LineSeries::new(line.clone(), colour.stroke_width(2)))
                .map_err(failed)?
                .label(*name)
                .legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2))
                });
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerLeft)
            .label_font(FONT)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK)
            .draw()
            .map_err(failed)?;
        root.present().map_err(failed)?;
    }
    Ok(svg)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::results::tests::sample;

    #[test]
    fn every_device_and_every_series_is_in_a_plot_and_the_same_run_gives_the_same_plot() {
        let run = sample();
        let plots = all(&run).unwrap();
        assert_eq!(plots, all(&run).unwrap());
        for (name, svg) in &plots {
            assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
            let names: Vec<&String> = match *name {
                "growth" => run.growth.iter().map(|series| &series.name).collect(),
                _ => run.rows.iter().map(|row| &row.name).collect(),
            };
            for word in names {
                assert!(svg.contains(word.as_str()), "{word} in {name}");
            }
        }
    }

    #[test]
    fn a_run_without_any_figure_is_drawn_as_well() {
        let mut run = sample();
        run.growth.clear();
        for row in &mut run.rows {
            row.turns.clear();
        }
        assert_eq!(all(&run).unwrap().len(), 3);
    }
}
