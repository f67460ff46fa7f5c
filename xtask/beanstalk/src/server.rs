//! The HTTP server on loopback: who calls, for which service, and what is answered.
//!
//! `eb` signs each call for a service, and that is how it is routed: `elasticbeanstalk`, `s3`,
//! `iam`, `ec2`, `sts`. What is not signed is the console, the logs behind their secret
//! addresses, and the drills.

pub(crate) mod answer;
pub(crate) mod auth;
pub(crate) mod query;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http_body_util::BodyExt;
use sha2::{Digest as _, Sha256};

use self::answer::Refusal;
use self::auth::Scope;
use self::query::Query;
use crate::actions::{self, Call};
use crate::service::{Service, locked};
use crate::state::names;
use crate::storage::{self, Arrived, Reply, Taker};
use crate::{console, drills, stubs};

/// What a call of the query API may have: properties of 4 KiB and some hundred options.
const MOST_QUERY_BYTES: usize = 1024 * 1024;

/// A client that sends nothing for so long is gone.
const SILENCE: Duration = Duration::from_secs(60);

/// Serves until the future ends.
pub(crate) async fn serve(
    service: Arc<Service>,
    listener: tokio::net::TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let app = Router::new().fallback(handle).with_state(service);
    axum::serve(listener, app).with_graceful_shutdown(stop).await.context("the server failed")
}

async fn handle(State(service): State<Arc<Service>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let slow = locked(&service.drills).slow;
    if !slow.is_zero() {
        tokio::time::sleep(slow).await;
    }
    let mut response = match local(&parts) {
        true => unsigned(service, parts, body).await,
        false => signed(service, parts, body).await,
    };
    // Without it `eb` fails on every answer.
    let date = httpdate::fmt_http_date(SystemTime::now());
    if let Ok(date) = HeaderValue::from_str(&date) {
        response.headers_mut().insert(header::DATE, date);
    }
    response
}

/// Whether it is for us and not for AWS.
fn local(parts: &Parts) -> bool {
    let signed = parts.headers.contains_key(header::AUTHORIZATION);
    parts.uri.path().starts_with("/local/") || !signed && parts.method == Method::GET
}

fn respond(status: u16, kind: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// Where S3 says the number of a request: an answer to HEAD has no other place.
const REQUEST: &str = "x-amz-request-id";
const XML: &str = "text/xml";
const TEXT: &str = "text/plain; charset=utf-8";

/// A page of the web must not use what is open to this machine: only names of it are answered,
/// which no other name can be made to lead to.
fn own_name(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|it| it.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    matches!(name, "127.0.0.1" | "localhost" | "[::1]") || name.ends_with(".localhost")
}

async fn unsigned(service: Arc<Service>, parts: Parts, body: Body) -> Response {
    if !own_name(&parts.headers) {
        return respond(403, TEXT, "this server answers to localhost only\n");
    }
    let path = parts.uri.path().to_owned();
    if let Some(token) = path.strip_prefix("/local/logs/") {
        let token = token.to_owned();
        let read = blocking(move || crate::logs::read(&service, &token)).await;
        return match read {
            Some((content, _)) => respond(200, "application/octet-stream", content),
            None => respond(404, TEXT, "there are no such logs\n"),
        };
    }
    if path == "/local/drill" && parts.method == Method::POST {
        let from_a_page = parts.headers.contains_key(header::ORIGIN);
        let Ok(body) = whole(body).await else { return respond(400, TEXT, "too long\n") };
        if from_a_page {
            return respond(403, TEXT, "drills are not for pages\n");
        }
        return match drills::set(&service, &Query::parse(&body)) {
            Ok(text) => respond(200, TEXT, text),
            Err(refusal) => respond(400, TEXT, refusal.message + "\n"),
        };
    }
    let query = Query::parse(parts.uri.query().unwrap_or_default().as_bytes());
    match blocking(move || console::page(&service, &path, &query)).await {
        Some((kind, page)) => respond(200, kind, page),
        None => respond(404, TEXT, "there is no such page\n"),
    }
}

/// State is behind a lock and on a disk: not for the threads that wait for the network.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

async fn signed(service: Arc<Service>, parts: Parts, body: Body) -> Response {
    let request = names::request();
    let (parts, body) = match summed(parts, body).await {
        Ok(both) => both,
        Err(refusal) => return refuse(&refusal, "elasticbeanstalk", &request),
    };
    let scope = match auth::check(&parts, SystemTime::now()) {
        Ok(scope) => scope,
        Err(refusal) => return refuse(&refusal, "elasticbeanstalk", &request),
    };
    if let Err(refusal) = drills::refuse(&service) {
        return refuse(&refusal, &scope.service, &request);
    }
    // IAM has one region for all.
    let own = &service.options.region;
    if scope.region != *own && !matches!(scope.service.as_str(), "iam" | "sts") {
        let region = &scope.region;
        let refusal = Refusal {
            status: 403,
            code: "SignatureDoesNotMatch",
            message: format!(
                "Credential should be scoped to a valid region, not '{region}'. The local Elastic \
                 Beanstalk is {own}."
            ),
        };
        return refuse(&refusal, &scope.service, &request);
    }
    let answered = match scope.service.as_str() {
        "s3" => objects(service, &parts, body, &scope, &request).await,
        _ => query_api(service, body, &scope, &request).await,
    };
    answered.unwrap_or_else(|refusal| refuse(&refusal, &scope.service, &request))
}

/// boto3 and the AWS CLI sign the body of a query without saying its sum; `eb` says it, as for S3.
async fn summed(mut parts: Parts, body: Body) -> Result<(Parts, Body), Refusal> {
    if parts.headers.contains_key(auth::SUM) {
        return Ok((parts, body));
    }
    let body = whole(body).await?;
    let sum = hex::encode(Sha256::digest(&body));
    if let Ok(sum) = HeaderValue::from_str(&sum) {
        parts.headers.insert(auth::SUM, sum);
    }
    Ok((parts, Body::from(body)))
}

fn refuse(refusal: &Refusal, service: &str, request: &str) -> Response {
    let (code, message) = (refusal.code, answer::text(&refusal.message));
    let xml = match service {
        "s3" => format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>\
             {message}</Message><RequestId>{request}</RequestId></Error>"
        ),
        "ec2" => format!(
            "<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error>\
             </Errors><RequestID>{request}</RequestID></Response>"
        ),
        _ => answer::refusal(refusal, request),
    };
    let mut response = respond(refusal.status, XML, xml);
    if service == "s3" {
        put_header(&mut response, REQUEST, request);
    }
    response
}

