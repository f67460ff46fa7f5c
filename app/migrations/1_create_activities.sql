-- Both stores accept this text. Ids are UUIDv7 made by the app; time is unix milliseconds.
CREATE TABLE activities (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    minutes BIGINT NOT NULL,
    at_ms BIGINT NOT NULL
);

CREATE INDEX activities_newest_first ON activities (at_ms DESC, id DESC);
