//! What a schedule promises: exact counts, the same for everybody, and true randomness.

use super::*;

const S: u64 = 1_000_000_000;
const RAMP: Duration = Duration::from_secs(10);

fn rate(text: &str) -> Rate {
    text.parse().expect(text)
}

/// The due times of one worker before `end_ns`.
fn before(end_ns: u64, mut schedule: Schedule) -> Vec<u64> {
    let next = || {
        let due_ns = schedule.peek_ns();
        schedule.advance();
        Some(due_ns)
    };
    std::iter::from_fn(next).take_while(|&due_ns| due_ns < end_ns).collect()
}

/// The due times of each worker of a constant load before `end_ns`.
fn constant(text: &str, workers: usize, end_ns: u64) -> Vec<Vec<u64>> {
    let schedule = |index| Schedule::new(Arrivals::Constant, rate(text), RAMP, 0, index, workers);
    (0..workers).map(|index| before(end_ns, schedule(index))).collect()
}

fn poisson(text: &str, seed: u64, index: usize, workers: usize) -> Schedule {
    Schedule::new(Arrivals::Poisson, rate(text), RAMP, seed, index, workers)
}

/// Gaps from one to the next, in units of their expected length.
#[expect(clippy::cast_precision_loss, reason = "less than 2^52 ns")]
fn gaps(due_ns: &[u64], mean_ns: f64) -> Vec<f64> {
    due_ns.windows(2).map(|pair| (pair[1] - pair[0]) as f64 / mean_ns).collect()
}

/// The greatest distance from the exponential distribution, times √n: above 1.95 for one sample in
/// a thousand (Kolmogorov).
#[expect(clippy::cast_precision_loss, reason = "not that many samples")]
fn kolmogorov_smirnov(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    let count = samples.len() as f64;
    let distance = |(at, &sample): (usize, &f64)| {
        let expected = 1.0 - (-sample).exp();
        (expected - at as f64 / count).max((at + 1) as f64 / count - expected)
    };
    samples.iter().enumerate().map(distance).fold(0.0, f64::max) * count.sqrt()
}

#[test]
fn a_rate_is_a_number_or_two() {
    for (text, from_per_s, to_per_s, shown) in [
        ("1000", 1000.0, 1000.0, "1k"),
        ("10k", 10_000.0, 10_000.0, "10k"),
        ("2.5k", 2500.0, 2500.0, "2.5k"),
        ("1.1M", 1_100_000.0, 1_100_000.0, "1.1M"),
        ("1234", 1234.0, 1234.0, "1234"),
        ("0.5", 0.5, 0.5, "0.5"),
        ("1k:5k", 1000.0, 5000.0, "1k:5k"),
        ("0:10", 0.0, 10.0, "0:10"),
        ("5k:5k", 5000.0, 5000.0, "5k"),
    ] {
        assert_eq!(rate(text), Rate { from_per_s, to_per_s }, "{text}");
        assert_eq!(rate(text).to_string(), shown);
        assert_eq!(rate(shown), rate(text));
    }
}

#[test]
fn what_is_no_rate_is_refused_with_an_example() {
    for (text, cure) in [
        ("", "1k:5k"),
        ("fast", "1k:5k"),
        ("1k:", "1k:5k"),
        ("1:2:3", "1k:5k"),
        ("-5", "1k:5k"),
        ("inf", "1k:5k"),
        ("0", "0:5k"),
        ("5k:0", "0:5k"),
        ("1001M", "nanoseconds"),
    ] {
        let error = text.parse::<Rate>().expect_err(text).to_string();
        assert!(error.contains(cure), "{error}");
    }
}

#[test]
fn arrivals_have_names() {
    for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
        assert_eq!(arrivals.to_string().parse(), Ok(arrivals));
    }
    let error = "random".parse::<Arrivals>().expect_err("no such kind").to_string();
    assert!(error.contains("constant or poisson"), "{error}");
}

#[test]
fn a_constant_rate_is_met_exactly_by_all_workers_together() {
    for (text, workers, expected) in
        [("1000", 1, 2000), ("1000", 3, 2000), ("7", 4, 14), ("333.5", 2, 667), ("1", 5, 2)]
    {
        let parts = constant(text, workers, 2 * S);
        let counts: Vec<usize> = parts.iter().map(Vec::len).collect();
        assert_eq!(counts.iter().sum::<usize>(), expected, "{text}");
        let (least, most) = (counts.iter().min(), counts.iter().max());
        assert!(most <= least.map(|least| least + 1).as_ref(), "{text}: {counts:?}");
    }
}

#[test]
fn workers_take_turns() {
    let parts = constant("1k", 4, S);
    let mut all: Vec<u64> = parts.concat();
    all.sort_unstable();
    let expected: Vec<u64> = (0..1000).map(|n| n * 1_000_000).collect();
    assert_eq!(all, expected);
    assert_eq!(parts[3][..2], [3_000_000, 7_000_000]);
}

#[test]
fn after_hours_at_a_million_a_second_each_request_is_still_due_to_the_nanosecond() {
    for per_s in [1_000_000, 999_983_u64] {
        let schedule = |text: &str| Schedule::new(Arrivals::Constant, rate(text), RAMP, 0, 0, 1);
        let Schedule { curve, .. } = schedule(&per_s.to_string());
        let ten_hours = per_s * 36_000;
        for n in (ten_hours..).step_by(997).take(10_000) {
            #[expect(clippy::cast_precision_loss, reason = "less than 2^52")]
            let due_ns = curve.reaches_ns(n as f64);
            let product = u128::from(due_ns) * u128::from(per_s);
            let off = product.abs_diff(u128::from(n) * u128::from(S));
            // Half a nanosecond is rounding, and a twentieth what the arithmetic may add.
            assert!(off * 20 <= u128::from(per_s) * 11, "request {n} at {due_ns}");
        }
    }
}

