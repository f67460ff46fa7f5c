//! Calls as the AWS clients make them, signed with Signature Version 4; and answers, read without a
//! model, so that a test can also send what no client would.

use std::time::{Duration, SystemTime};

use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest as _, Sha256};

use crate::dsl::REGION;

const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub(crate) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

/// One request; what a test does not say is as it should be.
#[derive(Clone, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    /// With its query, if any, whose parameters are sorted and encoded.
    pub(crate) path: &'a str,
    pub(crate) body: &'a [u8],
    pub(crate) service: &'a str,
    pub(crate) region: &'a str,
    pub(crate) key: &'a str,
    pub(crate) secret: &'a str,
    pub(crate) now: SystemTime,
    /// Sent in place of the signature.
    pub(crate) authorization: Option<&'a str>,
}

impl Request<'_> {
    pub(crate) fn query() -> Request<'static> {
        Request {
            method: "POST",
            path: "/",
            body: b"",
            service: "elasticbeanstalk",
            region: REGION,
            key: "local",
            secret: "local",
            now: SystemTime::now(),
            authorization: None,
        }
    }

    pub(crate) fn s3() -> Request<'static> {
        Request { method: "GET", service: "s3", ..Request::query() }
    }

    /// Sends it to 127.0.0.1.
    pub(crate) fn send(&self, port: u16) -> Reply {
        self.send_with_body(port, self.body)
    }

    /// With another body than the one that is signed.
    pub(crate) fn send_with_body(&self, port: u16, body: &[u8]) -> Reply {
        let host = format!("127.0.0.1:{port}");
        let date = humantime::format_rfc3339_seconds(self.now).to_string().replace(['-', ':'], "");
        let payload = hex::encode(Sha256::digest(self.body));
        let authorization = match self.authorization {
            Some(given) => given.to_owned(),
            None => self.authorization(&host, &date, &payload),
        };
        let config = ureq::Agent::config_builder()
            .proxy(None)
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .timeout_global(Some(Duration::from_secs(120)));
        let mut request = ureq::http::Request::builder()
            .method(self.method)
            .uri(format!("http://{host}{}", self.path))
            .header("X-Amz-Date", &date)
            .header("X-Amz-Content-Sha256", &payload);
        if !authorization.is_empty() {
            request = request.header("Authorization", authorization);
        }
        if self.service != "s3" {
            request = request.header("Content-Type", "application/x-www-form-urlencoded");
        }
        let agent = config.build().new_agent();
        let answer = match body.is_empty() {
            true => agent.run(request.body(()).unwrap()),
            false => agent.run(request.body(body).unwrap()),
        };
        let answer = answer.unwrap_or_else(|error| panic!("{} {}: {error}", host, self.path));
        let status = answer.status().as_u16();
        let dated = answer.headers().contains_key("date");
        let body = answer.into_body().with_config().limit(1 << 30).read_to_vec().unwrap();
        assert!(dated, "an answer without a date: {}", String::from_utf8_lossy(&body));
        Reply { status, body }
    }

    fn authorization(&self, host: &str, date: &str, payload: &str) -> String {
        let Request { method, service, region, .. } = self;
        let (path, query) = self.path.split_once('?').unwrap_or((self.path, ""));
        let names = "host;x-amz-content-sha256;x-amz-date";
        let headers = format!("host:{host}\nx-amz-content-sha256:{payload}\nx-amz-date:{date}\n");
        let canonical = format!("{method}\n{path}\n{query}\n{headers}\n{names}\n{payload}");
        let day = &date[..8];
        let scope = format!("{day}/{region}/{service}/aws4_request");
        let canonical = hex::encode(Sha256::digest(canonical));
        let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{canonical}");
        let mut key = format!("AWS4{}", self.secret).into_bytes();
        for part in [day, region, service, "aws4_request", &text] {
            let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
            mac.update(part.as_bytes());
            key = mac.finalize().into_bytes().to_vec();
        }
        let (name, signature) = (self.key, hex::encode(key));
        format!(
            "AWS4-HMAC-SHA256 Credential={name}/{scope}, SignedHeaders={names}, \
             Signature={signature}"
        )
    }
}

/// The body of a call of the query API.
pub(crate) fn form(action: &str, parameters: &[(&str, &str)]) -> String {
    let mut form = format!("Action={action}&Version=2010-12-01");
    for (name, value) in parameters {
        form += &format!("&{}={}", encoded(name), encoded(value));
    }
    form
}

/// A call of Elastic Beanstalk.
pub(crate) fn call(port: u16, action: &str, parameters: &[(&str, &str)]) -> Reply {
    let form = form(action, parameters);
    Request { body: form.as_bytes(), ..Request::query() }.send(port)
}

#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn xml(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn succeeds(self) -> Reply {
        assert!((200..300).contains(&self.status), "{}: {}", self.status, self.xml());
        self
    }

    /// Refused with this status and code, in the service's way of refusing.
    #[track_caller]
    pub(crate) fn refuses(self, status: u16, code: &str) -> Reply {
        assert_eq!((self.status, &*self.text("Code")), (status, code), "{}", self.xml());
        self
    }

    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Reply {
        let xml = self.xml();
        assert!(xml.contains(text), "no {text:?} in {xml}");
        self
    }

    /// The first element of a name.
    #[track_caller]
    pub(crate) fn text(&self, name: &str) -> String {
        let texts = self.texts(name).into_iter().next();
        texts.unwrap_or_else(|| panic!("no {name} in {}", self.xml()))
    }

    /// The text of each element of a name that has no elements in it.
    pub(crate) fn texts(&self, name: &str) -> Vec<String> {
        use quick_xml::events::Event;
        let mut reader = quick_xml::Reader::from_reader(&*self.body);
        let (mut within, mut text, mut texts) = (false, String::new(), Vec::new());
        loop {
            match reader.read_event() {
                Err(error) => panic!("{error}: {}", self.xml()),
                Ok(Event::Eof) => return texts,
                Ok(Event::Empty(it)) if it.name().as_ref() == name => {
                    texts.push(String::new());
                }
                Ok(Event::Start(it)) => {
                    within = it.name().as_ref() == name;
                    text.clear();
                }
                Ok(Event::End(_)) => {
                    texts.extend(within.then(|| std::mem::take(&mut text)));
                    within = false;
                }
                Ok(Event::Text(it)) if within => text += &it.into_inner(),
                Ok(Event::GeneralRef(it)) if within => {
                    let entity = format!("&{};", it.into_inner());
                    text += &quick_xml::escape::unescape(&entity).unwrap();
                }
                Ok(_) => {}
            }
        }
    }
}
