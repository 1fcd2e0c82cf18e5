//! `evenkeel top` in a terminal that is one: a pane of tmux, keys and all.

use std::path::PathBuf;
use std::process::Command;

use super::stub::{Stub, own_folder};
use crate::support::{EVENKEEL, eventually, skip};

/// A pane of a tmux server of its own, which ends with this value.
pub(crate) struct Pane {
    folder: PathBuf,
}

impl Pane {
    /// `evenkeel top` in 100 columns and 30 rows; what it left is said when it has ended.
    pub(crate) fn with_top(address: &str, options: &str) -> Option<Self> {
        Self::with("", address, options)
    }

    /// The same with a variable of the environment.
    fn with_env(variable: &str, address: &str) -> Option<Self> {
        Self::with(&format!("env {variable}"), address, "")
    }

    fn with(env: &str, address: &str, options: &str) -> Option<Self> {
        if !Command::new("tmux").arg("-V").output().is_ok_and(|output| output.status.success()) {
            skip("tmux");
            return None;
        }
        let pane = Self { folder: own_folder() };
        let pid = pane.folder.join("pid").display().to_string();
        // The process id is that of `top`, whose place the inner shell gives up.
        let top = format!("echo $$ >{pid}; exec {env} {EVENKEEL} top --admin {address} {options}");
        let shell = format!("sh -c '{top}'; echo ended=$?; exec cat");
        let size = ["new-session", "-d", "-s", "top", "-x", "100", "-y", "30"];
        pane.tmux(&[&size[..], &[&shell]].concat());
        Some(pane)
    }

    /// What it shows.
    pub(crate) fn shown(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-t", "top:"])
    }

    /// Waits until it shows this.
    pub(crate) fn wait_for(&self, what: &str) {
        let shows = || self.shown().contains(what);
        eventually(shows, || format!("no `{what}` in\n{}", self.shown()));
    }

    /// Keys by their names in tmux.
    pub(crate) fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys", "-t", "top:"], keys].concat());
    }

    fn pid(&self) -> String {
        std::fs::read_to_string(self.folder.join("pid")).expect("it has started").trim().to_owned()
    }

    fn tmux(&self, words: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(self.socket()).args(["-f", "/dev/null"]).args(words);
        let output = command.env_remove("TMUX").env_remove("NO_COLOR").output().expect("tmux");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "tmux {words:?}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("tmux")
    }
}

impl Drop for Pane {
    fn drop(&mut self) {
        let mut command = Command::new("tmux");
        let _ = command.arg("-S").arg(self.socket()).arg("kill-server").output();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn keys_select_ask_and_change_and_the_terminal_is_given_back() {
    let stub = Stub::new();
    let Some(pane) = Pane::with_top(&stub.address, "--interval 100ms") else { return };
    pane.wait_for("web/b");
    pane.wait_for("q quit");
    pane.press(&["j", "d"]);
    pane.wait_for("Drain web/b?");
    let changed = || stub.asked().iter().any(|asked| asked.line.starts_with("PATCH"));
    assert!(!changed());
    pane.press(&["y"]);
    eventually(changed, || format!("nothing was changed: {:?}", stub.asked()));
    let asked = stub.asked().into_iter().find(|asked| asked.line.starts_with("PATCH"));
    let asked = asked.expect("it was just there");
    assert_eq!(asked.line, "PATCH /api/pools/web/backends/b");
    assert!(asked.body.contains(r#""state":"drain""#), "{}", asked.body);
    pane.wait_for("web/b is down");
    pane.press(&["2"]);
    pane.wait_for("10.1.0.1:9");
    pane.press(&["q"]);
    pane.wait_for("ended=0");
    assert!(!pane.shown().contains("web/b"), "{}", pane.shown());
}

#[test]
fn a_terminal_that_can_only_write_lines_is_not_drawn_on() {
    let stub = Stub::new();
    let Some(pane) = Pane::with_env("TERM=dumb", &stub.address) else { return };
    pane.wait_for("ended=1");
    let shown = pane.shown();
    assert!(shown.contains("--once prints one picture"), "{shown}");
    assert!(!shown.contains("web/b"), "{shown}");
}

#[test]
fn a_signal_ends_it_and_the_terminal_is_given_back() {
    let stub = Stub::new();
    let Some(pane) = Pane::with_top(&stub.address, "") else { return };
    pane.wait_for("web/b");
    let killed = Command::new("kill").args(["-TERM", &pane.pid()]).status();
    assert!(killed.is_ok_and(|killed| killed.success()));
    pane.wait_for("ended=0");
    assert!(!pane.shown().contains("web/b"), "{}", pane.shown());
    // Lines that are typed are echoed again.
    pane.press(&["typed", "Enter"]);
    pane.wait_for("typed\ntyped");
}

#[test]
fn a_resize_is_followed_and_a_lost_connection_said() {
    let stub = Stub::new();
    let Some(pane) = Pane::with_top(&stub.address, "--interval 100ms") else { return };
    pane.wait_for("web/b");
    pane.tmux(&["resize-window", "-t", "top:", "-x", "60", "-y", "12"]);
    let fits = || pane.shown().lines().nth(11).is_some_and(|line| line.contains("q quit"));
    eventually(fits, || format!("not drawn anew:\n{}", pane.shown()));
    // The socket goes with it.
    drop(stub);
    pane.wait_for("no connection");
    pane.wait_for("web/b");
}
