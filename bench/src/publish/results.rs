//! `bench/RESULTS.md`, from its title to how to add a contender.

use super::input::{Inputs, Measured};
use super::markdown::table;
use super::{agreement, equals, headline, not_ahead, workload};

/// The whole page.
pub(super) fn page(inputs: &Inputs) -> String {
    let sections = [
        head(inputs),
        not_ahead::section(inputs),
        headline::beside_python(inputs),
        headline::own_part(inputs),
        format!("## Workloads\n\n{COLUMNS}\n{}", workload::sections(inputs, false)),
        format!("## Disruptions\n\n{DISRUPTIONS}\n{}", workload::sections(inputs, true)),
        equals::section(inputs),
        agreement::section(inputs),
        CONTAINED.to_owned(),
        YOURSELF.to_owned(),
        ANOTHER.to_owned(),
    ];
    sections.map(|section| section.trim_end().to_owned() + "\n").join("\n")
}

fn head(inputs: &Inputs) -> String {
    let lines: String = inputs.networks.iter().map(where_and_when).collect();
    let rows = equals::everyone(inputs).into_iter();
    let rows: Vec<_> =
        rows.map(|known| vec![known.name.clone(), equals::what_it_is(known)]).collect();
    let versions = table(&["who", "version, or what is missing"], &rows);
    let witnesses = inputs.shown().map(|(_, document)| document.witnesses.join("; ")).next();
    let witnesses = witnesses.unwrap_or_default();
    format!(
        "# evenkeel beside HAProxy, nginx, the Python version and nothing at all\n\n\
         {lines}\n{versions}\nWitnesses that we did not write: {witnesses}.\n\n{}\n\n{WRITTEN}\n",
        method(inputs)
    )
}

fn where_and_when(network: &Measured) -> String {
    let Some(source) = &network.first else { return format!("- {}: not measured\n", network.name) };
    let document = &source.document;
    let (name, file) = (network.name, source.file.as_str());
    let again = network.again.as_ref().map_or("no second run".to_owned(), |again| {
        format!("second run [{file}](results/{file})", file = again.file)
    });
    let notes: String = document.network.notes.iter().map(|note| format!("; {note}")).collect();
    let congestion = &document.network.congestion_control;
    format!(
        "- **{name}**, {}; {congestion}{notes}; [{file}](results/{file}), {again}\n",
        document.host
    )
}

/// In five sentences.
fn method(inputs: &Inputs) -> String {
    let said = |of: &dyn Fn(&crate::document::Document) -> String| {
        let all: Vec<_> = inputs.shown().map(|(name, document)| (name, of(document))).collect();
        match all.as_slice() {
            [(_, first), rest @ ..] if rest.iter().all(|(_, other)| other == first) => {
                first.clone()
            }
            all => {
                all.iter().map(|(name, of)| format!("{of} ({name})")).collect::<Vec<_>>().join(", ")
            }
        }
    };
    let rounds = said(&|one| format!("{} rounds of {} s", one.rounds, one.seconds_a_run));
    let cpus = said(&|one| {
        let others: Vec<_> = one.other_cpus.iter().map(ToString::to_string).collect();
        format!("CPU {} and everything else had CPU {}", one.balancer_cpu, others.join(", "))
    });
    format!(
        "Every contender ran every workload it can run in {rounds}, started afresh each time and \
         warmed up, in an order that was reversed from round to round, so that what drifts with time hits \
         all alike. The balancer had {cpus}; all were told to use one thread, no log, TCP_NODELAY and the same backlog. \
         *Loopback* is one network namespace; the *lab* is a LAN of namespaces, with veth pairs, a bridge and \
         an MTU of 1500 between clients, balancer and backends. Every figure is the median of its rounds, \
         with the smallest and the largest in brackets, and a ratio is one contender's figure over \
         another's in the same round. A difference is called one only when the ratios of all rounds, \
         five at least, lie on the same side of 1, which happens by chance once in sixteen times; all else is \
         \"no difference seen\"."
    )
}

const WRITTEN: &str = "This page, its pictures and the README's table are written by \
    `cargo run -p bench -- publish` from the JSON files in [results/](results/), which have every round. \
    Do not edit them.";
const COLUMNS: &str = "What the figures are is in [README.md](README.md#figures). In the pictures each dot is a round, the line \
    reaches from the smallest to the largest, and the ratio is to the better of HAProxy and nginx.\n";
const DISRUPTIONS: &str = "Something happens in the middle of a run. Requests that failed, and the longest \
    time in which none was answered; less is better, and none is what there should be. As there may be no \
    failure to divide by, one is added to both sides of that ratio.\n";
const CONTAINED: &str = "## What the figures contain besides the programs\n\n\
    The kernel's TCP stack, which is most of them; the allocator that each program uses (evenkeel's and this program's is \
    mimalloc, the others have the system's); and the wake-ups of the machine, which cost more in a VM than on \
    hardware. They are in everyone's figures, and the floor relay's figure is little else. CPU time is steadier than \
    requests a second on a machine that is shared; where clients and backends share one CPU, the latencies of \
    many connections are those of the queue on that CPU, for everyone, and `direct` shows how long it is without \
    a balancer.\n\n\
    On one machine the kernel carries a packet on the CPU of whoever sent it, up to the receiver's socket. So what \
    a balancer sends is in its account with the receiver's TCP, and what it receives is in its peers'. In the lab cutting \
    into segments, the switch and merging are in it, too: there a byte costs everyone more, and what splicing saves is \
    a smaller part of it. A network card with TSO takes that off the CPU.\n";
const YOURSELF: &str = "## Run it yourself\n\n\
    ```sh\n\
    apt-get install haproxy nginx-light libnginx-mod-stream python3 wrk iperf3 iproute2 strace ethtool   # whom you want to see\n\
    cargo run --release -p bench -- compare                 # on loopback\n\
    cargo run --release -p bench -- compare --lab           # in a LAN of namespaces, as root\n\
    cargo run --release -p bench -- compare --again         # a second time, beside the first; also with --lab\n\
    cargo run -p bench -- publish                           # this page\n\
    ```\n\n\
    Who is not installed is named with the line that brings it, and everything else goes on. \
    [README.md](README.md) says what every case and figure is, and how to quiet a machine.\n";
const ANOTHER: &str = "## Add a contender\n\n\
    It is a line in [src/contender.rs](src/contender.rs), and for another program its command line and \
    configuration beside it; [README.md](README.md#contenders) says how.\n";
