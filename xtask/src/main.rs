//! `cargo xtask`: parse, find the project, dispatch, render the error once.

use std::process::ExitCode;

use clap::CommandFactory;

mod cli;
mod commands;
mod ctx;
mod exit;
mod project;
mod release;
mod secret;
mod supervise;
mod tools;
mod watch;

fn main() -> ExitCode {
    let cli = match cli::Cli::from_words(std::env::args_os().collect()) {
        Ok(cli) => cli,
        Err(error) => return ExitCode::from(refuse(&error)),
    };
    let json = cli.global.json;
    match dispatch(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => ExitCode::from(render(&error, json)),
    }
}

/// Shows help, or what is wrong with the command line: the exit code.
fn refuse(error: &clap::Error) -> u8 {
    // A pipe that is closed is nobody's fault.
    let _ = error.print();
    let code = u8::try_from(error.exit_code()).unwrap_or(exit::USAGE);
    // Nothing could be parsed, so the flag is looked for as it was typed.
    let words = std::env::args_os().take_while(|word| word != "--");
    if code != 0 && words.into_iter().any(|word| word == "--json") {
        let message = error.to_string();
        tell(code, message.trim_start_matches("error: ").trim_end());
    }
    code
}

/// The last line of a failed command with `--json`.
fn tell(code: u8, message: &str) {
    use std::io::Write;
    let event = serde_json::json!({"event": "error", "code": code, "message": message});
    let _ = writeln!(anstream::stdout(), "{event}");
}

fn dispatch(cli: cli::Cli) -> anyhow::Result<u8> {
    if let cli::Command::Completions(cli::Completions { shell }) = cli.command {
        clap_complete::generate(shell, &mut cli::Cli::command(), "xtask", &mut std::io::stdout());
        return Ok(0);
    }
    if let cli::Command::Guard(flags) = cli.command {
        return flags.run().map(|()| 0);
    }
    let ctx = ctx::Ctx::new(&cli.global)?;
    run(cli.command, &ctx).inspect_err(|error| ctx.annotate(&format!("{error:#}")))
}

fn run(command: cli::Command, ctx: &ctx::Ctx) -> anyhow::Result<u8> {
    let done = |()| 0;
    match command {
        cli::Command::Setup(flags) => flags.run(ctx).map(done),
        cli::Command::Doctor(flags) => flags.run(ctx).map(done),
        cli::Command::Dev(flags) => flags.run(ctx).map(done),
        cli::Command::Start(flags) => flags.run(ctx).map(done),
        cli::Command::Stop(flags) => flags.run(ctx).map(done),
        cli::Command::Restart(flags) => flags.run(ctx).map(done),
        cli::Command::Status(flags) => flags.run(ctx).map(done),
        cli::Command::Logs(flags) => flags.run(ctx).map(done),
        cli::Command::Shell(flags) => flags.run(ctx),
        cli::Command::Run(flags) => flags.run(ctx),
        cli::Command::Image(cli::Image::Build(flags)) => flags.run(ctx).map(done),
        cli::Command::Image(cli::Image::Destroy(flags)) => flags.run(ctx).map(done),
        cli::Command::Image(cli::Image::Update(flags)) => flags.run(ctx).map(done),
        cli::Command::Image(cli::Image::List(flags)) => flags.run(ctx).map(done),
        cli::Command::Image(cli::Image::Inputs(flags)) => flags.run(ctx).map(done),
        cli::Command::Image(cli::Image::Why(flags)) => flags.run(ctx).map(done),
        cli::Command::Image(cli::Image::Pull(flags)) => flags.run(ctx).map(done),
        cli::Command::Image(cli::Image::Prune(flags)) => flags.run(ctx).map(done),
        cli::Command::Plan(flags) => flags.run(ctx).map(done),
        cli::Command::Assets(cli::Assets::Build(flags)) => flags.run(ctx).map(done),
        cli::Command::Assets(cli::Assets::Check(flags)) => flags.run(ctx).map(done),
        cli::Command::Assets(cli::Assets::Watch(flags)) => flags.run(ctx).map(done),
        cli::Command::Assets(cli::Assets::Update(flags)) => flags.run(ctx).map(done),
        cli::Command::Env(cli::Env::Init(flags)) => commands::env::init(flags, ctx).map(done),
        cli::Command::Env(cli::Env::Check(flags)) => commands::env::check(flags, ctx).map(done),
        cli::Command::Env(cli::Env::Show(flags)) => commands::env::show(flags, ctx).map(done),
        cli::Command::Check(flags) => flags.run(ctx).map(done),
        cli::Command::Parity(flags) => flags.run(ctx).map(done),
        cli::Command::Test(flags) => flags.run(ctx).map(done),
        cli::Command::Ci(flags) => flags.run(ctx).map(done),
        cli::Command::Selftest(flags) => flags.run(ctx).map(done),
        cli::Command::Publish(flags) => flags.run(ctx).map(done),
        cli::Command::Release(flags) => flags.run(ctx).map(done),
        cli::Command::Bundle(flags) => flags.run(ctx).map(done),
        cli::Command::Deploy(flags) => flags.run(ctx).map(done),
        cli::Command::Rollback(flags) => flags.run(ctx).map(done),
        cli::Command::Rehearse(flags) => flags.run(ctx).map(done),
        cli::Command::Releases(flags) => flags.run(ctx).map(done),
        cli::Command::Diff(flags) => flags.run(ctx).map(done),
        cli::Command::Beanstalk(command) => command.run(ctx),
        cli::Command::Procfile(flags) => flags.run(ctx).map(done),
        cli::Command::Guard(_) | cli::Command::Completions(_) => unreachable!("handled above"),
    }
}

/// The one place that shows an error; its exit code.
fn render(error: &anyhow::Error, json: bool) -> u8 {
    use std::io::Write;
    let code = exit::code(error);
    let closed = error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
    });
    if closed {
        return code;
    }
    if !exit::is_asked_for(error) {
        let style = anstyle::AnsiColor::Red.on_default().bold();
        let _ = writeln!(anstream::stderr(), "{style}error:{style:#} {error:#}");
    }
    if json {
        tell(code, &format!("{error:#}"));
    }
    code
}
