//! The program as a service: what it tells a service manager, the sockets that it is started with, and
//! handing over to another process without a failed connection, on both engines.

#[path = "service/hand_over.rs"]
mod hand_over;
#[path = "service/notify.rs"]
mod notify;
#[path = "service/passed.rs"]
mod passed;
#[path = "service/refused.rs"]
mod refused;
#[path = "service/succession.rs"]
mod succession;
mod support;
