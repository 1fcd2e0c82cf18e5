//! How Python writes values: the backends' and the client's lines look as people know them.

use std::net::SocketAddr;

/// An address as Python prints one: `('0.0.0.0', 8881)`, or `('::', 8881, 0, 0)`.
#[must_use]
pub fn python_address(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(address) => format!("('{}', {})", address.ip(), address.port()),
        SocketAddr::V6(address) => format!(
            "('{}', {}, {}, {})",
            address.ip(),
            address.port(),
            address.flowinfo(),
            address.scope_id()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_look_as_in_python() {
        for (address, text) in
            [("0.0.0.0:8881", "('0.0.0.0', 8881)"), ("[::1]:80", "('::1', 80, 0, 0)")]
        {
            let address = address.parse().expect("a literal address");
            assert_eq!(python_address(address), text);
        }
    }
}
