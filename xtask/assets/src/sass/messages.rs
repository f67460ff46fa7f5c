//! The messages of the Embedded Sass protocol, as far as they are used here; fields and numbers as
//! `spec/embedded_sass.proto` of Sass has them.

use prost::{Enumeration, Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub(super) struct Inbound {
    #[prost(message, optional, tag = "2")]
    pub(super) compile: Option<Compile>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Compile {
    #[prost(string, tag = "3")]
    pub(super) path: String,
    #[prost(bool, tag = "5")]
    pub(super) source_map: bool,
    #[prost(message, repeated, tag = "6")]
    pub(super) importers: Vec<LoadPath>,
    /// Every deprecation, not only the first five of a kind.
    #[prost(bool, tag = "10")]
    pub(super) verbose: bool,
    #[prost(bool, tag = "11")]
    pub(super) quiet_deps: bool,
    #[prost(bool, tag = "12")]
    pub(super) source_map_include_sources: bool,
    #[prost(string, repeated, tag = "16")]
    pub(super) silence_deprecation: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct LoadPath {
    #[prost(string, tag = "1")]
    pub(super) path: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Outbound {
    #[prost(oneof = "Event", tags = "1, 2, 3")]
    pub(super) event: Option<Event>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Event {
    #[prost(message, tag = "1")]
    Error(ProtocolError),
    #[prost(message, tag = "2")]
    Compiled(Compiled),
    #[prost(message, tag = "3")]
    Log(Log),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ProtocolError {
    #[prost(string, tag = "3")]
    pub(super) message: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Compiled {
    #[prost(oneof = "Outcome", tags = "2, 3")]
    pub(super) outcome: Option<Outcome>,
    #[prost(string, repeated, tag = "4")]
    pub(super) loaded_urls: Vec<String>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Outcome {
    #[prost(message, tag = "2")]
    Success(Success),
    #[prost(message, tag = "3")]
    Failure(Failure),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Success {
    #[prost(string, tag = "1")]
    pub(super) css: String,
    #[prost(string, tag = "2")]
    pub(super) source_map: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Failure {
    #[prost(string, tag = "1")]
    pub(super) message: String,
    #[prost(message, optional, tag = "2")]
    pub(super) span: Option<Span>,
    #[prost(string, tag = "3")]
    pub(super) stack_trace: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Log {
    #[prost(enumeration = "Kind", tag = "2")]
    pub(super) kind: i32,
    #[prost(string, tag = "3")]
    pub(super) message: String,
    #[prost(message, optional, tag = "4")]
    pub(super) span: Option<Span>,
    #[prost(string, tag = "5")]
    pub(super) stack_trace: String,
    /// Which deprecation it is.
    #[prost(string, optional, tag = "7")]
    pub(super) deprecation: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
pub(super) enum Kind {
    Warning = 0,
    Deprecation = 1,
    Debug = 2,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Span {
    #[prost(message, optional, tag = "2")]
    pub(super) start: Option<Location>,
    #[prost(string, tag = "4")]
    pub(super) url: String,
}

/// Both from 0; columns count units of UTF-16.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Location {
    #[prost(uint32, tag = "2")]
    pub(super) line: u32,
    #[prost(uint32, tag = "3")]
    pub(super) column: u32,
}
