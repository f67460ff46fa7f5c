//! The whole command line. Six words and no flags: everything else is configuration, and that is
//! in the environment (see `config`).

pub(crate) const USAGE: &str = "\
Usage: app [COMMAND]

Commands:
  serve      answer HTTP requests until SIGTERM or SIGINT (the default)
  migrate    bring the store's schema up to date, say what was applied
  variables  print the environment variables that serve reads, `required` behind some
  health     ask the server on $PORT whether it is well: exit 0 or 1
  --help     this text
  --version  version and commit

Environment:
  DATABASE_URL             sqlite:PATH or postgres://USER:PASSWORD@HOST/NAME (serve, migrate)
  DATABASE_WAIT_SECONDS    how long to wait for a store that starts later (30)
  HOST, PORT               address to listen on (0.0.0.0, 8080; port 0 is any free one)
  STATIC_DIR               built assets, served as /static (dist, else app/dist)
  ENV_CDN                  what asset URLs begin with, such as https://cdn.example.org (nothing)
  SHUTDOWN_GRACE_SECONDS   how long requests may finish after a stop signal (8)
  LOG_FORMAT               text or json (text)
  APP_VERSION, APP_COMMIT  what /health and the page say is running (dev, unknown)
  APP_PROCESS              process type in /health (web)
";

#[derive(Clone, Copy)]
pub(crate) enum Command {
    Serve,
    Migrate,
    Health,
    Variables,
    Help,
    Version,
}

/// # Errors
/// One sentence on what is wrong with the arguments.
pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Command, String> {
    let command = match arguments.next().as_deref() {
        None | Some("serve") => Command::Serve,
        Some("migrate") => Command::Migrate,
        Some("health") => Command::Health,
        Some("variables") => Command::Variables,
        Some("--help" | "-h" | "help") => Command::Help,
        Some("--version" | "-V") => Command::Version,
        Some(other) => return Err(format!("unknown command {other:?}")),
    };
    match arguments.next() {
        None => Ok(command),
        Some(extra) => Err(format!("unexpected argument {extra:?}")),
    }
}
