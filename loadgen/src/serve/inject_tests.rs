//! How faults are written, and which requests they mean.

use super::*;

const MS: Duration = Duration::from_millis(1);
const S: Duration = Duration::from_secs(1);

fn every(number: u64) -> Share {
    Share::Every(NonZeroU64::new(number).expect("not 0"))
}

#[test]
fn every_form_is_understood() {
    let rate = |bytes| Fault::SlowRead(NonZeroU64::new(bytes).expect("not 0"));
    let windows = |at, length, every| Windows { at, length, every };
    for (text, fault) in [
        ("delay 5ms", Fault::Delay(Delay::Constant(5 * MS))),
        ("  delay   0s ", Fault::Delay(Delay::Constant(Duration::ZERO))),
        ("delay 1ms..9ms", Fault::Delay(Delay::Uniform(MS, 9 * MS))),
        (
            "delay 1ms 90% 100ms 10%",
            Fault::Delay(Delay::Bimodal(MS, 100 * MS, Share::PartsPerMillion(100_000))),
        ),
        (
            "delay 1ms 99.9999% 1s 0.0001%",
            Fault::Delay(Delay::Bimodal(MS, S, Share::PartsPerMillion(1))),
        ),
        ("stall 1s at 5s", Fault::Stall(windows(5 * S, S, None))),
        ("stall 1s at 0s every 10s", Fault::Stall(windows(Duration::ZERO, S, Some(10 * S)))),
        ("error every 10", Fault::Error(every(10))),
        ("error 1%", Fault::Error(Share::PartsPerMillion(10_000))),
        ("error 100%", Fault::Error(Share::PartsPerMillion(1_000_000))),
        ("close every 100", Fault::Close(every(100))),
        ("reset 0.5%", Fault::Reset(Share::PartsPerMillion(5_000))),
        ("drop every 1", Fault::Drop(every(1))),
        ("slow-read 64k/s", rate(64_000)),
        ("slow-read 10M/s", rate(10_000_000)),
        ("slow-read 1G/s", rate(1_000_000_000)),
        ("slow-read 9/s", rate(9)),
        ("accept-delay 10ms", Fault::AcceptDelay(10 * MS)),
        ("refuse at 5s for 2s", Fault::Refuse(windows(5 * S, 2 * S, None))),
        ("refuse at 5s for 2s every 1m", Fault::Refuse(windows(5 * S, 2 * S, Some(60 * S)))),
    ] {
        assert_eq!(text.parse(), Ok(Injection { backend: None, fault }), "{text}");
        assert_eq!(text.split_whitespace().next(), Some(fault.word()));
        for (name, backend) in [("B1:", "B1"), ("a:b : ", "a:b"), ("Server 9001: ", "Server 9001")]
        {
            let named = format!("{name}{text}");
            let expected = Injection { backend: Some(backend.to_owned()), fault };
            assert_eq!(named.parse(), Ok(expected), "{named}");
        }
    }
}