/// All of a body that is small.
async fn whole(body: Body) -> Result<Vec<u8>, Refusal> {
    let too_long = || Refusal {
        status: 400,
        code: "RequestEntityTooLarge",
        message: format!("a call has at most {MOST_QUERY_BYTES} bytes"),
    };
    let limited = http_body_util::Limited::new(body, MOST_QUERY_BYTES);
    let collected = tokio::time::timeout(SILENCE, limited.collect()).await;
    let collected = collected.map_err(|_| too_long())?.map_err(|_| too_long())?;
    Ok(collected.to_bytes().to_vec())
}

async fn query_api(
    service: Arc<Service>,
    body: Body,
    scope: &Scope,
    request: &str,
) -> Result<Response, Refusal> {
    let body = whole(body).await?;
    let signed = scope.payload.as_deref();
    if signed.is_some_and(|sum| sum.len() == 64 && sum != hex::encode(Sha256::digest(&body))) {
        return Err(mismatch());
    }
    let query = Query::parse(&body);
    let action = query.text("Action").unwrap_or_default().to_owned();
    if action.is_empty() {
        let message = "Missing Action".to_owned();
        return Err(Refusal { status: 400, code: "MissingAction", message });
    }
    let (name, region, request) = (scope.service.clone(), scope.region.clone(), request.to_owned());
    blocking(move || {
        let xml = match name.as_str() {
            "iam" => stubs::identity(&action, &query, &request)?,
            "ec2" => stubs::machines(&action, &query, &request)?,
            "sts" => stubs::caller(&action, &request)?,
            "elasticbeanstalk" => {
                let call =
                    Call { service: &service, query: &query, region: &region, request: &request };
                answer::success(&action, actions::act(&action, &call)?, &request)
            }
            other => {
                return Err(Refusal {
                    status: 400,
                    code: "InvalidAction",
                    message: format!("The service {other} is not simulated"),
                });
            }
        };
        Ok(respond(200, XML, xml))
    })
    .await
}

fn mismatch() -> Refusal {
    Refusal {
        status: 400,
        code: "XAmzContentSHA256Mismatch",
        message: "The provided 'x-amz-content-sha256' header does not match what was computed."
            .to_owned(),
    }
}

