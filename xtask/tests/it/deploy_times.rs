//! How long the commands take that look at what is deployed, where there is nothing to do. The
//! figures are in BENCHMARKS.md:
//! `STEVEDORE_FULL=1 cargo test -p xtask --test it -- --nocapture deploy_times::`

// It prints figures.
#![allow(clippy::print_stdout)]

use std::time::Instant;

use crate::campaign::chance::size;
use crate::dsl::campaign;
use crate::ward::Ward;

/// Prints the median of some runs.
fn measure(ward: &Ward, arguments: &[&str]) {
    let run = |_| {
        let started = Instant::now();
        ward.xtask(arguments).succeeds();
        started.elapsed().as_secs_f64()
    };
    let mut seconds: Vec<f64> = (0..size(1, 7)).map(run).collect();
    seconds.sort_by(f64::total_cmp);
    println!("| `{}` | {:.2} s |", arguments.join(" "), seconds[seconds.len() / 2]);
}

#[test]
fn commands_that_find_nothing_to_do_say_so_at_once() {
    campaign!();
    let ward = Ward::new("");
    ward.ship("1.0.0", "one");
    ward.deploy("1.0.0").succeeds();
    measure(&ward, &["deploy", "1.0.0", "--yes"]);
    measure(&ward, &["status", "prod", "--drift"]);
    measure(&ward, &["status", "prod"]);
    measure(&ward, &["status"]);
}
