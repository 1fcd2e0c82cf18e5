//! One axis: where a value lies on it, and where its ticks are.

/// An axis between two values, linear or logarithmic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
}

impl Axis {
    /// From zero to a round number that `high` fits below.
    #[must_use]
    pub fn from_zero(high: f64) -> Self {
        let high = if high > 0.0 { high } else { 1.0 };
        let step = round_up(high / 5.0);
        Self { low: 0.0, high: (high / step - 1e-9).ceil() * step, logarithmic: false }
    }

    /// From zero to exactly `high`, for time.
    #[must_use]
    pub fn exact(high: f64) -> Self {
        Self { low: 0.0, high: if high > 0.0 { high } else { 1.0 }, logarithmic: false }
    }

    /// Logarithmic, from round numbers to round numbers around both.
    #[must_use]
    pub fn logarithmic(low: f64, high: f64) -> Self {
        let low = round_down(low.max(1.0));
        let high = round_up(high.max(low * 2.0));
        Self { low, high, logarithmic: true }
    }

    /// Where a value lies: 0 at the low end, 1 at the high end, never outside.
    #[must_use]
    pub fn at(&self, value: f64) -> f64 {
        let part = if self.logarithmic {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        part.clamp(0.0, 1.0)
    }

    /// The low end.
    #[must_use]
    pub fn low(&self) -> f64 {
        self.low
    }

    /// The high end.
    #[must_use]
    pub fn high(&self) -> f64 {
        self.high
    }

    /// Round values from the low end to the high end, seldom more than eight.
    #[must_use]
    pub fn ticks(&self) -> Vec<f64> {
        if self.logarithmic { self.decades() } else { self.steps() }
    }

    fn steps(&self) -> Vec<f64> {
        let step = round_up(self.high / 6.0);
        let ticks = (0_u32..).map(|index| f64::from(index) * step);
        ticks.take_while(|&tick| tick <= self.high * (1.0 + 1e-9)).collect()
    }

    fn decades(&self) -> Vec<f64> {
        let wide = (self.high / self.low).log10() > 2.4;
        let mantissas: &[f64] = if wide { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let first = self.low.log10().floor();
        let decades = (0_u32..12).map(|index| 10_f64.powf(first + f64::from(index)));
        let ticks = decades.flat_map(|decade| mantissas.iter().map(move |one| one * decade));
        let within =
            |tick: &f64| (self.low * (1.0 - 1e-9)..=self.high * (1.0 + 1e-9)).contains(tick);
        ticks.filter(within).collect()
    }
}

/// The next of 1, 2, 5, 10, 20, ... that is not less.
fn round_up(value: f64) -> f64 {
    let decade = 10_f64.powf(value.log10().floor());
    let fits = |one: &&f64| **one * decade >= value * (1.0 - 1e-9);
    [1.0, 2.0, 5.0].iter().find(fits).unwrap_or(&10.0) * decade
}

/// The next of 1, 2, 5, 10, 20, ... that is not more.
fn round_down(value: f64) -> f64 {
    let decade = 10_f64.powf(value.log10().floor());
    let fits = |one: &&f64| **one * decade <= value * (1.0 + 1e-9);
    [5.0, 2.0, 1.0].iter().find(fits).unwrap_or(&1.0) * decade
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_and_ticks_are_round() {
        let axis = Axis::from_zero(20_700.0);
        assert_eq!(axis.ticks(), [0.0, 5_000.0, 10_000.0, 15_000.0, 20_000.0, 25_000.0]);
        let axis = Axis::logarithmic(83_000.0, 340_000_000.0);
        assert_eq!((axis.low(), axis.high()), (50_000.0, 500_000_000.0));
        let decades = axis.ticks().iter().map(|tick| tick.log10().round()).collect::<Vec<_>>();
        assert_eq!(decades, [5.0, 6.0, 7.0, 8.0]);
    }

    #[test]
    fn a_narrow_logarithmic_axis_has_ticks_within_the_decade() {
        let ticks = Axis::logarithmic(110.0, 450.0).ticks();
        let rounded = ticks.iter().map(|tick| tick.round()).collect::<Vec<_>>();
        assert_eq!(rounded, [100.0, 200.0, 500.0]);
    }

    #[test]
    fn every_value_lies_on_the_axis() {
        for axis in [Axis::from_zero(0.0), Axis::exact(0.0), Axis::logarithmic(0.0, 0.0)] {
            for value in [-1.0, 0.0, 1.0, 1e12] {
                let at = axis.at(value);
                assert!((0.0..=1.0).contains(&at), "{value} at {at} of {axis:?}");
            }
            assert!((2..=12).contains(&axis.ticks().len()), "{axis:?}");
        }
    }
}