/// S3: the body goes to a file as it comes.
async fn objects(
    service: Arc<Service>,
    parts: &Parts,
    body: Body,
    scope: &Scope,
    request: &str,
) -> Result<Response, Refusal> {
    let invalid = || Refusal {
        status: 400,
        code: "InvalidURI",
        message: "Couldn't parse the specified URI.".to_owned(),
    };
    let (bucket, key) = storage::split(parts.uri.path()).ok_or_else(invalid)?;
    let raw = parts.uri.query().unwrap_or_default();
    let query = Query::parse(raw.as_bytes());
    let bare = raw.split('&').map(|pair| pair.trim_end_matches('=')).map(str::to_owned);
    let bare: Vec<String> = bare.filter(|name| !name.contains('=')).collect();
    let arrived = match parts.method {
        Method::PUT | Method::POST => Some(arrive(&service, body, parts, scope).await?),
        _ => None,
    };
    let method = parts.method.clone();
    let region = scope.region.clone();
    let request = request.to_owned();
    blocking(move || {
        let reply = storage::act(storage::Request {
            service: &service,
            method: method.as_str(),
            bucket: &bucket,
            key: &key,
            query: &query,
            bare: &bare,
            body: arrived,
            region: &region,
        })?;
        Ok(object_response(&service, &method, reply, &request))
    })
    .await
}

fn object_response(service: &Service, method: &Method, reply: Reply, request: &str) -> Response {
    let mut response = match reply {
        Reply::Xml(xml) => respond(
            200,
            "application/xml",
            format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>{xml}"),
        ),
        Reply::NoContent => respond(204, "application/xml", Body::empty()),
        Reply::Done(headers) => {
            let mut response = respond(200, "application/xml", Body::empty());
            for (name, value) in headers {
                put_header(&mut response, name, &value);
            }
            response
        }
        Reply::File(object) => {
            let body = match *method {
                Method::HEAD => Some(Vec::new()),
                _ => storage::read(service, &object),
            };
            let Some(body) = body else {
                let message = "The specified key does not exist.".to_owned();
                let refusal = Refusal { status: 404, code: "NoSuchKey", message };
                return refuse(&refusal, "s3", request);
            };
            let mut response = respond(200, "application/octet-stream", body);
            put_header(&mut response, "ETag", &format!("\"{}\"", object.etag));
            let modified = httpdate::fmt_http_date(object.modified.time());
            put_header(&mut response, "Last-Modified", &modified);
            put_header(&mut response, "Content-Length", &object.size.to_string());
            response
        }
    };
    put_header(&mut response, REQUEST, request);
    response
}

fn put_header(response: &mut Response, name: &'static str, value: &str) {
    if let (Ok(name), Ok(value)) =
        (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
    {
        response.headers_mut().insert(name, value);
    }
}

/// # Errors
///
/// When the client stops sending, or what came is not what it said it would send.
async fn arrive(
    service: &Arc<Service>,
    mut body: Body,
    parts: &Parts,
    scope: &Scope,
) -> Result<Arrived, Refusal> {
    let incomplete = || Refusal {
        status: 400,
        code: "IncompleteBody",
        message: "You did not provide the number of bytes specified by Content-Length".to_owned(),
    };
    let mut taker = Taker::new(service)?;
    while let Some(frame) =
        tokio::time::timeout(SILENCE, body.frame()).await.map_err(|_| incomplete())?
    {
        let frame = frame.map_err(|_| incomplete())?;
        if let Ok(bytes) = frame.into_data() {
            taker = blocking(move || taker.take(&bytes).map(|()| taker)).await?;
        }
    }
    let arrived = blocking(move || taker.end()).await?;
    let said = |name: &str| parts.headers.get(name).and_then(|it| it.to_str().ok());
    if said("content-length").is_some_and(|length| length != arrived.size.to_string()) {
        return Err(incomplete());
    }
    let sum = scope.payload.as_deref().filter(|sum| sum.len() == 64);
    if sum.is_some_and(|sum| sum != arrived.sha256) {
        return Err(mismatch());
    }
    let own = BASE64.encode(arrived.crc32.to_be_bytes());
    if said("x-amz-checksum-crc32").is_some_and(|sum| sum != own) {
        return Err(Refusal {
            status: 400,
            code: "BadDigest",
            message: "The CRC32 you specified did not match the calculated checksum.".to_owned(),
        });
    }
    Ok(arrived)
}
