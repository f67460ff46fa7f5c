//! The client before a registry with faults.

use expect_test::Expect;

#[path = "../../../tests/it/faulty.rs"]
mod faulty;

mod captured;
mod faults;
mod indexes;
mod logins;
mod replay;
mod token_flows;
mod world;

/// Reads an image: what comes of it, and which requests that took.
fn check(world: &world::World, expected: Expect) {
    expected.assert_eq(&world.read());
}
