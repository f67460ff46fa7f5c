//! Who calls: AWS Signature Version 4 with the one key pair `local` / `local`.
//!
//! Real keys are refused, so that they are never used here by mistake; the signature is checked, so
//! that a wrong secret is found here and not on the day of the first real deployment.

use std::time::{Duration, SystemTime};

use axum::http::request::Parts;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::{Digest as _, Sha256};

use super::answer::Refusal;

/// The one identifier and secret.
pub(crate) const KEY: &str = "local";

/// The header with the sum of the body, as it is signed.
pub(crate) const SUM: &str = "x-amz-content-sha256";

/// What a signature leaves as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// How far the clocks may be apart.
const SKEW: Duration = Duration::from_secs(15 * 60);

/// What the caller said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) region: String,
    pub(crate) service: String,
    pub(crate) payload: Option<String>,
}

struct Claim<'a> {
    key: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
    headers: &'a str,
    signature: &'a str,
}

/// # Errors
///
/// When the header is missing, the key is another, the time is off or the signature is wrong.
pub(crate) fn check(parts: &Parts, now: SystemTime) -> Result<Scope, Refusal> {
    let header = header(parts, "authorization").ok_or_else(|| {
        refuse("MissingAuthenticationToken", "Request is missing Authentication Token")
    })?;
    let claim = claim(header).ok_or_else(|| {
        refuse("IncompleteSignature", "the Authorization header is no AWS4-HMAC-SHA256 signature")
    })?;
    if claim.key != KEY {
        return Err(refuse(
            "InvalidClientTokenId",
            "The security token included in the request is invalid: this is a local Elastic \
             Beanstalk, whose only key pair is local / local (AWS_ACCESS_KEY_ID=local \
             AWS_SECRET_ACCESS_KEY=local)",
        ));
    }
    let date = self::header(parts, "x-amz-date").unwrap_or_default();
    let signed = signed_at(date)
        .ok_or_else(|| refuse("IncompleteSignature", "Date must be in ISO-8601 'basic format'"))?;
    let apart = now.duration_since(signed).unwrap_or_else(|error| error.duration());
    if apart > SKEW || !date.starts_with(claim.date) {
        let message = format!("Signature expired: {date} is now more than 15 min. away");
        return Err(Refusal { status: 403, code: "RequestTimeTooSkewed", message });
    }
    if !verifies(parts, &claim, date) {
        return Err(refuse(
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided. Check \
             your AWS Secret Access Key and signing method: the secret of a local Elastic \
             Beanstalk is 'local'",
        ));
    }
    let payload = self::header(parts, SUM).map(str::to_owned);
    Ok(Scope { region: claim.region.to_owned(), service: claim.service.to_owned(), payload })
}

fn refuse(code: &'static str, message: &str) -> Refusal {
    Refusal { status: 403, code, message: message.to_owned() }
}

fn header<'a>(parts: &'a Parts, name: &str) -> Option<&'a str> {
    parts.headers.get(name)?.to_str().ok()
}

fn claim(header: &str) -> Option<Claim<'_>> {
    let fields = header.strip_prefix("AWS4-HMAC-SHA256")?.trim();
    let field = |name: &str| {
        let found = fields.split(',').find_map(|field| field.trim().strip_prefix(name));
        found?.strip_prefix('=')
    };
    let mut scope = field("Credential")?.rsplitn(5, '/');
    let ("aws4_request", service) = (scope.next()?, scope.next()?) else { return None };
    let (region, date, key) = (scope.next()?, scope.next()?, scope.next()?);
    let (headers, signature) = (field("SignedHeaders")?, field("Signature")?);
    Some(Claim { key, date, region, service, headers, signature })
}

/// `20261121T082229Z`.
fn signed_at(date: &str) -> Option<SystemTime> {
    let (day, time) = date.strip_suffix('Z')?.split_once('T')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if day.len() != 8 || time.len() != 6 || !digits(day) || !digits(time) {
        return None;
    }
    let text = format!(
        "{}-{}-{}T{}:{}:{}Z",
        &day[..4],
        &day[4..6],
        &day[6..],
        &time[..2],
        &time[2..4],
        &time[4..]
    );
    humantime::parse_rfc3339(&text).ok()
}

fn verifies(parts: &Parts, claim: &Claim<'_>, date: &str) -> bool {
    let scope = format!("{}/{}/{}/aws4_request", claim.date, claim.region, claim.service);
    let canonical = Sha256::digest(canonical(parts, claim));
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex::encode(canonical));
    let mut key = format!("AWS4{KEY}").into_bytes();
    for part in [claim.date, claim.region, claim.service, "aws4_request"] {
        key = sign(&key, part);
    }
    let Ok(claimed) = hex::decode(claim.signature) else { return false };
    mac(&key, &text).verify_slice(&claimed).is_ok()
}

fn mac(key: &[u8], text: &str) -> Hmac<Sha256> {
    #[allow(clippy::expect_used)]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    mac.update(text.as_bytes());
    mac
}

fn sign(key: &[u8], text: &str) -> Vec<u8> {
    mac(key, text).finalize().into_bytes().to_vec()
}

/// The request as it was signed.
fn canonical(parts: &Parts, claim: &Claim<'_>) -> String {
    // Only S3 does not encode the path a second time.
    let path = parts.uri.path();
    let path = match claim.service {
        "s3" => path.to_owned(),
        _ => path.split('/').map(encode).collect::<Vec<_>>().join("/"),
    };
    let mut query: Vec<(String, String)> = Vec::new();
    for pair in parts.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        query.push((again(name), again(value)));
    }
    query.sort();
    let query: Vec<String> =
        query.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut canonical = format!("{}\n{path}\n{}\n", parts.method, query.join("&"));
    for name in claim.headers.split(';') {
        let values = parts.headers.get_all(name).iter();
        let values: Vec<&str> = values.filter_map(|value| value.to_str().ok()).collect();
        let value = values.join(",");
        let value = value.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        canonical.push_str(&format!("{name}:{value}\n"));
    }
    let payload = header(parts, SUM).unwrap_or_default();
    canonical + "\n" + claim.headers + "\n" + payload
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

fn again(text: &str) -> String {
    let decoded: Vec<u8> = percent_decode_str(&text.replace('+', "%20")).collect();
    percent_encoding::percent_encode(&decoded, PLAIN).to_string()
}
