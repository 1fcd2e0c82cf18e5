//! Another user, whom the kernel grants less than root.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Balancer, EVENKEEL, skip};

/// A user that has nothing to do but this, and programs that it can run; gone when it is dropped.
pub(crate) struct User {
    id: u32,
    folder: PathBuf,
}

impl User {
    /// Says so where nobody else can be anybody.
    pub(crate) fn new() -> Option<Self> {
        static USERS: AtomicU32 = AtomicU32::new(0);
        let id = FIRST_ID + std::process::id() * 64 + USERS.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("evenkeel-user-{id}"));
        std::fs::create_dir_all(&folder).expect("a folder for temporary files");
        let user = Self { id, folder };
        open_to_all(&user.folder);
        let runs = user.may_run(EVENKEEL.as_ref()).arg("--version").output();
        if !runs.is_ok_and(|output| output.status.success()) {
            skip("root, and a folder for temporary files that everybody can read");
            return None;
        }
        Some(user)
    }

    /// As the kernel and its filters know it.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// A copy of this program, run by the user.
    pub(crate) fn may_run(&self, program: &Path) -> Command {
        let copy = self.folder.join(program.file_name().expect("a program"));
        if !copy.exists() {
            // By another process: a descriptor that writes to the copy here could be inherited by a
            // child of another test, and the copy then be busy (ETXTBSY, execve(2)).
            let copied = Command::new("cp").arg(program).arg(&copy).status();
            assert!(copied.is_ok_and(|copied| copied.success()), "{program:?} cannot be copied");
            open_to_all(&copy);
        }
        let mut command = Command::new(copy);
        command.uid(self.id).gid(self.id).current_dir("/");
        command
    }

    /// The balancer, run by the user.
    pub(crate) fn balancer(&self, backends: &[SocketAddr], options: &str) -> Balancer {
        let backends = backends.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let mut command = self.may_run(EVENKEEL.as_ref());
        command.args(["--host", "127.0.0.1", "--port", "0", "--backends", &backends]);
        Balancer::started(command.args(options.split_whitespace()))
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn open_to_all(path: &Path) {
    let all = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(path, all).expect("our own file");
}

/// Far above those that people and programs have.
const FIRST_ID: u32 = 1_000_000_000;
