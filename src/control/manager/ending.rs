//! Signals: what they ask for, and whether that can be now. The process ends by a drain, or its turn
//! does when a new binary has taken over.

use nix::sys::signal::Signal;
use tracing::{info, warn};

use crate::control::events::{Kind, News};
use crate::control::logs;
use crate::control::overrides::Overrides;
use crate::control::service::{Handing, open_sessions};
use crate::control::state_file::encode;
use crate::service::successor::{Failure, Successor};
use crate::shard::shared::Stopping;

use super::Manager;

impl Manager {
    pub(super) async fn on_signal(&mut self, signal: Signal) {
        match signal {
            Signal::SIGHUP => self.on_hang_up().await,
            Signal::SIGUSR1 => logs::reopen(&self.logs).await,
            Signal::SIGUSR2 => self.begin_hand_over(),
            // SIGTERM, SIGINT.
            _ => self.stop(signal),
        }
    }

    /// Whether what is changed now would be lost.
    pub(super) fn is_leaving(&self) -> bool {
        self.stops > 0 || !matches!(self.handing, Handing::Nothing)
    }

    async fn on_hang_up(&mut self) {
        match (&self.handing, self.stops) {
            // It has been told what came of it.
            (Handing::Nothing, 0) => drop(self.reload("SIGHUP").await),
            (Handing::UnderWay { .. }, _) => {
                warn!("SIGHUP: nothing is read again while handing over; the new process reads it");
            }
            (Handing::Done | Handing::Nothing, _) => {
                warn!("SIGHUP: nothing is read again while stopping");
            }
        }
    }

    /// The first time what is open may end, the second time it is cut.
    fn stop(&mut self, signal: Signal) {
        if let Some((successor, owners)) = self.handing.cancel() {
            self.hand_on(successor, &owners);
        }
        match (self.stops, &self.handing) {
            (0, Handing::Done) => {
                info!(
                    "{signal}: stopping already, after the hand-over; once more cuts what is open"
                );
            }
            (0, _) => self.drain(signal),
            (1, _) => {
                info!("{signal} again: cutting what is open");
                let news = News::info(Kind::Stop, "evenkeel", "what is open is cut");
                self.app.events.push(news.because(format!("{signal} again")));
                self.balancer.stop(Stopping::Cut);
            }
            // Whatever hangs.
            _ => std::process::exit(0),
        }
        self.stops += 1;
    }

    fn drain(&self, signal: Signal) {
        let (open, drain) = (open_sessions(&self.balancer), self.balancer.shared().drain());
        let drain = humantime::format_duration(drain);
        let open = match open {
            1 => "1 open session has".to_owned(),
            many => format!("{many} open sessions have"),
        };
        let said = format!("stopping; {open} {drain} to end");
        let told = format!("{said}; once more cuts them");
        info!("{signal}: {told}");
        let news = News::info(Kind::Stop, "evenkeel", told);
        self.app.events.push(news.because(signal.to_string()));
        self.service.notifier().stopping(&said);
        self.balancer.stop(Stopping::Drain);
    }

    fn begin_hand_over(&mut self) {
        self.handing = match &self.handing {
            Handing::Nothing if self.stops == 0 => {
                let no_file = self.keeper.is_none() && self.overrides != Overrides::default();
                let changes = no_file.then(|| encode(&self.overrides));
                self.service.begin_hand_over(&self.balancer, &self.open_doors, changes)
            }
            Handing::UnderWay { .. } => {
                return warn!("SIGUSR2: a hand-over is under way already");
            }
            Handing::Nothing | Handing::Done => {
                return warn!("SIGUSR2: nothing is handed over while stopping");
            }
        };
    }

    /// The new process has taken over, or has not.
    pub(super) fn on_handed_over(&mut self, outcome: Result<Successor, Failure>) {
        let handing = std::mem::replace(&mut self.handing, Handing::Nothing);
        match (outcome, handing) {
            (Ok(successor), Handing::UnderWay { owners, .. }) => self.hand_on(successor, &owners),
            (Ok(_), handing) => self.handing = handing,
            (Err(failure), _) => {
                self.service.go_on(&self.balancer, &failure);
                let text = "this process goes on: nobody has taken over from it";
                let news = News::error(Kind::HandOver, "evenkeel", text);
                self.app.events.push(news.because(failure.to_string()));
            }
        }
    }

    /// The new process accepts: clients, and who asks the admin API.
    fn hand_on(&mut self, successor: Successor, owners: &[Option<u32>]) {
        let text = format!("process {} has taken over", successor.pid);
        let news = News::info(Kind::HandOver, "evenkeel", text);
        self.app.events.push(news.because("SIGUSR2"));
        self.open_doors.leave();
        self.service.hand_on(&self.balancer, successor, owners);
        self.handing = Handing::Done;
    }
}
