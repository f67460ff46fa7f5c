//! What is answered: XML as botocore parses it, and refusals with the service's own codes.

use std::fmt::Write as _;

use quick_xml::escape::escape;

use crate::state::Moment;

/// A refusal; 500 and above are never used, because `eb` would try again for minutes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn invalid(message: impl Into<String>) -> Refusal {
        Refusal { status: 400, code: "InvalidParameterValue", message: message.into() }
    }

    pub(crate) fn validation(problem: &str) -> Refusal {
        let message = format!("1 validation error detected: {problem}");
        Refusal { status: 400, code: "ValidationError", message }
    }
}

impl From<anyhow::Error> for Refusal {
    /// What failed here, the disk for example: never a 5xx.
    fn from(error: anyhow::Error) -> Refusal {
        let message = format!("{error:#}");
        Refusal { status: 400, code: "ElasticBeanstalkServiceException", message }
    }
}

/// A part of an answer.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Text(String),
    Fields(Vec<(&'static str, Node)>),
    List(Vec<Node>),
}

impl From<&str> for Node {
    fn from(text: &str) -> Node {
        Node::Text(text.to_owned())
    }
}

impl From<String> for Node {
    fn from(text: String) -> Node {
        Node::Text(text)
    }
}

impl From<Moment> for Node {
    fn from(moment: Moment) -> Node {
        Node::Text(moment.to_string())
    }
}

impl From<bool> for Node {
    fn from(flag: bool) -> Node {
        Node::Text(flag.to_string())
    }
}

/// Fields of a structure, added one after the other; what is `None` is left out.
#[derive(Debug, Default)]
pub(crate) struct Fields(Vec<(&'static str, Node)>);

impl Fields {
    pub(crate) fn new() -> Fields {
        Fields::default()
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Node>) -> Fields {
        self.0.push((name, value.into()));
        self
    }

    pub(crate) fn maybe(self, name: &'static str, value: Option<impl Into<Node>>) -> Fields {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    pub(crate) fn list(self, name: &'static str, members: impl Iterator<Item = Node>) -> Fields {
        self.with(name, Node::List(members.collect()))
    }
}

impl From<Fields> for Node {
    fn from(fields: Fields) -> Node {
        Node::Fields(fields.0)
    }
}

const NAMESPACE: &str = "http://elasticbeanstalk.amazonaws.com/docs/2010-12-01/";

/// The answer to an action; without a result it is the number of the request alone.
pub(crate) fn success(action: &str, result: Option<Node>, request: &str) -> String {
    let mut xml = format!("<{action}Response xmlns=\"{NAMESPACE}\">");
    if let Some(node) = result {
        element(&mut xml, &format!("{action}Result"), &node);
    }
    write!(xml, "<ResponseMetadata><RequestId>{request}</RequestId></ResponseMetadata>").ok();
    write!(xml, "</{action}Response>").ok();
    xml
}

pub(crate) fn refusal(refusal: &Refusal, request: &str) -> String {
    format!(
        "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>Sender</Type><Code>{}</Code><Message>\
         {}</Message></Error><RequestId>{request}</RequestId></ErrorResponse>",
        refusal.code,
        text(&refusal.message)
    )
}

fn element(xml: &mut String, name: &str, node: &Node) {
    write!(xml, "<{name}>").ok();
    match node {
        Node::Text(content) => xml.push_str(&text(content)),
        Node::Fields(fields) => fields.iter().for_each(|(name, node)| element(xml, name, node)),
        Node::List(members) => members.iter().for_each(|node| element(xml, "member", node)),
    }
    write!(xml, "</{name}>").ok();
}

/// Escaped, without what XML cannot hold at all.
pub(crate) fn text(content: &str) -> String {
    let allowed = |letter: &char| !letter.is_control() || matches!(letter, '\t' | '\n' | '\r');
    let allowed = |letter: &char| allowed(letter) && !matches!(letter, '\u{fffe}' | '\u{ffff}');
    escape(content.chars().filter(allowed).collect::<String>()).into_owned()
}
