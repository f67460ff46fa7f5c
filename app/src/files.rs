//! `/static/…`: the built assets, in the smallest form the browser takes; and files such as
//! `/robots.txt`, which have their own names at the root of the site. nginx serves the same files
//! with the same headers in front of a deployed app (see `docker/nginx/nginx.conf`).

use std::path::Path;

use axum::Router;
use axum::extract::Request;
use axum::handler::HandlerWithoutStateExt;
use axum::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::Response;
use tower_http::services::ServeDir;

const HASH_DIGITS: usize = 16;
const FOR_EVER: &str = "public, max-age=31536000, immutable";
const ASK_AGAIN: &str = "no-cache";

pub(crate) fn router(directory: &Path) -> Router {
    let files = ServeDir::new(directory)
        .append_index_html_on_directories(false)
        .precompressed_br()
        .precompressed_gzip();
    Router::new().fallback_service(files).layer(middleware::from_fn(headers))
}

/// Files that are asked for by their own names; what is none of them is not found.
pub(crate) fn at_root(directory: &Path) -> Router {
    let not_found = (|| async { StatusCode::NOT_FOUND }).into_service();
    let files = ServeDir::new(directory.join("root"))
        .append_index_html_on_directories(false)
        .precompressed_br()
        .precompressed_gzip()
        .call_fallback_on_method_not_allowed(true)
        .fallback(not_found);
    Router::new().fallback_service(files).layer(middleware::map_response(ask_again))
}

async fn ask_again(mut response: Response) -> Response {
    if response.status().is_success() {
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(ASK_AGAIN));
    }
    response
}

async fn headers(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let cache = if has_hash(path) { FOR_EVER } else { ASK_AGAIN };
    let is_map = path.ends_with(".map");
    let mut response = next.run(request).await;
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    // A CDN stands between: scripts, fonts and masks from there ask for this.
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    if is_map && headers.contains_key(CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    response
}

/// `app-0123456789abcdef.css` and `app-0123456789abcdef.css.map`, but not `app.css`.
fn has_hash(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).as_bytes();
    let is_hash = |part: &[u8]| part.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    // A dash, the digits, a dot, and something behind it.
    name.windows(HASH_DIGITS + 3)
        .any(|it| it[0] == b'-' && is_hash(&it[1..=HASH_DIGITS]) && it[HASH_DIGITS + 1] == b'.')
}

#[cfg(test)]
mod tests {
    use super::has_hash;

    #[test]
    fn a_hash_is_a_dash_and_sixteen_digits_before_the_extensions() {
        for name in ["app-0123456789abcdef.css", "a-b-0123456789abcdef.min.js.map"] {
            assert!(has_hash(&format!("/icons/{name}")), "{name}");
        }
        for name in [
            "app.css",
            "app-0123456789abcde.css",
            "app-0123456789abcdef0.css",
            "app-0123456789ABCDEF.css",
            "app-0123456789abcdef",
            "app-0123456789abcdef.",
            "app0123456789abcdef.css",
            "a-0123456789abcdef.d/app.css",
        ] {
            assert!(!has_hash(&format!("/{name}")), "{name}");
        }
    }
}
