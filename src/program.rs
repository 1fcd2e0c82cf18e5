//! The program from arguments to exit code: 0 when it ended as asked, 1 when it could not run (or
//! `doctor` found something bad), 2 when the command line was wrong.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use clap::CommandFactory as _;
use clap::error::ErrorKind;
use clap_complete::{generate, shells};
use nix::sys::signal::{SigSet, Signal};
use tokio::sync::mpsc::Receiver;
use tracing::warn;
use uring::ListenError;

use crate::balancer::{Balancer, StartError};
use crate::cli::{self, Cli, Command, Completions, Serve, Shell};
use crate::config::admin::AdminEndpoint;
use crate::config::plan::{Address, On};
use crate::config::{Config, Problems};
use crate::control::admin::doors::{DoorError, Doors, UntilTheEnd};
use crate::control::admin::info::About;
use crate::control::admin::{self, App, Losses, Request};
use crate::control::drift::ConfigFile;
use crate::control::manager::{Beginning, Manager};
use crate::control::metrics::gather::Reloads;
use crate::control::overrides::Overrides;
use crate::control::runtime::Control;
use crate::control::service::Service;
use crate::control::state_file::{self, StateError};
use crate::control::world::BindError;
use crate::doctor::{self, DoctorError, Verdict};
use crate::engine::{Engine, EngineError};
use crate::logging::{Logging, journal};
use crate::report;
use crate::service::passed::Passed;
use crate::service::predecessor::Predecessor;
use crate::service::{self, Start};
use crate::session_log::{OutputError, Outputs, SessionLog};
use crate::settings::{self, Effective};

