//! The order of turns: smooth weighted round robin, worked out beforehand.
//!
//! At each step every backend's credit grows by its weight; the one with the most credit has the
//! turn and pays the sum of all weights for it, as in nginx. Weights 5, 1, 1 give a a b a c a a, not
//! a a a a a b c. After as many turns as the weights add up to, every credit is zero again, so that
//! list of turns is all there is, and shards that share a count of turns share the order exactly.

/// Longer schedules take the memory of a CPU's second cache, and longer to work out, for shares that
/// nobody can tell from these.
const MAX_LENGTH: u32 = 65_536;

/// The order of turns as indices of `weights`, each as often as its weight says, reduced.
///
/// Weights that add up to more than [`MAX_LENGTH`] are scaled down; a backend keeps one turn at
/// least.
pub(super) fn schedule(weights: &[u32]) -> Box<[u16]> {
    let weights = reduced(weights);
    let total: u32 = weights.iter().sum();
    let mut credits = vec![0_i32; weights.len()];
    let mut turn = || {
        for (credit, &weight) in credits.iter_mut().zip(&weights) {
            *credit += weight.cast_signed();
        }
        let richest = first_of_the_greatest(&credits);
        credits[richest] -= total.cast_signed();
        u16::try_from(richest).expect("there are as many backends as a u16 can tell apart")
    };
    if weights.iter().all(|&weight| weight == 1) {
        // The same, without the square of a long list.
        return (0..total).map(|turn| u16::try_from(turn).expect("as above")).collect();
    }
    (0..total).map(|_| turn()).collect()
}

/// The same proportions in the smallest numbers, that add up to [`MAX_LENGTH`] at most.
fn reduced(weights: &[u32]) -> Vec<u32> {
    let by_divisor = divided_by_common(weights);
    let total: u64 = by_divisor.iter().copied().map(u64::from).sum();
    if total <= u64::from(MAX_LENGTH) {
        return by_divisor;
    }
    // Whoever would get less than one turn gets one; there is room for that beside the others.
    let members = u64::try_from(weights.len()).expect("a list fits in memory");
    let room = u64::from(MAX_LENGTH) - members;
    let scaled = |weight: u32| {
        u32::try_from(u64::from(weight) * room / total).expect("less than MAX_LENGTH").max(1)
    };
    let scaled: Vec<u32> = by_divisor.into_iter().map(scaled).collect();
    divided_by_common(&scaled)
}

fn divided_by_common(weights: &[u32]) -> Vec<u32> {
    let divisor = weights.iter().copied().fold(0, greatest_common_divisor).max(1);
    weights.iter().map(|weight| weight / divisor).collect()
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

fn first_of_the_greatest(credits: &[i32]) -> usize {
    let greatest = credits.iter().max().expect("turns are of somebody");
    credits.iter().position(|credit| credit == greatest).expect("it is one of them")
}
