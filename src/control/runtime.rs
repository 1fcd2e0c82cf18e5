//! One thread, and what runs futures on it: tokio-uring, or tokio alone where there is no ring.
//!
//! Both are a current-thread tokio runtime with its sockets and timers, so `tokio::net`,
//! `tokio::time` and `tokio::task::spawn_local` work in either. Only files go through the ring: an
//! operation of tokio-uring whose future is dropped is not cancelled, so nothing that may wait for a
//! peer is one (docs/decisions/0007-probes-do-not-go-through-the-ring.md).

use std::cell::Cell;
use std::fmt;
use std::fs::File;
use std::future::Future;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use tokio::task::LocalSet;

/// What the futures of the control thread run on.
#[derive(Debug)]
pub enum Kind {
    /// tokio-uring.
    Uring,
    /// tokio, as was asked for.
    Tokio,
    /// tokio, because a ring is not to be had.
    TokioInstead(io::Error),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uring => f.write_str("tokio-uring"),
            Self::Tokio => f.write_str("tokio"),
            Self::TokioInstead(error) => write!(f, "tokio, without a ring: {error}"),
        }
    }
}

/// The thread, which runs until the future that it was given ends.
#[derive(Debug)]
pub struct Control {
    kind: Kind,
    thread: JoinHandle<()>,
}

impl Control {
    /// Starts the thread "control", which makes the future that it runs: futures stay on it and need
    /// not be `Send`. `ring` says whether to try one; without it, or where it cannot be had, plain
    /// tokio is used.
    ///
    /// # Errors
    /// There is no thread or no runtime to be had.
    pub fn start<F>(ring: bool, main: impl FnOnce() -> F + Send + 'static) -> io::Result<Self>
    where
        F: Future<Output = ()> + 'static,
    {
        let (ready_tx, ready) = channel();
        let thread = std::thread::Builder::new().name("control".into());
        let thread = thread.spawn(move || run(ring, &ready_tx, main))?;
        // A thread that panics before it is ready drops the sender.
        let kind = ready.recv().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))?;
        Ok(Self { kind, thread })
    }

    /// What it runs on.
    #[must_use]
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Waits until the future has ended; false if it panicked.
    #[must_use]
    pub fn join(self) -> bool {
        self.thread.join().is_ok()
    }
}

fn run<F: Future<Output = ()>>(
    ring: bool,
    ready: &Sender<io::Result<Kind>>,
    main: impl FnOnce() -> F,
) {
    let instead = match ring.then(|| tokio_uring::Runtime::new(tokio_uring::builder().entries(8))) {
        Some(Ok(runtime)) => {
            let _ = ready.send(Ok(Kind::Uring));
            ON_RING.set(true);
            return runtime.block_on(async { main().await });
        }
        Some(Err(error)) => Kind::TokioInstead(error),
        None => Kind::Tokio,
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(ready.send(Err(error))),
    };
    let _ = ready.send(Ok(instead));
    runtime.block_on(LocalSet::new().run_until(async { main().await }));
}

thread_local! {
    /// Whether operations of tokio-uring can be used on this thread.
    static ON_RING: Cell<bool> = const { Cell::new(false) };
}

/// All that is in a file, through the ring where the thread has one.
///
/// # Errors
/// It cannot be read, or has more than `limit` bytes.
pub async fn read_file(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let text = match ON_RING.get() {
        true => read_through_ring(path, limit).await?,
        false => {
            let mut text = Vec::new();
            let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
            File::open(path)?.take(most).read_to_end(&mut text)?;
            text
        }
    };
    match text.len() > limit {
        true => Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it has more than {limit} bytes"),
        )),
        false => Ok(text),
    }
}

/// At least one byte more than `limit`, if there are more.
async fn read_through_ring(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let file = tokio_uring::fs::File::open(path).await?;
    let mut text = Vec::new();
    let mut piece = Vec::with_capacity(PIECE_BYTES);
    let read = loop {
        let (result, buffer) = file.read_at(piece, text.len() as u64).await;
        match result {
            Ok(0) => break Ok(text),
            Ok(_) => text.extend_from_slice(&buffer),
            // A signal came first.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break Err(error),
        }
        if text.len() > limit {
            break Ok(text);
        }
        piece = buffer;
        piece.clear();
    };
    file.close().await?;
    read
}

/// A configuration file is read in one piece.
const PIECE_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// What `work` makes on a control thread with and without a ring.
    fn on_both<T: Send + 'static, F: Future<Output = T> + 'static>(
        work: impl Fn() -> F + Clone + Send + 'static,
    ) -> [T; 2] {
        [true, false].map(|ring| {
            let result = Arc::new(Mutex::new(None));
            let (work, slot) = (work.clone(), Arc::clone(&result));
            let control = Control::start(ring, move || async move {
                let done = work().await;
                *slot.lock().expect("nobody panicked") = Some(done);
            });
            let control = control.expect("a thread can be had");
            assert!(matches!(
                (ring, control.kind()),
                (true, Kind::Uring | Kind::TokioInstead(_)) | (false, Kind::Tokio)
            ));
            assert!(control.join(), "it panicked, ring: {ring}");
            result.lock().expect("nobody panicked").take().expect("it was run")
        })
    }

    struct TempFile(PathBuf);

    impl TempFile {
        fn of(name: &str, bytes: &[u8]) -> Self {
            let name = format!("evenkeel-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            std::fs::write(&path, bytes).expect("there is a place for temporary files");
            Self(path)
        }
    }

    impl Drop for TempFile {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[test]
    fn sockets_timers_and_tasks_of_tokio_work_with_and_without_a_ring() {
        let said = on_both(|| async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback is up");
            let address = listener.local_addr().expect("it is bound");
            tokio::task::spawn_local(async move {
                let (mut client, _) = listener.accept().await.expect("somebody comes");
                tokio::time::sleep(Duration::from_millis(1)).await;
                client.write_all(b"late").await.expect("it listens");
            });
            let mut said = String::new();
            let mut stream = TcpStream::connect(address).await.expect("it listens");
            stream.read_to_string(&mut said).await.expect("it answers");
            said
        });
        assert_eq!(said, ["late", "late"]);
    }

    #[test]
    fn a_file_is_read_to_its_end_and_not_beyond_the_limit() {
        for bytes in [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES + 5] {
            let text: Vec<u8> = (0..=250).cycle().take(bytes).collect();
            let file = TempFile::of(&format!("read-{bytes}"), &text);
            let path = file.0.clone();
            let read = on_both(move || {
                let path = path.clone();
                async move { read_file(&path, bytes).await.expect("it is there") }
            });
            assert!(read.iter().all(|read| *read == text), "{bytes}");
            let path = file.0.clone();
            let limit = bytes.checked_sub(1);
            let Some(limit) = limit else { continue };
            let kinds = on_both(move || {
                let path = path.clone();
                async move { read_file(&path, limit).await.map_err(|error| error.kind()) }
            });
            assert_eq!(kinds, [Err(io::ErrorKind::FileTooLarge), Err(io::ErrorKind::FileTooLarge)]);
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_an_error_with_and_without_a_ring() {
        let kinds = on_both(|| async {
            let nowhere = Path::new("/nowhere/at/all");
            read_file(nowhere, 10).await.expect_err("there is no such file").kind()
        });
        assert_eq!(kinds, [io::ErrorKind::NotFound; 2]);
    }
}
