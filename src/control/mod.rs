//! The control thread: what is done beside the shards, and never by one of them. Health checks, names
//! that are looked up again, the configuration that is read again, and signals.

pub mod world;
