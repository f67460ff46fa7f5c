//! One file per subcommand, named like it: the order of its steps and their effects.
//!
//! Steps that several commands share are free functions of the command they belong to.

mod assets;
mod check;
mod ci;
mod dev;
mod doctor;
pub(crate) mod env;
mod gate;
mod image;
mod logs;
mod parity;
mod plan;
mod restart;
mod run;
mod setup;
mod shell;
mod start;
mod status;
mod stop;
mod test;
