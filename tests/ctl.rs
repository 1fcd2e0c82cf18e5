//! `evenkeel ctl`, `top` and `completions`: the real binary against a stub of the admin API that says
//! what a test wants it to say, and against the real one.

#[path = "ctl/live.rs"]
mod live;
#[path = "ctl/stub.rs"]
mod stub;
#[path = "ctl/stubbed.rs"]
mod stubbed;
mod support;
#[path = "ctl/terminal.rs"]
mod terminal;
#[path = "ctl/trouble.rs"]
mod trouble;
