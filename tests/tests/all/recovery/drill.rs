use std::process::Command;

use crate::support::binary;

#[test]
fn a_drill_loses_nothing_that_drive_has_and_names_what_else_is_lost() {
    let drill = Command::new(binary("local"))
        .args(["drill", "--files", "60", "--people", "6", "--seconds", "16"])
        .output()
        .unwrap();
    let said = String::from_utf8(drill.stdout).unwrap();
    let failed = String::from_utf8_lossy(&drill.stderr);
    assert!(drill.status.success(), "{said}\n{failed}");
    for line in ["RPO of what Drive has: 0 of ", "RPO of ours: ", "RTO: "] {
        assert!(said.contains(line), "{said}");
    }
}
