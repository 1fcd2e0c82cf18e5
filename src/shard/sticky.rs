//! stub
use crate::config::plan::StickyConfig;
use std::net::SocketAddr;
/// stub
#[derive(Debug)]
pub struct Sticky(moka::sync::Cache<SocketAddr, u32>);
impl Sticky {
    /// stub
    #[must_use]
    pub fn new(config: &StickyConfig) -> Self {
        Self(
            moka::sync::Cache::builder()
                .max_capacity(u64::from(config.size.get()))
                .time_to_idle(config.ttl)
                .build(),
        )
    }
    /// stub
    #[must_use]
    pub fn get(&self, key: SocketAddr) -> Option<u32> {
        self.0.get(&key)
    }
    /// stub
    pub fn set(&self, key: SocketAddr, uid: u32) {
        self.0.insert(key, uid);
    }
}
