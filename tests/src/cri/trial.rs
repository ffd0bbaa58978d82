//! Tests that need a real runtime: where there is none they are skipped, and counted so, never passed.

use super::unavailable;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
};

/// A test that needs pods.
pub fn trial(name: &str, test: impl FnOnce() + Send + 'static) -> Trial {
    let full = name.to_owned();
    Trial::ignorable_test(name, move || {
        if let Some(reason) = unavailable() {
            eprintln!("SKIPPED: {full}: this machine cannot run pods: {reason}");
            return Ok(Completion::ignored_with("no pods here"));
        }
        // The runner would print a panic's text a second time only.
        match catch_unwind(AssertUnwindSafe(test)) {
            Ok(()) => Ok(Completion::Completed),
            Err(_) => Err(Failed::from(format!("{full} has panicked, see above"))),
        }
    })
}

/// Runs them as `cargo test` does.
pub fn run_trials(trials: Vec<Trial>) -> ExitCode {
    let arguments = Arguments::from_args();
    libtest_mimic::run(&arguments, trials).exit_code()
}
