//! Prints a result like a real one, the same each time, as JSON: something to draw, judge or
//! convert without a run.

fn main() {
    print!("{}", loadgen::report::sample().to_json());
}
