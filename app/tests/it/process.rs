//! The process: its command line, its environment, its log, its start and its end.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use serde_json::Value;

use crate::database::Database;
use crate::dist::Dist;
use crate::http::{self, DEADLINE};
use crate::server::{Server, migrate, run};

#[test]
fn a_request_in_flight_is_answered_after_the_stop_signal() {
    let database = Database::sqlite();
    let mut server = Server::start(&database);
    let body = r#"{"kind":"run","minutes":31}"#;
    let mut stream = http::connect(server.address);
    let length = body.len();
    write!(stream, "POST /activity HTTP/1.1\r\nhost: app\r\nexpect: 100-continue\r\n").unwrap();
    write!(stream, "content-type: application/json\r\ncontent-length: {length}\r\n\r\n").unwrap();
    // The server asks for the body once a handler reads it: the request is in flight.
    let mut line = String::new();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, "HTTP/1.1 100 Continue\r\n");
    reader.read_line(&mut line).unwrap();

    server.signal("TERM");
    server.wait_for_line("stopping");
    wait_until_refused(&server);
    write!(stream, "{body}").unwrap();
    let response = http::read_response(&mut stream);
    assert_eq!((response.status, &response.json()["minutes"]), (201, &31.into()));
    assert!(server.ended().success());
    assert!(!server.log.iter().any(|it| it.contains("cut off")), "{:?}", server.log);
    assert!(server.log.last().unwrap().ends_with(" info stopped"), "{:?}", server.log);
    assert_eq!(Server::start_with(&database, &[]).kinds(""), ["run"]);
}

/// The listener is closed right after the line that says so.
fn wait_until_refused(server: &Server) {
    let started = Instant::now();
    while TcpStream::connect(server.address).is_ok() {
        assert!(started.elapsed() < DEADLINE, "it still accepts connections");
        std::thread::yield_now();
    }
}

#[test]
fn a_request_that_outlives_the_grace_period_is_cut_off() {
    let database = Database::sqlite();
    migrate(&database);
    let mut server = Server::start_with(&database, &[("SHUTDOWN_GRACE_SECONDS", "0")]);
    let mut stream = http::connect(server.address);
    write!(stream, "POST /activity HTTP/1.1\r\nhost: app\r\nexpect: 100-continue\r\n").unwrap();
    write!(stream, "content-length: 5\r\n\r\n").unwrap();
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line).unwrap();
    assert_eq!(line, "HTTP/1.1 100 Continue\r\n");
    server.signal("INT");
    assert!(server.ended().success());
    assert!(server.log.iter().any(|it| it.contains("warn cut off")), "{:?}", server.log);
}

#[test]
fn an_idle_connection_does_not_delay_the_stop() {
    let database = Database::sqlite();
    let mut server = Server::start(&database);
    let mut stream = http::connect(server.address);
    write!(stream, "GET /health HTTP/1.1\r\nhost: app\r\n\r\n").unwrap();
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line).unwrap();
    assert_eq!(line, "HTTP/1.1 200 OK\r\n");
    server.signal("TERM");
    assert!(server.ended().success());
    assert!(!server.log.iter().any(|it| it.contains("cut off")), "{:?}", server.log);
}

#[test]
fn every_wrong_variable_is_named_in_one_message() {
    let wrong = [
        ("DATABASE_URL", "mysql://me:hunter2@db/x"),
        ("DATABASE_WAIT_SECONDS", "soon"),
        ("HOST", "localhost"),
        ("PORT", "65536"),
        ("STATIC_DIR", "Cargo.toml"),
        ("ENV_CDN", "cdn.example.org"),
        ("SHUTDOWN_GRACE_SECONDS", "-1"),
        ("LOG_FORMAT", "xml"),
        ("APP_VERSION", "two\nlines"),
    ];
    let finished = run(&[], &wrong);
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(2), ""));
    let told: Vec<&str> = finished.stderr.lines().skip(1).collect();
    assert_eq!(told.len(), wrong.len(), "{finished:?}");
    for (name, _) in wrong {
        assert!(told.iter().any(|it| it.starts_with(&format!("  {name}: "))), "{name} {told:?}");
    }
    assert!(!finished.stderr.contains("hunter2"), "{finished:?}");
}

#[test]
fn a_missing_store_is_told_with_what_to_set() {
    for command in ["serve", "migrate"] {
        // What nobody set, compose passes as empty.
        for variables in [&[][..], &[("DATABASE_URL", "")][..]] {
            let finished = run(&[command], variables);
            assert_eq!(finished.code, Some(2));
            let wanted = "DATABASE_URL: is missing: set it to sqlite:PATH or postgres://";
            assert!(finished.stderr.contains(wanted), "{finished:?}");
        }
    }
}

