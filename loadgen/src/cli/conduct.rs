//! What all measuring commands have in common: signals, the view, the system under test, the report.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use loadgen::report::{Progress, Report};
use loadgen::sut::{self, Observer};

use super::output::Outputs;
use super::signals::EndSignals;
use super::view::View;
use super::{Failure, STOPPED};

/// Options of every measuring command.
#[derive(Clone, Debug, Args)]
pub(super) struct Common {
    #[command(flatten)]
    pub(super) outputs: Outputs,
    #[command(flatten)]
    sut: SutArguments,
    /// Lines instead of the live view, in a terminal too
    #[arg(long)]
    no_live: bool,
}

/// The system under test.
#[derive(Clone, Debug, Args)]
pub(super) struct SutArguments {
    /// Measure what this process and its children use: CPU time a request, memory, context switches
    #[arg(long, value_name = "PID", conflicts_with = "sut_cgroup")]
    sut_pid: Option<u32>,
    /// The same for all processes of a cgroup, given by its directory
    #[arg(long, value_name = "DIR")]
    sut_cgroup: Option<std::path::PathBuf>,
}

impl Common {
    /// Runs one measurement, shows how it goes, and writes its report.
    pub(super) fn conduct(
        &self,
        title: &str,
        run: impl FnOnce(&mut dyn FnMut(&Progress<'_>), &AtomicBool) -> Result<Report, Failure>,
    ) -> Result<ExitCode, Failure> {
        self.outputs.check()?;
        let stop = stop_on_signal()?;
        let mut report = self.observe(title, &stop, run)?;
        self.outputs.write(&mut report)
    }

    /// The same without the report's way out.
    pub(super) fn observe(
        &self,
        title: &str,
        stop: &AtomicBool,
        run: impl FnOnce(&mut dyn FnMut(&Progress<'_>), &AtomicBool) -> Result<Report, Failure>,
    ) -> Result<Report, Failure> {
        let mut observer = Observer::new(self.sut.target()).map_err(Failure::run)?;
        let mut view = View::new(!self.no_live, title);
        let mut on_progress = |progress: &Progress<'_>| {
            observer.on_phase(progress.phase);
            view.show(progress);
        };
        let result = run(&mut on_progress, stop);
        view.close();
        let mut report = result?;
        observer.finish(&mut report);
        Ok(report)
    }
}

impl SutArguments {
    /// As the library has it.
    pub(super) fn target(&self) -> Option<sut::Target> {
        let cgroup = self.sut_cgroup.clone().map(sut::Target::Cgroup);
        self.sut_pid.map(sut::Target::Pid).or(cgroup)
    }
}

/// The first signal ends the run with a report, the second ends the program.
pub(super) fn stop_on_signal() -> Result<Arc<AtomicBool>, Failure> {
    let signals = EndSignals::block().map_err(Failure::run)?;
    let stop = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&stop);
    let wait = move || {
        signals.wait();
        seen.store(true, Ordering::Relaxed);
        signals.wait();
        super::view::restore();
        std::process::exit(STOPPED.into());
    };
    std::thread::Builder::new().name("signals".into()).spawn(wait).map_err(Failure::run)?;
    Ok(stop)
}
