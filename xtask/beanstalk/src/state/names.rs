//! Names and numbers that the service gives, and the ARNs made of them.

use super::{ACCOUNT, Environment};

/// `e-` and ten letters or digits.
pub(crate) fn environment() -> String {
    format!("e-{}", letters(10))
}

/// `i-` and seventeen hexadecimal digits.
pub(crate) fn instance() -> String {
    format!("i-{}", &hex::encode(random::<9>())[..17])
}

/// A random UUID, as in every answer.
pub(crate) fn request() -> String {
    let mut bytes = random::<16>();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = hex::encode(bytes);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

pub(crate) fn letters(count: usize) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let bytes = random::<32>();
    bytes[..count].iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect()
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // The kernel's numbers are there on every system that runs Docker.
    getrandom::fill(&mut bytes).unwrap_or_default();
    bytes
}

pub(crate) fn environment_arn(environment: &Environment) -> String {
    let Environment { region, application, name, .. } = environment;
    format!("arn:aws:elasticbeanstalk:{region}:{ACCOUNT}:environment/{application}/{name}")
}

/// The bucket of the service in this region.
pub(crate) fn bucket(region: &str) -> String {
    format!("elasticbeanstalk-{region}-{ACCOUNT}")
}
