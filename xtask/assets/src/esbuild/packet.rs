//! The packets that esbuild and its host exchange: a length, an id, and one value, which is JSON
//! but for its bytes. All numbers are 32 bits, the lowest byte first.

use std::collections::BTreeMap;
use std::io::Read;

use anyhow::{Context, Result, bail};

/// What a packet carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(u32),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Map(BTreeMap<String, Value>),
}

/// A question or its answer, which has the same id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) id: u32,
    pub(super) is_request: bool,
    pub(super) value: Value,
}

/// Most bytes of one packet that are believed.
const MOST: u32 = 1 << 30;
/// Lists in lists in lists: more than any answer has.
const DEEPEST: usize = 64;

impl Value {
    pub(super) fn map<const N: usize>(fields: [(&str, Value); N]) -> Value {
        Value::Map(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    pub(super) fn texts<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Value {
        Value::List(texts.into_iter().map(|text| Value::Text(text.into())).collect())
    }

    /// A field of a map; [`Value::Null`] where there is none.
    pub(super) fn get(&self, key: &str) -> &Value {
        match self {
            Value::Map(fields) => fields.get(key).unwrap_or(&Value::Null),
            _ => &Value::Null,
        }
    }

    pub(super) fn text(&self) -> &str {
        match self {
            Value::Text(text) => text,
            _ => "",
        }
    }

    pub(super) fn number(&self) -> usize {
        match self {
            Value::Number(number) => *number as usize,
            _ => 0,
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Value::Bytes(bytes) => bytes,
            Value::Text(text) => text.as_bytes(),
            _ => &[],
        }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        match self {
            Value::Bytes(bytes) => bytes,
            Value::Text(text) => text.into_bytes(),
            _ => Vec::new(),
        }
    }

    pub(super) fn into_list(self) -> Vec<Value> {
        match self {
            Value::List(values) => values,
            _ => Vec::new(),
        }
    }

    /// A field of a map, which has it no more.
    pub(super) fn take(&mut self, key: &str) -> Value {
        match self {
            Value::Map(fields) => fields.remove(key).unwrap_or(Value::Null),
            _ => Value::Null,
        }
    }

    pub(super) fn list(&self) -> &[Value] {
        match self {
            Value::List(values) => values,
            _ => &[],
        }
    }

    fn write(&self, to: &mut Vec<u8>) {
        match self {
            Value::Null => to.push(0),
            Value::Bool(value) => to.extend([1, u8::from(*value)]),
            Value::Number(value) => {
                to.push(2);
                to.extend(value.to_le_bytes());
            }
            Value::Text(text) => {
                to.push(3);
                write_bytes(to, text.as_bytes());
            }
            Value::Bytes(bytes) => {
                to.push(4);
                write_bytes(to, bytes);
            }
            Value::List(values) => {
                to.push(5);
                write_length(to, values.len());
                values.iter().for_each(|value| value.write(to));
            }
            Value::Map(fields) => {
                to.push(6);
                write_length(to, fields.len());
                for (key, value) in fields {
                    write_bytes(to, key.as_bytes());
                    value.write(to);
                }
            }
        }
    }
}

fn write_length(to: &mut Vec<u8>, length: usize) {
    to.extend(u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
}

fn write_bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    write_length(to, bytes.len());
    to.extend(bytes);
}

impl Packet {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; 4];
        bytes.extend((self.id << 1 | u32::from(!self.is_request)).to_le_bytes());
        self.value.write(&mut bytes);
        let length = u32::try_from(bytes.len() - 4).unwrap_or(u32::MAX);
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        bytes
    }

    pub(super) fn receive(from: &mut impl Read) -> Result<Packet> {
        let bytes = block(from)?;
        let mut rest = &bytes[..];
        let id = length(&mut rest)?;
        let value = read(&mut rest, 0)?;
        Ok(Packet { id: id >> 1, is_request: id & 1 == 0, value })
    }
}

/// What follows a length of that many bytes.
pub(super) fn block(from: &mut impl Read) -> Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length).context("it ended")?;
    let length = u32::from_le_bytes(length);
    if length > MOST {
        bail!("it announced {length} bytes");
    }
    let mut bytes = vec![0; length as usize];
    from.read_exact(&mut bytes).context("it ended in the middle of an answer")?;
    Ok(bytes)
}

fn take<'b>(rest: &mut &'b [u8], count: usize) -> Result<&'b [u8]> {
    let (taken, left) = rest.split_at_checked(count).context("its answer is cut off")?;
    *rest = left;
    Ok(taken)
}

fn length(rest: &mut &[u8]) -> Result<u32> {
    let bytes = take(rest, 4)?.try_into().unwrap_or_default();
    Ok(u32::from_le_bytes(bytes))
}

fn bytes<'b>(rest: &mut &'b [u8]) -> Result<&'b [u8]> {
    let count = length(rest)?;
    take(rest, count as usize)
}

fn text(rest: &mut &[u8]) -> Result<String> {
    Ok(String::from_utf8_lossy(bytes(rest)?).into_owned())
}

fn read(rest: &mut &[u8], depth: usize) -> Result<Value> {
    if depth > DEEPEST {
        bail!("its answer is nested too deeply");
    }
    Ok(match take(rest, 1)?[0] {
        0 => Value::Null,
        1 => Value::Bool(take(rest, 1)?[0] != 0),
        2 => Value::Number(length(rest)?),
        3 => Value::Text(text(rest)?),
        4 => Value::Bytes(bytes(rest)?.to_vec()),
        5 => {
            let count = length(rest)?;
            let values = (0..count).map(|_| read(rest, depth + 1));
            Value::List(values.collect::<Result<_>>()?)
        }
        6 => {
            let count = length(rest)?;
            let fields = (0..count).map(|_| Ok((text(rest)?, read(rest, depth + 1)?)));
            Value::Map(fields.collect::<Result<_>>()?)
        }
        other => bail!("its answer has a value of the unknown kind {other}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_what_is_received() {
        let value = Value::map([
            ("nothing", Value::Null),
            ("yes", Value::Bool(true)),
            ("number", Value::Number(7)),
            ("list", Value::List(vec![Value::Bytes(vec![0, 255]), Value::Text("é".into())])),
        ]);
        let packet = Packet { id: 5, is_request: false, value };
        let bytes = packet.bytes();
        assert_eq!(Packet::receive(&mut &bytes[..]).unwrap(), packet);
        for end in 0..bytes.len() {
            assert!(Packet::receive(&mut &bytes[..end]).is_err(), "cut off at {end}");
        }
    }
}
