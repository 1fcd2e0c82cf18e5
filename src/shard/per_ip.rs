//! stub
use crate::core::moment::Moment;
use std::net::IpAddr;
/// stub
#[derive(Debug)]
pub struct PerIpTable;
/// stub
#[derive(Debug)]
pub struct Ticket;
impl Ticket {
    /// stub
    pub fn leave(self) {}
}
/// stub
#[derive(Debug, Clone, Copy)]
pub enum Refused {
    TooManySessions,
    TooFast,
}
impl PerIpTable {
    /// stub
    pub fn new(_: &crate::config::plan::PerIp) -> Self {
        Self
    }
    /// stub
    pub fn enter(&self, _ip: IpAddr, _now: Moment) -> Result<Ticket, Refused> {
        Ok(Ticket)
    }
}
