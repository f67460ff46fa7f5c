//! Lengths of time and sizes as compose writes them, each in one form whatever way it was written.

use std::time::Duration;

use serde_json::Value;

/// Such as `1m30s` or `500ms`.
pub(super) fn duration(value: &Value) -> Result<Duration, String> {
    let text = value.as_str().unwrap_or_default();
    humantime::parse_duration(text)
        .map_err(|_| format!("{value} is no length of time such as 30s or 1m30s"))
}

/// The same, in one way for each length.
pub(super) fn duration_text(duration: Duration) -> String {
    match duration.subsec_nanos() {
        0 => format!("{}s", duration.as_secs()),
        nanos if nanos % 1_000_000 == 0 => format!("{}ms", duration.as_millis()),
        _ => format!("{}ns", duration.as_nanos()),
    }
}

/// Bytes: a number, or one with a unit such as `512m` or `1.5g`; units are powers of 1024.
pub(super) fn bytes(value: &Value) -> Result<u64, String> {
    let wrong = || format!("{value} is no size such as 512m or 1g");
    if let Some(number) = value.as_u64() {
        return Ok(number);
    }
    let text = value.as_str().unwrap_or_default().trim().to_ascii_lowercase();
    let digits = text.trim_end_matches(|it: char| it.is_ascii_alphabetic() || it == ' ');
    let unit = text[digits.len()..].trim();
    let unit = unit.strip_suffix("ib").or(unit.strip_suffix('b')).unwrap_or(unit);
    let power = ["", "k", "m", "g", "t"].iter().position(|known| *known == unit);
    let factor = 1_u64 << (10 * power.ok_or_else(wrong)?);
    let number: f64 = digits.parse().ok().filter(|it| *it >= 0.0).ok_or_else(wrong)?;
    let bytes = number * factor as f64;
    if bytes.fract() != 0.0 || bytes > 1e15 { Err(wrong()) } else { Ok(bytes as u64) }
}

/// Whole seconds within what ECS takes.
pub(super) fn seconds(duration: Duration, least: u64, most: u64) -> Result<u64, String> {
    let seconds = duration.as_secs();
    match duration.subsec_nanos() == 0 && (least..=most).contains(&seconds) {
        true => Ok(seconds),
        false => {
            let given = duration_text(duration);
            Err(format!("it is {given}, and ECS takes whole seconds from {least} to {most}"))
        }
    }
}

/// Whole MiB.
pub(super) fn mebibytes(bytes: u64) -> Result<u64, String> {
    match bytes % (1 << 20) {
        0 if bytes > 0 => Ok(bytes >> 20),
        _ => Err(format!("it is {bytes} bytes, and ECS takes whole MiB")),
    }
}
