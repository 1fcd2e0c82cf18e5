//! The networks of a run: everything on one loopback, or client, balancer and backend each in a
//! namespace of its own with veth pairs between them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

use crate::place::{Namespace, Place};

/// Where the three sides of a run are.
#[derive(Debug)]
pub(crate) struct Network {
    /// As it is printed.
    pub(crate) name: &'static str,
    /// Of the clients.
    pub(crate) client: Place,
    /// Of the balancer, alone on its CPU.
    pub(crate) balancer: Place,
    /// Of the backends.
    pub(crate) backend: Place,
    balancer_ip: IpAddr,
    backend_ip: IpAddr,
    /// `net.ipv4.tcp_congestion_control` there.
    pub(crate) congestion_control: String,
    /// What could not be had, for those who read the numbers.
    pub(crate) notes: Vec<String>,
    next_port: AtomicU16,
    /// Undone when the network is not needed any more.
    _restore: Option<Restore>,
}

/// The CPUs of this machine, dealt out.
#[derive(Clone, Debug)]
pub(crate) struct Cpus {
    /// The balancer's, one.
    pub(crate) balancer: usize,
    /// All others.
    pub(crate) others: Vec<usize>,
}

/// A setting of the namespace that is not ours alone.
#[derive(Debug)]
struct Restore {
    namespace: Namespace,
    name: &'static str,
    value: String,
}

impl Cpus {
    /// The first one that may be used for the balancer.
    ///
    /// # Errors
    /// When there is only one.
    pub(crate) fn deal() -> io::Result<Self> {
        let cpus = uring::allowed_cpus()?;
        match cpus.split_first() {
            Some((&balancer, others)) if !others.is_empty() => {
                Ok(Self { balancer, others: others.to_vec() })
            }
            _ => Err(io::Error::other(
                "two CPUs are needed: one for the balancer, one for clients and backend",
            )),
        }
    }
}

impl Network {
    /// Everything on a loopback that nobody else uses; on the one of this machine where a namespace
    /// cannot be had.
    ///
    /// # Errors
    /// When /proc cannot be read.
    pub(crate) fn loopback(cpus: &Cpus) -> io::Result<Self> {
        let mut notes = Vec::new();
        let namespace = Namespace::create().unwrap_or_else(|error| {
            notes
                .push(format!("no namespace of its own ({error}): the machine's loopback is used"));
            Namespace::default()
        });
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let places = [&namespace, &namespace, &namespace];
        Self::prepare("loopback", cpus, places, [ip, ip], notes)
    }

    /// Three namespaces in a row.
    ///
    /// # Errors
    /// Without root or iproute2.
    pub(crate) fn lab(cpus: &Cpus) -> io::Result<Self> {
        let [client, balancer, backend] =
            [Namespace::create()?, Namespace::create()?, Namespace::create()?];
        link(&client, "10.77.1.1/24", &balancer, "10.77.1.2/24", "front")?;
        link(&balancer, "10.77.2.1/24", &backend, "10.77.2.2/24", "back")?;
        // The control: the kernel forwards what goes past the balancer.
        balancer.set_sysctl("ip_forward", "1")?;
        client.ip(&["route", "add", "10.77.2.0/24", "via", "10.77.1.2"])?;
        backend.ip(&["route", "add", "10.77.1.0/24", "via", "10.77.2.1"])?;
        let ips = [[10, 77, 1, 2], [10, 77, 2, 2]].map(IpAddr::from);
        Self::prepare("lab", cpus, [&client, &balancer, &backend], ips, Vec::new())
    }

    fn prepare(
        name: &'static str,
        cpus: &Cpus,
        [client, balancer, backend]: [&Namespace; 3],
        [balancer_ip, backend_ip]: [IpAddr; 2],
        mut notes: Vec<String>,
    ) -> io::Result<Self> {
        let mut restore = None;
        for namespace in [client, balancer, backend] {
            match use_cubic(namespace) {
                Ok(undo) => restore = restore.or(undo),
                Err(error) => notes.push(format!("cannot choose cubic: {error}")),
            }
            if !namespace.is_shared() {
                // Twice the ports, so that those of closed connections are not needed too soon.
                namespace.set_sysctl("ip_local_port_range", "20000 60999")?;
            }
        }
        notes.dedup();
        let place = |namespace: &Namespace, cpus: &[usize]| Place {
            cpus: cpus.to_vec(),
            namespace: namespace.clone(),
        };
        Ok(Self {
            name,
            client: place(client, &cpus.others),
            balancer: place(balancer, &[cpus.balancer]),
            backend: place(backend, &cpus.others),
            balancer_ip,
            backend_ip,
            congestion_control: balancer.sysctl("tcp_congestion_control")?,
            notes,
            next_port: AtomicU16::new(0),
            _restore: restore,
        })
    }

