//! The part of S3 that `eb` uses: objects by path, in one part or several.
//!
//! An object is a file of its own, written whole before it is on record; what is never on record,
//! because the server was killed, is removed at the next start.

pub(crate) mod parts;
pub(crate) mod xml;

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use md5::{Digest as _, Md5};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::Sha256;

use crate::bundle::MOST_BYTES;
use crate::server::answer::{Refusal, text};
use crate::server::query::Query;
use crate::service::Service;
use crate::state::{Change, Moment, Object, Place, State, names};

/// Bytes that arrived, in a file that is not on record yet.
pub(crate) struct Arrived {
    pub(crate) file: tempfile::NamedTempFile,
    pub(crate) size: u64,
    pub(crate) md5: String,
    pub(crate) sha256: String,
    pub(crate) crc32: u32,
}

/// Takes a body piece by piece.
pub(crate) struct Taker {
    file: tempfile::NamedTempFile,
    size: u64,
    md5: Md5,
    sha256: Sha256,
    crc32: crc32fast::Hasher,
}

impl Taker {
    pub(crate) fn new(service: &Service) -> Result<Taker> {
        let directory = directory(service);
        std::fs::create_dir_all(&directory)?;
        Ok(Taker {
            file: tempfile::NamedTempFile::new_in(directory)?,
            size: 0,
            md5: Md5::new(),
            sha256: Sha256::new(),
            crc32: crc32fast::Hasher::new(),
        })
    }

    /// # Errors
    ///
    /// When it is more than any bundle may have, or the disk is full.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.size += bytes.len() as u64;
        if self.size > MOST_BYTES + 1024 * 1024 {
            return Err(Refusal {
                status: 400,
                code: "EntityTooLarge",
                message: format!("an object has at most {MOST_BYTES} bytes here"),
            });
        }
        self.md5.update(bytes);
        self.sha256.update(bytes);
        self.crc32.update(bytes);
        self.file.write_all(bytes).context("can't write the object").map_err(Refusal::from)
    }

    pub(crate) fn end(self) -> Result<Arrived> {
        self.file.as_file().sync_all()?;
        Ok(Arrived {
            file: self.file,
            size: self.size,
            md5: hex::encode(self.md5.finalize()),
            sha256: hex::encode(self.sha256.finalize()),
            crc32: self.crc32.finalize(),
        })
    }
}

fn directory(service: &Service) -> PathBuf {
    service.directory.join("objects")
}

pub(crate) fn file(service: &Service, object: &Object) -> PathBuf {
    directory(service).join(&object.file)
}

pub(crate) fn read(service: &Service, object: &Object) -> Option<Vec<u8>> {
    std::fs::read(file(service, object)).ok()
}

pub(crate) fn remove(service: &Service, object: &Object) {
    std::fs::remove_file(file(service, object)).ok();
}

/// Writes an object that is to be put on record by the caller.
pub(crate) fn write(service: &Service, place: Place, bytes: &[u8]) -> Result<Object, Refusal> {
    let mut taker = Taker::new(service)?;
    taker.take(bytes)?;
    keep(service, place, taker.end()?, None).map_err(Refusal::from)
}

fn keep(service: &Service, place: Place, arrived: Arrived, etag: Option<String>) -> Result<Object> {
    let name = names::letters(32);
    let directory = directory(service);
    arrived.file.persist(directory.join(&name))?;
    std::fs::File::open(&directory)?.sync_all()?;
    Ok(Object {
        place,
        file: name,
        size: arrived.size,
        etag: etag.unwrap_or(arrived.md5),
        modified: Moment::now(),
    })
}

/// Files of objects that are not on record.
pub(crate) fn remove_unknown(service: &Service) -> Result<()> {
    let known: Vec<String> =
        service.read(|state| state.objects.values().map(|it| it.file.clone()).collect());
    for entry in std::fs::read_dir(directory(service)).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !known.contains(&name) && entry.path().is_file() {
            std::fs::remove_file(entry.path())?;
        }
    }
    std::fs::remove_dir_all(service.directory.join("uploads")).ok();
    Ok(())
}

