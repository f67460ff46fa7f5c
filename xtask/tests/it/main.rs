//! The behaviour of `cargo xtask`, seen from outside: the real binary in temporary projects, with
//! the real git and the real docker. Programs are faked only to inject faults.
//!
//! One binary links once. `tiers.rs` says which tests run when.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_macros)]

mod dsl;

mod another_day;
mod any_engine;
mod apt_repository;
mod asked;
mod assets;
mod bad_input;
mod beanstalk;
mod behind_proxy;
mod both_stores;
mod breaks;
mod browser;
mod bundle;
mod campaign;
mod ci_jobs;
mod cli;
mod compose_files;
mod deploy;
mod deploy_killed;
mod deploy_reads;
mod deploy_secrets;
mod deploy_times;
mod dev_loop;
mod distributions;
mod dotenv;
mod dry_release;
mod dry_run;
mod eb;
mod elsewhere;
mod engines;
mod faults;
mod faulty;
mod first_page;
mod freshness;
mod gates;
mod histories;
mod host;
mod ignore_rules;
mod images;
mod kept;
mod killed;
mod killer;
mod life;
mod live;
mod old_assets;
mod procfile;
mod prune;
mod races;
mod random_stacks;
mod reasons;
mod recipe;
mod registry;
mod rehearse;
mod release;
mod release_contents;
mod release_repositories;
mod releases;
mod rollback_facts;
mod schema_gate;
mod secrets;
mod services;
mod shared_cache;
mod shop;
mod start_verdict;
mod survivors;
mod tampered;
mod tidy;
mod tiers;
mod unusable_files;
mod verdicts;
mod verify;
mod ward;
mod whole;