#[test]
fn an_in_memory_store_is_refused() {
    for url in ["sqlite::memory:", "sqlite:x?mode=memory"] {
        let finished = run(&["migrate"], &[("DATABASE_URL", url)]);
        assert_eq!(finished.code, Some(2));
        assert!(finished.stderr.contains("name a file"), "{finished:?}");
    }
}

#[test]
fn a_password_is_never_told() {
    let port = closed_port().to_string();
    for rest in
        ["127.0.0.1:PORT/x", "127.0.0.1:PORT", "127.0.0.1:port/x", "/x", "127.0.0.1:PORT/x?a=1"]
    {
        let rest = rest.replace("PORT", &port);
        for password in ["hunter2", "hun/hunter2", "hun#hunter2", "hun:hunter2@"] {
            let url = format!("postgres://me:{password}@{rest}");
            let variables = [("DATABASE_URL", url.as_str()), ("DATABASE_WAIT_SECONDS", "0")];
            for command in ["serve", "migrate"] {
                let finished = run(&[command], &variables);
                assert_ne!(finished.code, Some(0));
                let told = format!("{}{}", finished.stdout, finished.stderr);
                assert!(!told.contains("hunter2"), "{url}: {told}");
            }
        }
    }
}

#[test]
fn a_store_that_does_not_answer_is_waited_for_only_so_long() {
    let url = format!("postgres://me:pw@127.0.0.1:{}/x", closed_port());
    let finished = run(&["serve"], &[("DATABASE_URL", &url), ("DATABASE_WAIT_SECONDS", "1")]);
    assert_eq!(finished.code, Some(1));
    assert!(finished.stdout.contains(" warn waiting store=postgres "), "{finished:?}");
    let told = "the postgres store did not answer within 1 seconds";
    assert!(finished.stderr.contains(told), "{finished:?}");
}

#[test]
fn health_answers_with_the_exit_code() {
    let database = Database::sqlite();
    let server = Server::start(&database);
    let port = server.address.port().to_string();
    let finished = run(&["health"], &[("PORT", &port)]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(finished.stdout.starts_with(r#"{"status":"ok","#), "{finished:?}");
    server.stop();
    let finished = run(&["health"], &[("PORT", &port)]);
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(1), ""));
    assert!(finished.stderr.contains("no answer from http://127.0.0.1:"), "{finished:?}");
    assert_eq!(run(&["health"], &[("PORT", "0")]).code, Some(2));
}

#[test]
fn help_and_version_need_no_environment() {
    let help = run(&["--help"], &[]);
    assert_eq!(help.code, Some(0));
    for word in ["serve", "migrate", "health", "DATABASE_URL", "SHUTDOWN_GRACE_SECONDS"] {
        assert!(help.stdout.contains(word), "{word}");
    }
    assert_eq!(run(&["--version"], &[]).stdout, "app dev (unknown)\n");
    let named = [("APP_VERSION", "1.2.3"), ("APP_COMMIT", "0123abc")];
    assert_eq!(run(&["--version"], &named).stdout, "app 1.2.3 (0123abc)\n");
}

#[test]
fn a_wrong_command_line_is_answered_with_the_usage() {
    for arguments in [&["fly"][..], &["serve", "now"][..], &["--port"][..]] {
        let finished = run(arguments, &[]);
        assert_eq!((finished.code, finished.stdout.as_str()), (Some(2), ""));
        assert!(finished.stderr.contains("Usage: app [COMMAND]"), "{finished:?}");
    }
}

#[test]
fn requests_are_logged_but_not_successful_health_checks() {
    let database = Database::sqlite();
    let mut server = Server::start(&database);
    server.get("/health");
    server.get("/activities?limit=1");
    server.get("/a%20b");
    server.signal("TERM");
    server.ended();
    let requests: Vec<&String> = server.log.iter().filter(|it| it.contains(" request ")).collect();
    assert_eq!(requests.len(), 2, "{requests:?}");
    assert!(requests[0].contains("method=GET path=/activities status=200 ms="), "{requests:?}");
    assert!(requests[1].contains("method=GET path=/a%20b status=404 ms="), "{requests:?}");
}

#[test]
fn json_logs_are_one_object_a_line() {
    let database = Database::sqlite();
    migrate(&database);
    let dist = Dist::built();
    let variables = [("LOG_FORMAT", "json"), ("STATIC_DIR", dist.path())];
    let mut server = Server::start_with(&database, &variables);
    server.get("/");
    server.signal("TERM");
    server.ended();
    let line = |text: &String| serde_json::from_str::<Value>(text).unwrap();
    let lines: Vec<Value> = server.log.iter().map(line).collect();
    let events: Vec<&str> = lines.iter().map(|it| it["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["listening", "request", "stopping", "stopped"]);
    assert_eq!((&lines[1]["path"], &lines[1]["status"]), (&"/".into(), &200.into()));
}

/// A port that nothing listens on.
fn closed_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}
