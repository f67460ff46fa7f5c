//! The app of the tests: an image with a small HTTP server in it, and bundles that run it.
//!
//! It answers with the text of its bundle's `version.txt` and the property `COLOR`, so that a test
//! sees which version answers, with which settings. Perl is in Debian's smallest image.

use std::io::Write;
use std::process::Command;
use std::sync::OnceLock;

use crate::dsl::docker;
use crate::tools;

/// RFC 2606 keeps `.invalid` from ever being a host: nobody pulls it.
const IMAGE: &str = "stevedore.invalid/beanstalk-test:2";
const DEBIAN: &str = "debian:trixie-slim";

/// `/` is the page; `/env` the environment, `/die` the end; a version `broken` answers 500.
const SERVER: &str = r#"
use IO::Socket::INET;
$| = 1;
$SIG{TERM} = $SIG{INT} = sub { exit 0 };
my $text = "no version.txt";
if (open my $file, "<", "version.txt") { $text = <$file> // ""; chomp $text; }
my $server = IO::Socket::INET->new(LocalPort => 8000, Listen => 50, ReuseAddr => 1) or die $!;
print "serving $text\n";
while (my $client = $server->accept) {
    my $line = <$client> // "";
    while (my $header = <$client>) { last if $header =~ /^\r?\n$/ }
    exit 3 if $line =~ m{^GET /die };
    my $body = "$text COLOR=" . ($ENV{COLOR} // "") . "\n";
    $body = join "", map { "$_=$ENV{$_}\n" } sort keys %ENV if $line =~ m{^GET /env };
    my $status = $text =~ /^broken/ ? "500 Internal Server Error" : "200 OK";
    print $client "HTTP/1.1 $status\r\nContent-Length: " . length($body)
        . "\r\nConnection: close\r\n\r\n$body";
    close $client;
}
"#;

/// The image, made once in this engine. It has a shell; its `CMD` serves port 8000 in `/app`.
pub(crate) fn image() -> &'static str {
    static MADE: OnceLock<()> = OnceLock::new();
    MADE.get_or_init(|| {
        let there = || !docker(&["image", "ls", "--quiet", IMAGE]).trim().is_empty();
        let lock = std::fs::File::create(
            std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("beanstalk-test.lock"),
        );
        let lock = lock.unwrap();
        lock.lock().unwrap();
        if !there() {
            make();
            assert!(there(), "the image of the tests could not be made");
        }
    });
    IMAGE
}

fn make() {
    let base = base();
    let container = docker(&["container", "create", &base, "true"]);
    let container = container.trim();
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("server.pl"), SERVER).unwrap();
    let source = directory.path().join("server.pl").display().to_string();
    docker(&["container", "cp", &source, &format!("{container}:/server.pl")]);
    let commit = [
        "container",
        "commit",
        "--change",
        "CMD [\"perl\", \"/server.pl\"]",
        "--change",
        "WORKDIR /app",
        "--change",
        "EXPOSE 8000",
        container,
        IMAGE,
    ];
    docker(&commit);
    docker(&["container", "rm", container]);
}

/// Debian: what `cargo xtask` has in this engine, else a registry's, else one of this machine's
/// mirror.
fn base() -> String {
    let own = "reference=stevedore.invalid/external:debian-trixie-slim-*";
    let format = "{{.Repository}}:{{.Tag}}";
    let found =
        docker(&["image", "ls", "--filter", own, "--filter", "dangling=false", "--format", format]);
    if let Some(image) = found.lines().next() {
        return image.to_owned();
    }
    let there = |image: &str| !docker(&["image", "ls", "--quiet", image]).trim().is_empty();
    docker(&["pull", "--quiet", DEBIAN]);
    if there(DEBIAN) {
        return DEBIAN.to_owned();
    }
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("image.tar");
    let mirror = format!("deb {} trixie main", mirror());
    let mut mmdebstrap = Command::new("mmdebstrap");
    mmdebstrap.args(["--variant=minbase", "--quiet", "trixie"]).arg(&archive).arg(mirror);
    tools::run(&mut mmdebstrap);
    let name = "stevedore.invalid/beanstalk-debian:trixie";
    docker(&["image", "import", &archive.display().to_string(), name]);
    name.to_owned()
}

/// Where this machine gets its Debian packages.
fn mirror() -> String {
    let files = ["/etc/apt/sources.list", "/etc/apt/sources.list.d/debian.sources"];
    let text: String = files.iter().filter_map(|file| std::fs::read_to_string(file).ok()).collect();
    let named =
        |word: &&str| word.starts_with("http") && word.trim_end_matches('/').ends_with("/debian");
    let mut words = text.split_whitespace();
    words.find(named).unwrap_or("http://deb.debian.org/debian").to_owned()
}

/// A compose file that serves the bundle's directory on port 80.
pub(crate) fn compose() -> String {
    format!(
        "services:\n  web:\n    image: {}\n    env_file: [.env]\n    ports: [\"80:8000\"]\n    \
         volumes: [\"./:/app:ro\", \"${{EB_LOG_BASE_DIR}}/web:/var/log/web\"]\n",
        image()
    )
}

/// A Dockerrun file of version 2 that does the same.
pub(crate) fn dockerrun() -> String {
    let image = image();
    serde_json::json!({
        "AWSEBDockerrunVersion": 2,
        "volumes": [{"name": "app", "host": {"sourcePath": "/var/app/current"}}],
        "containerDefinitions": [{
            "name": "web", "image": image, "essential": true, "memory": 64,
            "portMappings": [{"hostPort": 80, "containerPort": 8000}],
            "mountPoints": [{"sourceVolume": "app", "containerPath": "/app", "readOnly": true}],
        }],
    })
    .to_string()
}

/// A bundle of these files.
pub(crate) fn zip(files: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in files {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A bundle for the Docker branch; the version `broken` never becomes healthy.
pub(crate) fn bundle(version: &str) -> Vec<u8> {
    zip(&[("docker-compose.yml", &compose()), ("version.txt", version)])
}

/// A bundle for the ECS branch.
pub(crate) fn ecs_bundle(version: &str) -> Vec<u8> {
    zip(&[("Dockerrun.aws.json", &dockerrun()), ("version.txt", version)])
}
