//! The networks of a run: everything on one loopback, or client, balancer and backend each in a
//! namespace of its own with a switch between them.

mod lab;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

use crate::place::{Namespace, Place};
use lab::Lab;

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
    /// What could not be had and what else matters, for those who read the numbers.
    pub(crate) notes: Vec<String>,
    next_port: AtomicU16,
    /// Undone when the network is not needed any more.
    _restore: Option<Restore>,
    /// Taken away then.
    _lab: Option<Lab>,
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

    /// Three hosts of a LAN in this machine: `scripts/lab.sh`. Clients reach the backend past the
    /// balancer, too.
    ///
    /// # Errors
    /// Without root, iproute2 or namespaces.
    pub(crate) fn lab(cpus: &Cpus) -> io::Result<Self> {
        let lab = Lab::up()?;
        let hosts = [lab.host("client1")?, lab.host("balancer")?, lab.host("backend1")?];
        let ips = [[10, 77, 0, 1], [10, 77, 0, 11]].map(IpAddr::from);
        let network = Self::prepare("lab", cpus, hosts.each_ref(), ips, lab.effects.clone())?;
        Ok(Self { _lab: Some(lab), ..network })
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
            _lab: None,
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

    /// Skipped, aloud, where a namespace cannot be had; where nothing may be missing
    /// (`EVENKEEL_NO_SKIP`), it fails.
    fn namespace() -> Option<Namespace> {
        let skipped = |error: &io::Error| {
            let may_skip = std::env::var_os("EVENKEEL_NO_SKIP").is_none();
            assert!(may_skip, "needs namespaces: {error}");
            println!("SKIPPED, no namespace: {error}");
        };
        Namespace::create().inspect_err(skipped).ok()
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
    fn a_lab_has_three_hosts_and_is_gone_with_its_network() {
        if namespace().is_none() {
            return;
        }
        let cpu = uring::allowed_cpus().expect("this runs on one")[0];
        let network = Network::lab(&Cpus { balancer: cpu, others: vec![cpu] })
            .expect("it can be had where namespaces can");
        let lab = network._lab.as_ref().expect("it is one").name.clone();
        let left = || {
            let entries = std::fs::read_dir("/run/netns").expect("iproute2 has made it");
            let names = entries.flatten().map(|entry| entry.file_name().into_string());
            names.flatten().filter(|name| name.starts_with(&format!("{lab}-"))).count()
        };
        assert_eq!(left(), 4, "a switch and three hosts");
        assert_eq!((network.name, network.congestion_control.as_str()), ("lab", "cubic"));
        assert!(
            network.notes[0].starts_with("MTU: 1500; one segment a packet"),
            "{:?}",
            network.notes
        );
        let (front, back) = (network.balancer_address(), network.backend_address());
        let [front, back] = [front, back].map(|address| address.expect("ports are free"));
        assert_eq!([front, back].map(|it| it.ip().to_string()), ["10.77.0.1", "10.77.0.11"]);
        for (from, place, to) in [
            (&network.client, &network.balancer, front),
            (&network.balancer, &network.backend, back),
            (&network.client, &network.backend, back),
        ] {
            let listener = place.run(|| TcpListener::bind(to)).expect("it is free");
            let patience = std::time::Duration::from_secs(30);
            from.run(|| std::net::TcpStream::connect_timeout(&to, patience)).expect("it listens");
            drop(listener);
        }
        drop(network);
        assert_eq!(left(), 0);
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