    /// Where the balancer may listen.
    ///
    /// # Errors
    /// When no port is free.
    pub(crate) fn balancer_address(&self) -> io::Result<SocketAddr> {
        self.free(&self.balancer, self.balancer_ip)
    }

    /// Where a backend may listen.
    ///
    /// # Errors
    /// When no port is free.
    pub(crate) fn backend_address(&self) -> io::Result<SocketAddr> {
        self.free(&self.backend, self.backend_ip)
    }

    /// Another port for each run, outside those that the kernel gives to connects: nothing of the
    /// last run is in the way.
    fn free(&self, place: &Place, ip: IpAddr) -> io::Result<SocketAddr> {
        place.run(|| {
            let ports = std::iter::repeat_with(|| self.next_port.fetch_add(1, Ordering::Relaxed));
            let mut addresses =
                ports.take(PORTS.into()).map(|port| SocketAddr::new(ip, PORT_FIRST + port % PORTS));
            let free = addresses.find(|address| TcpListener::bind(address).is_ok());
            free.ok_or_else(|| io::Error::other("no port from 18000 to 18999 is free"))
        })
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        let Self { namespace, name, value } = self;
        if let Err(error) = namespace.set_sysctl(name, value) {
            eprintln!("bench: {name} was {value} and cannot be set back: {error}");
        }
    }
}

/// Joins two namespaces with a veth pair (MTU 1500).
fn link(
    one: &Namespace,
    ip: &str,
    other: &Namespace,
    other_ip: &str,
    name: &str,
) -> io::Result<()> {
    let there = other.path();
    let there = there.to_str().ok_or(io::ErrorKind::InvalidData)?;
    let peer = ["peer", "name", name, "netns", there];
    one.ip(&[&["link", "add", name, "mtu", "1500", "type", "veth"], &peer[..]].concat())?;
    for (namespace, ip) in [(one, ip), (other, other_ip)] {
        namespace.ip(&["link", "set", name, "mtu", "1500"])?;
        namespace.ip(&["addr", "add", ip, "dev", name])?;
        namespace.ip(&["link", "set", name, "up"])?;
    }
    Ok(())
}

/// Makes cubic what new sockets take: the host may default to BBR, which without fq measures its
/// own pacing. A restricted algorithm must be allowed by the first namespace before another one may
/// default to it (tcp_cong.c, `tcp_set_default_congestion_control`).
fn use_cubic(namespace: &Namespace) -> io::Result<Option<Restore>> {
    let (name, allowed) = ("tcp_congestion_control", "tcp_allowed_congestion_control");
    let before = namespace.sysctl(name)?;
    if before == "cubic" {
        return Ok(None);
    }
    if namespace.set_sysctl(name, "cubic").is_err() {
        let first = Namespace::default();
        let value = first.sysctl(allowed)?;
        let _restore = Restore { namespace: first.clone(), name: allowed, value: value.clone() };
        first.set_sysctl(allowed, &format!("{value} cubic"))?;
        namespace.set_sysctl(name, "cubic")?;
    }
    // A value that undoes something when it is dropped is only made where it shall.
    Ok(namespace.is_shared().then(|| Restore { namespace: namespace.clone(), name, value: before }))
}

const PORT_FIRST: u16 = 18_000;
const PORTS: u16 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    /// Skipped, aloud, where a namespace cannot be had.
    fn namespace() -> Option<Namespace> {
        Namespace::create().inspect_err(|error| println!("SKIPPED, no namespace: {error}")).ok()
    }

    #[test]
    fn cubic_stays_chosen_in_a_namespace_and_the_first_one_is_as_it_was() {
        let Some(namespace) = namespace() else { return };
        let first = || Namespace::default().sysctl("tcp_allowed_congestion_control").ok();
        let before = first();
        namespace.set_sysctl("tcp_congestion_control", "reno").expect("reno is never restricted");
        match use_cubic(&namespace) {
            Ok(undo) => assert!(undo.is_none(), "nobody else is in it"),
            Err(error) => return println!("SKIPPED, cubic may not be chosen: {error}"),
        }
        assert_eq!(namespace.sysctl("tcp_congestion_control").expect("it is there"), "cubic");
        assert_eq!(first(), before);
    }

    #[test]
    fn a_namespace_has_ports_of_its_own() {
        let Some(namespace) = namespace() else { return };
        let address = "127.0.0.1:18999";
        let here = namespace.run(|| TcpListener::bind(address)).expect("nobody else is there");
        assert!(namespace.run(|| TcpListener::bind(address)).is_err());
        drop(here);
    }
}
