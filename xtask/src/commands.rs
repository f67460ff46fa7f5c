//! One file per subcommand, named like it: the order of its steps and their effects.
//!
//! Steps that several commands share are free functions of the command they belong to.

mod assets;
mod beanstalk;
mod bundle;
mod check;
mod ci;
mod deploy;
mod dev;
mod diff;
mod doctor;
pub(crate) mod env;
mod gate;
mod guard;
mod image;
mod logs;
mod parity;
mod plan;
mod ports;
mod preflight;
mod procfile;
mod program;
mod publish;
mod registry;
mod rehearse;
mod release;
mod releases;
mod restart;
mod rollback;
mod run;
mod selftest;
mod setup;
mod shell;
mod start;
mod status;
mod stop;
mod test;
mod volumes;
