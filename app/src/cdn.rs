//! The content delivery network in front of the assets, if there is one: it asks this server for
//! `/static/…` and hands out what it got.

use url::Url;

pub(crate) struct Cdn {
    /// What the URLs of assets begin with; no slash at its end.
    pub(crate) prefix: String,
    /// Scheme, host and port: what a content security policy names.
    pub(crate) origin: String,
}

const WANTED: &str = "an http or https URL without query, such as https://cdn.example.org";

impl Cdn {
    /// # Errors
    /// What it should be.
    pub(crate) fn parse(text: &str) -> Result<Cdn, &'static str> {
        // The URL standard would also take `https:host` and drop a tab inside of a name.
        let is_plain = text.chars().all(|c| c.is_ascii_graphic() && c != '\\');
        let has_scheme = text.starts_with("https://") || text.starts_with("http://");
        if !is_plain || !has_scheme {
            return Err(WANTED);
        }
        let url = Url::parse(text).map_err(|_| WANTED)?;
        let has_user = !url.username().is_empty() || url.password().is_some();
        if has_user || url.query().is_some() || url.fragment().is_some() {
            return Err(WANTED);
        }
        let origin = url.origin().ascii_serialization();
        // A host may hold `;` and `*` by that standard; in a policy they would mean something.
        if !origin.chars().all(|c| c.is_ascii_alphanumeric() || ".-:/[]".contains(c)) {
            return Err(WANTED);
        }
        Ok(Cdn { prefix: url.as_str().trim_end_matches('/').to_owned(), origin })
    }
}

#[cfg(test)]
mod tests {
    use super::Cdn;

    #[test]
    fn a_prefix_never_ends_with_a_slash_and_an_origin_has_no_path() {
        for (text, prefix, origin) in [
            ("https://cdn.example.org", "https://cdn.example.org", "https://cdn.example.org"),
            ("https://cdn.example.org/", "https://cdn.example.org", "https://cdn.example.org"),
            (
                "https://CDN.example.org:443/a//",
                "https://cdn.example.org/a",
                "https://cdn.example.org",
            ),
            ("http://127.0.0.1:81/a/b/", "http://127.0.0.1:81/a/b", "http://127.0.0.1:81"),
            ("http://[::1]:81", "http://[::1]:81", "http://[::1]:81"),
        ] {
            let cdn = Cdn::parse(text).unwrap();
            assert_eq!((cdn.prefix.as_str(), cdn.origin.as_str()), (prefix, origin), "{text}");
        }
    }

    #[test]
    fn what_is_no_http_url_or_more_than_a_place_is_refused() {
        for text in [
            "cdn.example.org",
            "//cdn.example.org",
            "ftp://cdn.example.org",
            "https:cdn.example.org",
            "https://",
            "https://cdn.example.org?v=1",
            "https://cdn.example.org/#top",
            "https://me:pw@cdn.example.org",
            "https://cdn.example.org; script-src *",
            "https://cdn.example.org\nx",
            "https://cdn.example.org\\x",
            "https://cdn.example.org:70000",
            "https://*.example.org",
            "https://cdn.example.org;script-src/",
        ] {
            assert!(Cdn::parse(text).is_err(), "{text}");
        }
    }
}
