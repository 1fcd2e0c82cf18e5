//! Log files that are opened again, on SIGUSR1.

use tracing::{error, info, warn};

use crate::session_log::LogFiles;

/// Opens them again, and says what came of it: in the new files, if there are new ones.
pub(super) async fn reopen(logs: &LogFiles) {
    if logs.is_empty() {
        return warn!("SIGUSR1: there is no log file to open again; start with --log-file FILE");
    }
    let files = logs.clone();
    // A disk may take its time.
    match tokio::task::spawn_blocking(move || files.reopen()).await {
        Ok(Ok(())) => info!("SIGUSR1: opened again: {logs}"),
        Ok(Err(errors)) => {
            for error in errors {
                error!("SIGUSR1: {error}; lines go to the old file, and it is tried again");
            }
        }
        Err(error) => error!("SIGUSR1: log files stay as they are: {error}"),
    }
}
