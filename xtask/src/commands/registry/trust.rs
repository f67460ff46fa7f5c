//! How docker would reach a registry: with which certificates, without any, past which proxy.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use anyhow::Result;

use crate::ctx::{Ctx, QUESTION};
use crate::exit;
use crate::tools::curl::Trust;
use crate::tools::registry::Insecure;
use crate::tools::{docker, getent};

/// What docker's settings and the engine say of a host.
pub(super) fn trust(ctx: &Ctx, host: &str) -> Result<Trust> {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let addresses = match name.parse::<IpAddr>() {
        Ok(address) => vec![address],
        Err(_) if name == "localhost" => vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        Err(_) => resolve(ctx, name)?,
    };
    let loopback = addresses.iter().any(IpAddr::is_loopback);
    let authority = Path::new("/etc/docker/certs.d").join(host).join("ca.crt");
    Ok(Trust {
        insecure: loopback || is_insecure(ctx, host, &addresses)?,
        // curl looks at SSL_CERT_FILE only where no other of its variables is set.
        authority: Some(authority).filter(|path| path.is_file()).or_else(|| ctx.certificates()),
        past_proxies: loopback,
    })
}

/// Whether the engine would talk to a host without TLS, or with anybody's.
fn is_insecure(ctx: &Ctx, host: &str, addresses: &[IpAddr]) -> Result<bool> {
    let insecure: Insecure = match ctx.ask(docker::registry_config(&ctx.sh), QUESTION) {
        Ok(answer) => serde_json::from_str(&answer.stdout).unwrap_or_default(),
        Err(error) if exit::code(&error) == exit::INTERRUPTED => return Err(error),
        // Without an engine nothing but loopback is.
        Err(_) => Insecure::default(),
    };
    Ok(insecure.holds(host, addresses))
}

/// The addresses of a name; none where it has none, as behind a proxy.
fn resolve(ctx: &Ctx, name: &str) -> Result<Vec<IpAddr>> {
    match ctx.ask(getent::addresses(&ctx.sh, name), QUESTION) {
        Ok(answer) => {
            let words = answer.stdout.lines().filter_map(|line| line.split(' ').next());
            Ok(words.filter_map(|word| word.parse().ok()).collect())
        }
        Err(error) if exit::code(&error) == exit::INTERRUPTED => Err(error),
        Err(_) => Ok(Vec::new()),
    }
}