/// What is answered.
pub(crate) enum Reply {
    Xml(String),
    /// Nothing but headers.
    Done(Vec<(&'static str, String)>),
    NoContent,
    File(Object),
}

type Answer = Result<Reply, Refusal>;

fn refuse(status: u16, code: &'static str, message: impl Into<String>) -> Refusal {
    Refusal { status, code, message: message.into() }
}

/// One request, its body arrived.
pub(crate) struct Request<'a> {
    pub(crate) service: &'a Arc<Service>,
    pub(crate) method: &'a str,
    /// The bucket and the key, decoded.
    pub(crate) bucket: &'a str,
    pub(crate) key: &'a str,
    pub(crate) query: &'a Query,
    /// Names of parameters without a value, such as `uploads`.
    pub(crate) bare: &'a [String],
    pub(crate) body: Option<Arrived>,
    pub(crate) region: &'a str,
}

/// # Errors
///
/// With the codes of S3.
pub(crate) fn act(request: Request<'_>) -> Answer {
    let bare = |name: &str| request.bare.iter().any(|it| it == name);
    let upload = request.query.text("uploadId").map(str::to_owned);
    if request.bucket.is_empty() {
        return list_buckets(&request);
    }
    if request.bucket != names::bucket(request.region) {
        return Err(refuse(404, "NoSuchBucket", "The specified bucket does not exist"));
    }
    match (request.method, request.key.is_empty(), upload) {
        ("GET" | "HEAD", true, _) if bare("location") => {
            // The first region has no name here, as with S3.
            let region = if request.region == "us-east-1" { "" } else { request.region };
            Ok(Reply::Xml(format!("<LocationConstraint>{region}</LocationConstraint>")))
        }
        ("HEAD", true, _) => Ok(Reply::Done(Vec::new())),
        ("PUT", true, _) => Ok(Reply::Done(Vec::new())),
        ("GET", true, _) => list(&request),
        ("POST", true, _) if bare("delete") => delete_many(request),
        ("GET" | "HEAD", false, None) => {
            let place = place(&request);
            let object = request.service.read(|state| state.objects.get(&place).cloned());
            object
                .map(Reply::File)
                .ok_or_else(|| refuse(404, "NoSuchKey", "The specified key does not exist."))
        }
        ("DELETE", false, None) => {
            delete(request.service, &[place(&request)])?;
            Ok(Reply::NoContent)
        }
        ("PUT", false, None) => put(request),
        ("POST", false, None) if bare("uploads") => parts::begin(&request),
        ("PUT", false, Some(upload)) => parts::put(request, &upload),
        ("POST", false, Some(upload)) => parts::complete(request, &upload),
        ("DELETE", false, Some(upload)) => parts::abort(&request, &upload),
        _ => Err(refuse(400, "NotImplemented", "this part of S3 is not simulated")),
    }
}

fn place(request: &Request<'_>) -> Place {
    Place { bucket: request.bucket.to_owned(), key: request.key.to_owned() }
}

fn list_buckets(request: &Request<'_>) -> Answer {
    let name = names::bucket(request.region);
    Ok(Reply::Xml(format!(
        "<ListAllMyBucketsResult><Owner><ID>local</ID></Owner><Buckets><Bucket><Name>{name}</Name>\
         <CreationDate>2026-01-01T00:00:00.000Z</CreationDate></Bucket></Buckets>\
         </ListAllMyBucketsResult>"
    )))
}

/// Both versions of the listing, in one page.
fn list(request: &Request<'_>) -> Answer {
    let prefix = request.query.text("prefix").unwrap_or_default();
    let encoded = |key: &str| match request.query.text("encoding-type") {
        Some("url") => utf8_percent_encode(key, NON_ALPHANUMERIC).to_string(),
        _ => text(key),
    };
    let second = request.query.text("list-type") == Some("2");
    let mut xml = format!(
        "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>{}</Name>\
         <Prefix>{}</Prefix><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>",
        request.bucket,
        encoded(prefix)
    );
    if request.query.text("encoding-type") == Some("url") {
        xml += "<EncodingType>url</EncodingType>";
    }
    request.service.read(|state| {
        let from = Place { bucket: request.bucket.to_owned(), key: prefix.to_owned() };
        let range = state.objects.range(from..);
        let own = range.take_while(|(place, _)| {
            place.bucket == request.bucket && place.key.starts_with(prefix)
        });
        let mut count = 0;
        for (place, object) in own {
            count += 1;
            xml += &format!(
                "<Contents><Key>{}</Key><LastModified>{}</LastModified><ETag>&quot;{}&quot;</ETag>\
                 <Size>{}</Size><StorageClass>STANDARD</StorageClass></Contents>",
                encoded(&place.key),
                object.modified,
                object.etag,
                object.size
            );
        }
        if second {
            xml += &format!("<KeyCount>{count}</KeyCount>");
        }
    });
    Ok(Reply::Xml(xml + "</ListBucketResult>"))
}

/// Puts an object on record; what was there before goes.
fn record(service: &Service, object: Object) -> Result<(), Refusal> {
    let old = service.change(|draft| {
        let old = draft.state().objects.get(&object.place).cloned();
        draft.put(Change::Object(object));
        Ok(old)
    })?;
    if let Some(old) = old {
        remove(service, &old);
    }
    Ok(())
}

fn body(body: Option<Arrived>) -> Result<Arrived, Refusal> {
    body.ok_or_else(|| refuse(400, "MissingRequestBodyError", "Request body is empty."))
}

fn put(mut request: Request<'_>) -> Answer {
    let arrived = body(request.body.take())?;
    let object = keep(request.service, place(&request), arrived, None)?;
    let etag = format!("\"{}\"", object.etag);
    record(request.service, object)?;
    Ok(Reply::Done(vec![("ETag", etag)]))
}

fn delete_many(mut request: Request<'_>) -> Answer {
    let arrived = body(request.body.take())?;
    let xml = std::fs::read(arrived.file.path()).context("the list").map_err(Refusal::from)?;
    let elements = xml::elements(&xml)
        .ok_or_else(|| refuse(400, "MalformedXML", "The XML you provided was not well-formed"))?;
    let keys: Vec<String> =
        elements.into_iter().filter(|(name, _)| name == "Key").map(|(_, key)| key).collect();
    let bucket = request.bucket.to_owned();
    let places: Vec<Place> =
        keys.iter().map(|key| Place { bucket: bucket.clone(), key: key.clone() }).collect();
    delete(request.service, &places)?;
    let deleted = keys.iter().map(|key| format!("<Deleted><Key>{}</Key></Deleted>", text(key)));
    Ok(Reply::Xml(format!("<DeleteResult>{}</DeleteResult>", deleted.collect::<String>())))
}

fn delete(service: &Service, places: &[Place]) -> Result<(), Refusal> {
    let gone = service.change(|draft| {
        let state: &State = draft.state();
        let there = places.iter().filter_map(|place| state.objects.get(place));
        let gone: Vec<Object> = there.cloned().collect();
        gone.iter().for_each(|object| draft.put(Change::NoObject(object.place.clone())));
        Ok(gone)
    })?;
    gone.iter().for_each(|object| remove(service, object));
    Ok(())
}

/// The bucket and key of a path, decoded; `None` when it is no text.
pub(crate) fn split(path: &str) -> Option<(String, String)> {
    let path = path.strip_prefix('/')?;
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    let decode = |text: &str| percent_decode_str(text).decode_utf8().ok().map(String::from);
    Some((decode(bucket)?, decode(key)?))
}