/// Why the program ends with exit code 1.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The configuration is wrong, or cannot be used on this host.
    #[error(transparent)]
    Config(#[from] Problems),
    /// There is nothing to move bytes with.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The balancer did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Nothing could be looked at.
    #[error(transparent)]
    Doctor(#[from] DoctorError),
    /// What it was started with cannot be used.
    #[error(transparent)]
    Service(#[from] service::StartError),
    /// There was nothing to show.
    #[error(transparent)]
    Demo(#[from] crate::demo::DemoError),
    /// The admin API has no place.
    #[error(transparent)]
    Door(#[from] DoorError),
    /// What was kept cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// Logs cannot go where they were meant to.
    #[error(transparent)]
    Log(#[from] OutputError),
    /// A shard could not go on.
    #[error("a shard could not go on: {0}")]
    Shard(io::Error),
    /// There is no thread to be had.
    #[error("cannot start a thread: {0}; raise `ulimit -u` (of a unit: TasksMax=)")]
    Thread(io::Error),
    /// Standard output is closed, or signals cannot be taken.
    #[error("standard output, or a signal: {0}")]
    Io(#[from] io::Error),
}

/// Runs the program.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.collect();
    let cli = match Cli::read(arguments.iter().cloned()) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, &arguments),
    };
    let done = match &cli.command {
        None => serve(&cli.serve),
        Some(Command::Check(serve)) => check(serve),
        Some(Command::Ctl(ctl)) => return crate::ctl::main(ctl),
        Some(Command::Top(top)) => return crate::top::main(top),
        Some(Command::Completions(completions)) => complete(*completions),
        Some(Command::Doctor(options)) => match doctor::run(options) {
            Ok(Verdict::Bad) => return ExitCode::FAILURE,
            Ok(Verdict::Ok | Verdict::Warn) => Ok(()),
            Err(error) => Err(error.into()),
        },
        Some(Command::Demo(demo)) => block_signals()
            .map_err(ProgramError::from)
            .and_then(|signals| Ok(crate::demo::run(demo, signals)?)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Who reads has enough.
        Err(ProgramError::Io(error) | ProgramError::Doctor(DoctorError::Io(error)))
            if error.kind() == io::ErrorKind::BrokenPipe =>
        {
            ExitCode::SUCCESS
        }
        Err(error) => {
            error.to_string().lines().for_each(complain);
            ExitCode::FAILURE
        }
    }
}

/// Help and version as they are; a mistake in one line.
fn usage(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    // Nobody is left to be told when standard output is closed.
    if !error.use_stderr() {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    // Without any word after it, `evenkeel ctl` is a question.
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
        return ExitCode::from(2);
    }
    complain(&cli::mistake(error, arguments));
    ExitCode::from(2)
}

/// To standard error, if that is open; `eprintln!` would panic if it is not.
fn complain(what: &str) {
    let priority = if journal::reads_stderr() { journal::ERROR } else { "" };
    let _ = writeln!(io::stderr(), "{priority}evenkeel: {what}");
}

fn serve(serve: &Serve) -> Result<(), ProgramError> {
    // Before any thread starts, so that all of them inherit the mask.
    let signals = block_signals()?;
    uring::refuse_huge_pages();
    let start = Start::find()?;
    let Start { notifier, predecessor, passed, program } = start;
    let service = Service::new(notifier, program);
    let running = Running::start(serve, signals, passed, service.clone());
    let running = running.inspect_err(|error| {
        predecessor.iter().for_each(|predecessor| predecessor.say_failed(&error.to_string()));
    })?;
    take_over(&running, predecessor);
    service.say_ready(&running.balancer.handle());
    running.join()
}

/// The balancer and what is around it.
struct Running {
    config: Config,
    logging: Logging,
    session_log: Option<SessionLog>,
    balancer: Balancer,
    /// Removed with it, after the last request was answered.
    files: UntilTheEnd,
}

impl Running {
    /// Clients can connect when this comes back.
    fn start(
        serve: &Serve,
        signals: SigSet,
        mut passed: Passed,
        service: Service,
    ) -> Result<Self, ProgramError> {
        // Names may take the resolver's time, in which nobody hears signals yet, and nothing is begun.
        let as_written = ending_by_signals(|| Config::load(serve))?;
        let outputs = Outputs::open(&as_written.process.log)?;
        let logging = Logging::start(as_written.process.log_level, outputs.log);
        service.notifier().tell_problem();
        let overrides = kept(&as_written, passed.take_changes())?;
        let mut config = as_written.clone();
        config.pools = overrides.over(&as_written.pools);
        let doors = Doors::open(&config.process.admin, &mut passed)?;
        let files = doors.files.until_the_end();
        let balancer = Balancer::start_with(&config, passed)?;
        let session_log =
            SessionLog::start(balancer.shared(), outputs.sessions).map_err(ProgramError::Thread)?;
        let endpoints = doors.addresses();
        let (app, requests) = admin(&balancer, serve, &config, endpoints.clone(), &logging);
        let (serve, about) = (serve.clone(), Arc::clone(&app.about));
        let logs = outputs.files;
        let beginning =
            Beginning { serve, config: as_written, overrides, doors, app, requests, logs, service };
        // Before anybody is told that clients can come: from here on signals are heard.
        let control = start_control(signals, &balancer, beginning).map_err(ProgramError::Thread)?;
        let kind = control.kind().to_string();
        // Nobody else sets it; and who reads that clients can come may ask for it at once.
        let _ = about.control.set(kind.clone());
        if let Err(error) = print_settings(&config, &balancer, kind, endpoints) {
            warn!("the settings cannot be told on standard output: {error}");
        }
        config.warnings.iter().for_each(|problem| warn!("{problem}"));
        if let Some(interval) = config.process.report_interval {
            let (engine, cpus) = (balancer.engine().to_string(), config.process.cpus.clone());
            report::regularly(interval, engine, cpus, balancer.handle())
                .map_err(ProgramError::Thread)?;
        }
        Ok(Self { config, logging, session_log, balancer, files })
    }

    /// Until it has ended as it was asked to.
    fn join(self) -> Result<(), ProgramError> {
        let Self { config, logging, session_log, balancer, files: _files } = self;
        let shared = balancer.shared().clone();
        let drivers = balancer.join();
        // No shard is left that could end a session.
        session_log.into_iter().for_each(SessionLog::finish);
        let drivers = drivers.map_err(ProgramError::Shard)?;
        report::at_the_end(&config, &shared, &drivers, &logging);
        Ok(())
    }
}

/// Says which sockets are not used, and waits until the process that hands over accepts no more.
fn take_over(running: &Running, predecessor: Option<Predecessor>) {
    running.files.own();
    let not_taken = running.balancer.handle().world().take_over();
    let Some(predecessor) = predecessor else { return };
    if let Err(error) = predecessor.say_ready(not_taken) {
        warn!("the process that hands over is gone: {error}");
    }
    predecessor.wait();
}

/// The settings as they would be, and what should be looked at; nothing is started.
fn check(serve: &Serve) -> Result<(), ProgramError> {
    let config = Config::load(serve)?;
    let engine = Engine::choose(config.process.engine)?;
    let effective = Effective::as_configured(&config, &engine);
    check_files(&config)?;
    let mut out = io::stdout().lock();
    settings::print(&mut out, &config, &effective)?;
    for problem in &config.warnings {
        complain(&format!("warning: {problem}"));
    }
    writeln!(out, "this can be used, if its ports are free when it starts")?;
    Ok(out.flush()?)
}

/// Whether files and sockets can be where they are meant to; nothing is made, and nothing listens.
fn check_files(config: &Config) -> Result<(), ProgramError> {
    Outputs::check(&config.process.log)?;
    for listener in &config.listeners {
        let checked = match &listener.address {
            On::At(Address::Unix(path)) => uring::check_unix(path).map_err(BindError::from),
            On::At(Address::Inet(address)) => match uring::check_listen(*address) {
                // A service manager may pass the socket, which it does not do for a check.
                Err(error @ ListenError::NoPermission(_)) => {
                    complain(&format!(
                        "warning: {error}, or have a service manager pass the socket"
                    ));
                    Ok(())
                }
                checked => checked.map_err(BindError::from),
            },
            On::Fd(_) => Ok(()),
        };
        checked.map_err(StartError::from)?;
    }
    for endpoint in &config.process.admin.endpoints {
        match endpoint {
            AdminEndpoint::Unix { path, .. } => uring::check_unix(path).map_err(DoorError::from)?,
            AdminEndpoint::Tcp { address, .. } => {
                let checked = uring::check_listen(*address).map_err(BindError::from);
                checked.map_err(StartError::from)?;
            }
        }
    }
    Ok(config.process.state_file.as_deref().map_or(Ok(()), state_file::check)?)
}

/// The command line as a shell's completions.
fn complete(completions: Completions) -> Result<(), ProgramError> {
    let mut text = Vec::new();
    let (mut command, name) = (Cli::command(), "evenkeel");
    match completions.shell {
        Shell::Bash => generate(shells::Bash, &mut command, name, &mut text),
        Shell::Zsh => generate(shells::Zsh, &mut command, name, &mut text),
        Shell::Fish => generate(shells::Fish, &mut command, name, &mut text),
    }
    match io::stdout().write_all(&text) {
        // Who reads has enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => Ok(done?),
    }
}

/// Every effective setting, and last the line that says where clients connect.
fn print_settings(
    config: &Config,
    balancer: &Balancer,
    control: String,
    admin: Vec<AdminEndpoint>,
) -> io::Result<()> {
    let (engine, listeners) = (balancer.engine().to_string(), balancer.listeners());
    let effective = Effective { engine, control, listeners, admin };
    let mut out = io::stdout().lock();
    settings::print(&mut out, config, &effective)?;
    for (address, _) in &effective.listeners {
        writeln!(out, "listening on {address}")?;
    }
    out.flush()
}

/// Does something that SIGTERM and SIGINT end at once, as they do where nothing handles them.
fn ending_by_signals<T>(act: impl FnOnce() -> T) -> T {
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
    // What cannot be unblocked waits until it is heard.
    let unblocked = signals.thread_unblock().is_ok();
    let done = act();
    if unblocked {
        let _ = signals.thread_block();
    }
    done
}

fn block_signals() -> io::Result<SigSet> {
    let signals = SigSet::from_iter([
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
    ]);
    signals.thread_block()?;
    // A log file that is larger than `ulimit -f` allows is an error of the write, not the end.
    SigSet::from_iter([Signal::SIGXFSZ]).thread_block()?;
    Ok(signals)
}

/// What was changed while an earlier program ran, if that is kept, or if that program hands over; and
/// that it can be kept again.
fn kept(config: &Config, handed_over: Option<String>) -> Result<Overrides, StateError> {
    let file = config.process.state_file.as_deref();
    let (from, mut overrides) = match (file, handed_over) {
        // What the file had no place for was in force all the same.
        (file, Some(text)) if file.is_none_or(|path| !path.exists()) => {
            let understood = state_file::decode(&text).unwrap_or_else(|problem| {
                warn!("what was changed in the process that hands over is lost: {problem}");
                Overrides::default()
            });
            ("the process that hands over".to_owned(), understood)
        }
        (Some(path), _) => (path.display().to_string(), state_file::load(path)?),
        (None, _) => return Ok(Overrides::default()),
    };
    for what in overrides.forget_unfit(&config.pools) {
        warn!("{from} kept what has no place any more, which is forgotten: {what}");
    }
    for what in state_file::look_up(&mut overrides, &config.listeners) {
        warn!("of what {from} keeps, this is not in force: {what}");
    }
    if let Some(path) = file {
        state_file::save(path, &state_file::encode(&overrides))?;
    }
    Ok(overrides)
}

/// What the admin API answers from, and where it asks for changes.
fn admin(
    balancer: &Balancer,
    serve: &Serve,
    config: &Config,
    endpoints: Vec<AdminEndpoint>,
    logging: &Logging,
) -> (Arc<App>, Receiver<Request>) {
    let (requests, receiver) = tokio::sync::mpsc::channel(admin::REQUESTS);
    let file = serve.config.as_ref();
    let app = App {
        handle: balancer.handle(),
        events: Arc::default(),
        about: Arc::new(About::new(config, file, balancer.engine(), endpoints)),
        token: ArcSwap::from_pointee(config.process.admin.token.clone()),
        notes: ArcSwap::default(),
        file: file.map(|path| Arc::new(ConfigFile::as_read(path))),
        details: Arc::default(),
        tally: Arc::default(),
        reloads: Mutex::new(Reloads::none()),
        lost_lines: logging.lost(),
        losses: Losses::default(),
        background: Arc::default(),
        requests,
    };
    (Arc::new(app), receiver)
}

/// The control thread, which signals go to.
fn start_control(
    signals: SigSet,
    balancer: &Balancer,
    beginning: Beginning,
) -> io::Result<Control> {
    let (signal_tx, signal_rx) = tokio::sync::mpsc::unbounded_channel();
    let wait = move || {
        while let Ok(signal) = signals.wait() {
            // The control thread lives as long as the process.
            let _ = signal_tx.send(signal);
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(wait)?;
    let ring = matches!(balancer.engine(), Engine::Uring(_));
    let handle = balancer.handle();
    Control::start(ring, move || Manager::new(handle, beginning).run(signal_rx))
}
