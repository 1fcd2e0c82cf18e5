//! The server does what its OpenAPI file says: schemathesis makes requests of it, good and bad ones.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::intruder::House;
use crate::places::TOKEN;
use crate::support::skip;

#[test]
fn what_the_openapi_file_says_is_what_the_server_does() {
    let Some(schemathesis) = schemathesis() else { return };
    let house = House::new("");
    std::fs::write(house.scene.file.folder().join("schemathesis.toml"), SETTINGS).unwrap();
    let url = format!("http://{}", house.door);
    let output = Command::new(schemathesis)
        .current_dir(house.scene.file.folder())
        .args(["run", &format!("{url}/openapi.json"), "--header"])
        .arg(format!("Authorization: Bearer {TOKEN}"))
        .args(["--checks", "all", "--phases", "examples,coverage,fuzzing"])
        .args(["--max-examples", "20", "--seed", "1", "--request-timeout", "20"])
        // Names of backends that are made up are looked up, which takes the resolver's time.
        .args(["--suppress-health-check", "all", "--no-color"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    // It has cut sessions and changed backends, as it may; clients are served all the same.
    house.session().goes_on();
    assert!(!house.scene.balancer.log().contains("panicked"));
}

/// What is well-formed may still name a host, a pool or a session that there is not.
const SETTINGS: &str = "[checks.positive_data_acceptance]\n\
    expected-statuses = [\"2xx\", \"400\", \"404\", \"409\", \"422\"]\n";

/// Where scripts/install-test-packages puts it; says aloud that it is not there.
fn schemathesis() -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent()?;
    let program = target.join("test-python/bin/schemathesis");
    if program.exists() {
        return Some(program);
    }
    skip("schemathesis (scripts/install-test-packages)");
    None
}
