//! Chromium without a window, if it is there.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The browser.
pub(crate) struct Browser(PathBuf);

impl Browser {
    /// Where it is; says aloud that it is not.
    pub(crate) fn find() -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).map(|directory| directory.join("chromium"));
        let browser = found.into_iter().find(|program| program.exists()).map(Self);
        if browser.is_none() {
            skip("chromium (Debian: chromium)");
        }
        browser
    }

    /// Opens `page` from a file and waits until its script is done; the document then. A message on
    /// the console is a failure.
    pub(crate) fn open(&self, name: &str, page: &str) -> String {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("html");
        std::fs::create_dir_all(&directory).unwrap();
        let file = directory.join(format!("{name}.html"));
        std::fs::write(&file, page).unwrap();
        let profile = directory.join(format!("{name}.profile"));
        let _ = std::fs::remove_dir_all(&profile);
        let output = Command::new(&self.0)
            .args(ARGUMENTS)
            .arg(format!("--user-data-dir={}", profile.display()))
            .args(["--enable-logging=stderr", "--dump-dom"])
            .arg(format!("file://{}", file.display()))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let _ = std::fs::remove_dir_all(&profile);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {said}", output.status);
        let complaints: Vec<&str> = said.lines().filter(|line| line.contains("CONSOLE")).collect();
        assert!(complaints.is_empty(), "{name}: {complaints:#?}");
        let document = String::from_utf8(output.stdout).unwrap();
        assert!(document.contains("</main>"), "{name}: {said}");
        document
    }
}

/// Says what is missing; where nothing may be missing (`EVENKEEL_NO_SKIP`), fails.
fn skip(needs: &str) {
    assert!(std::env::var_os("EVENKEEL_NO_SKIP").is_none(), "needs {needs}");
    eprintln!("SKIPPED: needs {needs}");
}

const ARGUMENTS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
];
