//! The program as a service: what it tells a service manager, the sockets that it is started with, and
//! handing over to another process without a failed connection, on both engines.

mod hand_over;
mod notify;
mod passed;
mod refused;
mod succession;