#[test]
fn a_ramp_has_the_requests_under_its_line_and_goes_on_at_its_end() {
    for (text, at_5_s, at_10_s, at_12_s) in [
        ("1k:5k", 10_000, 30_000, 40_000),
        ("5k:1k", 20_000, 30_000, 32_000),
        ("0:100", 125, 500, 700),
        ("10:10", 50, 100, 120),
    ] {
        for (seconds, expected) in [(5, at_5_s), (10, at_10_s), (12, at_12_s)] {
            let count: usize = constant(text, 3, seconds * S).iter().map(Vec::len).sum();
            assert_eq!(count, expected, "{text} in {seconds} s");
        }
    }
}

#[test]
fn a_ramp_of_no_length_is_at_its_end_from_the_beginning() {
    let schedule = Schedule::new(Arrivals::Constant, rate("1:1k"), Duration::ZERO, 0, 0, 1);
    assert_eq!(before(S, schedule).len(), 1000);
}

#[test]
fn a_ramp_is_due_in_order() {
    for text in ["1k:5k", "5k:1k", "0:5k"] {
        let due_ns = &constant(text, 1, 12 * S)[0];
        assert_eq!(due_ns[0], 0);
        assert!(due_ns.is_sorted_by(|a, b| a < b), "{text}");
    }
}

#[test]
fn gaps_of_poisson_arrivals_are_exponential() {
    for (workers, mean_ns) in [(1, 1e5), (4, 4e5)] {
        for index in 0..workers {
            let gaps = gaps(&before(10 * S, poisson("10k", 7, index, workers)), mean_ns);
            assert!(gaps.len() > 20_000, "{} gaps", gaps.len());
            let distance = kolmogorov_smirnov(gaps);
            assert!(distance < 1.95, "worker {index} of {workers}: {distance}");
        }
    }
}

#[test]
fn the_workers_of_a_poisson_load_make_one_of_the_whole_rate() {
    let mut all: Vec<u64> =
        (0..4).flat_map(|index| before(10 * S, poisson("10k", 7, index, 4))).collect();
    all.sort_unstable();
    let distance = kolmogorov_smirnov(gaps(&all, 1e5));
    assert!(distance < 1.95, "{distance}");
}

#[test]
fn the_test_of_goodness_of_fit_refuses_what_is_not_exponential() {
    let even = gaps(&constant("10k", 1, 10 * S)[0], 1e5);
    assert!(kolmogorov_smirnov(even) > 100.0);
    // A mean that is 3 % off is noticed.
    let slow = gaps(&before(10 * S, poisson("10k", 7, 0, 1)), 1.03e5);
    assert!(kolmogorov_smirnov(slow) > 1.95);
}

#[test]
fn a_poisson_window_has_about_as_many_as_its_rate_says() {
    // 100 000 are expected, with a standard deviation of 316: five of them either way.
    for seed in 0..20 {
        let count = before(10 * S, poisson("10k", seed, 0, 1)).len();
        assert!((98_400..=101_600).contains(&count), "seed {seed}: {count}");
    }
}

#[test]
fn poisson_arrivals_follow_a_ramp() {
    let due_ns = before(12 * S, poisson("1k:5k", 7, 0, 1));
    // By the rate's integral, 10 000 until then, 30 000 until the ramp ends, 40 000 in all.
    for (seconds, expected, deviations) in
        [(5, 10_000_usize, 500), (10, 30_000, 870), (12, 40_000, 1000)]
    {
        let count = due_ns.partition_point(|&due_ns| due_ns < seconds * S);
        assert!(count.abs_diff(expected) < deviations, "{count} in {seconds} s");
    }
    // Seen on the scale of that integral, the gaps are those of a constant rate.
    let integral = |due_ns: u64| {
        let t = Duration::from_nanos(due_ns).as_secs_f64();
        if t < 10.0 { 1000.0 * t + 200.0 * t * t } else { 30_000.0 + 5000.0 * (t - 10.0) }
    };
    let gaps = due_ns.windows(2).map(|pair| integral(pair[1]) - integral(pair[0])).collect();
    let distance = kolmogorov_smirnov(gaps);
    assert!(distance < 1.95, "{distance}");
}

#[test]
fn a_seed_gives_the_same_schedule_and_another_seed_or_worker_another_one() {
    let first = before(S, poisson("1k", 1, 0, 2));
    assert_eq!(first, before(S, poisson("1k", 1, 0, 2)));
    assert_ne!(first, before(S, poisson("1k", 2, 0, 2)));
    assert_ne!(first, before(S, poisson("1k", 1, 1, 2)));
    // On every platform, and in every version that does not say otherwise.
    assert_eq!(first[..4], [3_784_262, 5_285_795, 7_064_936, 9_867_910]);
}

#[test]
fn workers_draw_independently_of_each_other() {
    let [first, second] =
        [0, 1].map(|index| gaps(&before(20 * S, poisson("1k", 1, index, 2)), 2e6));
    let products: Vec<f64> =
        first.iter().zip(&second).map(|(a, b)| (a - 1.0) * (b - 1.0)).collect();
    #[expect(clippy::cast_precision_loss, reason = "not that many samples")]
    let correlation = products.iter().sum::<f64>() / products.len() as f64;
    // Its standard deviation is 0.01 with 10 000 pairs.
    assert!(correlation.abs() < 0.05, "{correlation}");
}
