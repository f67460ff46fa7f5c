//! Objects that come in several parts.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context;
use md5::{Digest as _, Md5};

use super::{Answer, Reply, Request, Taker, body, keep, place, record, refuse};
use crate::server::answer::{Refusal, text};
use crate::service::Service;
use crate::state::names;

/// The directory of the parts of an upload; its name is one that we gave.
fn directory(service: &Service, upload: &str) -> Result<PathBuf, Refusal> {
    let plain = upload.len() == 32 && upload.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let directory = service.directory.join("uploads").join(upload);
    if plain && directory.is_dir() {
        return Ok(directory);
    }
    Err(refuse(404, "NoSuchUpload", "The specified upload does not exist."))
}

pub(super) fn begin(request: &Request<'_>) -> Answer {
    let upload = names::letters(32);
    let directory = request.service.directory.join("uploads").join(&upload);
    std::fs::create_dir_all(directory)
        .map_err(|error| Refusal::from(anyhow::Error::from(error)))?;
    Ok(Reply::Xml(format!(
        "<InitiateMultipartUploadResult><Bucket>{}</Bucket><Key>{}</Key><UploadId>{upload}\
         </UploadId></InitiateMultipartUploadResult>",
        request.bucket,
        text(request.key)
    )))
}

pub(super) fn put(mut request: Request<'_>, upload: &str) -> Answer {
    let directory = directory(request.service, upload)?;
    let number = request.query.number("partNumber", 10_000)?;
    let number = number.ok_or_else(|| refuse(400, "InvalidArgument", "partNumber is missing"))?;
    let arrived = body(request.body.take())?;
    let etag = arrived.md5.clone();
    // The name tells the order and the content, so that a list of parts can be believed.
    let name = directory.join(format!("{number:05}-{etag}"));
    arrived.file.persist(name).map_err(|error| Refusal::from(anyhow::Error::from(error)))?;
    Ok(Reply::Done(vec![("ETag", format!("\"{etag}\""))]))
}

pub(super) fn complete(mut request: Request<'_>, upload: &str) -> Answer {
    let directory = directory(request.service, upload)?;
    let arrived = body(request.body.take())?;
    let mut list = Vec::new();
    std::io::Read::read_to_end(
        &mut std::fs::File::open(arrived.file.path()).context("the list").map_err(Refusal::from)?,
        &mut list,
    )
    .context("the list of parts")
    .map_err(Refusal::from)?;
    let wanted = numbered(&list)?;
    let mut taker = Taker::new(request.service)?;
    let mut sums = Md5::new();
    for (number, etag) in &wanted {
        let name = directory.join(format!("{number:05}-{etag}"));
        let Ok(bytes) = std::fs::read(name) else {
            return Err(refuse(400, "InvalidPart", format!("part {number} was not uploaded")));
        };
        sums.update(hex::decode(etag).unwrap_or_default());
        taker.take(&bytes)?;
    }
    let etag = format!("{}-{}", hex::encode(sums.finalize()), wanted.len());
    let object = keep(request.service, place(&request), taker.end()?, Some(etag.clone()))?;
    record(request.service, object)?;
    std::fs::remove_dir_all(directory).ok();
    Ok(Reply::Xml(format!(
        "<CompleteMultipartUploadResult><Location>local</Location><Bucket>{}</Bucket><Key>{}</Key>\
         <ETag>&quot;{etag}&quot;</ETag></CompleteMultipartUploadResult>",
        request.bucket,
        text(request.key)
    )))
}

/// Numbers and sums of the parts, in ascending order.
pub(crate) fn numbered(xml: &[u8]) -> Result<BTreeMap<u32, String>, Refusal> {
    let malformed = || refuse(400, "MalformedXML", "The XML you provided was not well-formed");
    let mut wanted = BTreeMap::new();
    let (mut number, mut etag) = (None, None);
    for (name, value) in super::xml::elements(xml).ok_or_else(malformed)? {
        match name.as_str() {
            "PartNumber" => number = value.parse().ok(),
            "ETag" => etag = Some(value.trim_matches('"').to_owned()),
            _ => {}
        }
        if let (Some(known), Some(sum)) = (number, etag.clone()) {
            if sum.len() != 32 || !sum.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(malformed());
            }
            wanted.insert(known, sum);
            (number, etag) = (None, None);
        }
    }
    if wanted.is_empty() { Err(malformed()) } else { Ok(wanted) }
}

/// What has arrived of an upload is forgotten.
pub(super) fn abort(request: &Request<'_>, upload: &str) -> Answer {
    std::fs::remove_dir_all(directory(request.service, upload)?).ok();
    Ok(Reply::NoContent)
}
