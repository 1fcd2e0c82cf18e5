//! What a network interface does to packets for the stack: cutting large ones up on the way out (TSO), putting
//! small ones together on the way in (GRO). Nothing under /sys tells it; ethtool's ioctl does, and to everybody.

use std::io;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use socket2::{Domain, Socket, Type};

/// What is switched on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offloads {
    /// Segmentation by the interface (TCP segmentation offload).
    pub tso: bool,
    /// Received segments are put together before they go up the stack (generic receive offload).
    pub gro: bool,
}

/// Of the interface with this name, in the network namespace of the calling thread.
///
/// # Errors
/// `ENODEV` without such an interface, `EOPNOTSUPP` for one that has no word for it.
pub fn offloads(interface: &str) -> io::Result<Offloads> {
    let socket = Socket::new(Domain::UNIX, Type::DGRAM.cloexec(), None)?;
    let is_on = |command| ask(&socket, interface, command).map(|value| value != 0);
    Ok(Offloads { tso: is_on(ETHTOOL_GTSO)?, gro: is_on(ETHTOOL_GGRO)? })
}

/// `struct ethtool_value` (include/uapi/linux/ethtool.h).
#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

fn ask(socket: &Socket, interface: &str, command: u32) -> io::Result<u32> {
    let mut value = EthtoolValue { command, data: 0 };
    let data = (&raw mut value).cast();
    let ifr_ifru = libc::__c_anonymous_ifr_ifru { ifru_data: data };
    let mut request = libc::ifreq { ifr_name: name_of(interface)?, ifr_ifru };
    let fd = socket.as_raw_fd();
    // SAFETY: `socket` is borrowed, so the fd is open for the whole call; the kernel reads a `struct ifreq` from
    // `request` and through it reads and writes one `struct ethtool_value`, which `value` is laid out as
    // (dev_ethtool, net/ethtool/ioctl.c: both commands take no more); it keeps no pointer to either.
    let asked = unsafe { libc::ioctl(fd, libc::SIOCETHTOOL as _, &raw mut request) };
    Errno::result(asked)?;
    Ok(value.data)
}

/// Ended by a zero, which a name that is too long has no place for.
fn name_of(interface: &str) -> io::Result<[libc::c_char; libc::IFNAMSIZ]> {
    let mut name = [0; libc::IFNAMSIZ];
    if interface.len() >= name.len() {
        return Err(Errno::ENODEV.into());
    }
    for (to, byte) in name.iter_mut().zip(interface.bytes()) {
        *to = libc::c_char::from_ne_bytes([byte]);
    }
    Ok(name)
}

const ETHTOOL_GTSO: u32 = 0x1e;
const ETHTOOL_GGRO: u32 = 0x2b;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_tells_and_what_is_not_there_is_an_error() {
        let offloads = offloads("lo").expect("every network has it");
        assert!(offloads.tso, "it is always on there (loopback_setup, drivers/net/loopback.c)");
        for name in ["no-such-one", "a-name-that-is-longer-than-any"] {
            let error = super::offloads(name).expect_err(name);
            assert_eq!(crate::errno(&error), Errno::ENODEV, "{name}");
        }
    }
}