#[test]
fn whatever_else_is_refused_with_a_reason_and_the_grammar() {
    for (text, why) in [
        ("", "it is empty"),
        ("B1:", "it is empty"),
        (":delay 5ms", "there is no name before the colon"),
        ("delai 5ms", "there is no fault `delai`"),
        ("Delay 5ms", "there is no fault `Delay`"),
        ("delay", "that is not how delay is written"),
        ("delay 5ms 6ms", "that is not how delay is written"),
        ("delay 5", "`5` is no time"),
        ("delay -5ms", "`-5ms` is no time"),
        ("delay 9ms..1ms", "`9ms..1ms` goes down"),
        ("delay 1ms..", "`` is no time"),
        ("delay 1ms 90% 2ms 11%", "90% and 11% are not 100% together"),
        ("delay 1ms 90 2ms 10", "`90` is no percentage"),
        ("delay 1ms 100% 2ms 0%", "`0%` is no percentage"),
        ("stall 1s", "that is not how stall is written"),
        ("stall 1s for 5s", "that is not how stall is written"),
        ("stall 0s at 5s", "it takes no time"),
        ("stall 2s at 5s every 2s", "it comes again before it is over"),
        ("stall 2s at 5s every", "`every` is too much"),
        ("stall 2s at 5s often 9s", "`often 9s` is too much"),
        ("error", "it says not which requests"),
        ("error every", "it says not which requests"),
        ("error every 0", "`0` is no number from 1"),
        ("error every -1", "`-1` is no number from 1"),
        ("error every 1.5", "`1.5` is no number from 1"),
        ("error 0%", "`0%` is no percentage"),
        ("error 101%", "`101%` is no percentage"),
        ("error 0.00001%", "`0.00001%` is no percentage"),
        ("error +1%", "`+1%` is no percentage"),
        ("error 1.2.3%", "`1.2.3%` is no percentage"),
        ("error %", "`%` is no percentage"),
        ("error 1% 2%", "it says not which requests"),
        ("close now", "it says not which requests"),
        ("slow-read 64k", "`64k` is no rate"),
        ("slow-read 0k/s", "`0k/s` is no rate"),
        ("slow-read k/s", "`k/s` is no rate"),
        ("slow-read 99999999999G/s", "`99999999999G/s` is no rate"),
        ("slow-read", "that is not how slow-read is written"),
        ("accept-delay", "that is not how accept-delay is written"),
        ("accept-delay soon", "`soon` is no time"),
        ("refuse 2s at 5s", "that is not how refuse is written"),
    ] {
        let error = text.parse::<Injection>().expect_err(text).to_string();
        assert!(error.starts_with(&format!("`{text}` is no fault: {why}")), "{error}");
        assert!(error.ends_with(GRAMMAR), "{error}");
    }
}

#[test]
fn the_grammar_that_is_shown_is_understood() {
    let forms = GRAMMAR.lines().filter(|line| line.starts_with("  "));
    let mut seen = 0;
    for form in forms {
        let form = form.trim_start().split("  ").next().expect("there is a first part");
        for one in form.split(" | ") {
            let (whole, short) = (one.replace(['[', ']'], ""), one.split(" [").next());
            for text in [whole.as_str(), short.expect("there is a first part")] {
                assert!(text.parse::<Injection>().is_ok(), "{text}");
                seen += 1;
            }
        }
    }
    assert!(seen >= 22, "{seen}");
}

#[test]
fn shares_are_counted_out() {
    let numbers = |share: Share, until: u64| -> Vec<u64> {
        (1..=until).filter(|&number| share.hits(number)).collect()
    };
    assert_eq!(numbers(every(10), 40), [10, 20, 30, 40]);
    assert_eq!(numbers(every(1), 3), [1, 2, 3]);
    assert_eq!(numbers(Share::PartsPerMillion(100_000), 40), [10, 20, 30, 40]);
    assert_eq!(numbers(Share::PartsPerMillion(300_000), 10), [4, 7, 10]);
    assert_eq!(numbers(Share::PartsPerMillion(1_000_000), 3), [1, 2, 3]);
    for parts in [1, 7, 12_345, 333_333, 999_999] {
        let hits = numbers(Share::PartsPerMillion(parts), 1_000_000).len();
        assert_eq!(hits, parts as usize, "of a million it is as many as were asked for");
    }
    assert!(Share::PartsPerMillion(999_999).hits(u64::MAX));
}

#[test]
fn windows_open_once_or_again_and_again() {
    let once = Windows { at: 5 * S, length: S, every: None };
    let again = Windows { every: Some(10 * S), ..once };
    for (windows, at_ms, end_ms, next_ms) in [
        (once, 0, None, Some(5_000)),
        (once, 4_999, None, Some(5_000)),
        (once, 5_000, Some(6_000), Some(6_000)),
        (once, 5_999, Some(6_000), Some(6_000)),
        (once, 6_000, None, None),
        (once, 15_500, None, None),
        (again, 0, None, Some(5_000)),
        (again, 5_000, Some(6_000), Some(6_000)),
        (again, 6_000, None, Some(15_000)),
        (again, 15_500, Some(16_000), Some(16_000)),
        (again, 1_005_001, Some(1_006_000), Some(1_006_000)),
    ] {
        let at = at_ms * MS;
        assert_eq!(windows.end_of_open(at), end_ms.map(|ms: u32| ms * MS), "{windows:?} {at:?}");
        assert_eq!(windows.next_change(at), next_ms.map(|ms: u32| ms * MS), "{windows:?} {at:?}");
    }
}
