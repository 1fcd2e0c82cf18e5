//! `evenkeel ctl`, `top` and `completions`: the real binary against a stub of the admin API that says
//! what a test wants it to say, and against the real one.

mod live;
mod stub;
mod stubbed;
mod terminal;
mod trouble;
