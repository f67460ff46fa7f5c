//! Web app manifests: JSON that names pictures by `src`, of icons, screenshots and shortcuts.

use serde_json::Value;

use crate::sources;

pub(crate) fn is_one(path: &str) -> bool {
    path.ends_with(".webmanifest")
}

/// The same manifest with other addresses; `address` gives the new one, nothing where it stays.
///
/// # Errors
///
/// What is wrong, in words.
pub(crate) fn rewrite(
    text: &[u8],
    address: &mut dyn FnMut(&str) -> Result<Option<String>, String>,
) -> Result<Vec<u8>, String> {
    let mut manifest: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    for list in ["icons", "screenshots"] {
        pictures(&mut manifest, list, address)?;
    }
    let shortcuts = manifest.get_mut("shortcuts").and_then(Value::as_array_mut);
    for shortcut in shortcuts.into_iter().flatten() {
        pictures(shortcut, "icons", address)?;
    }
    let mut text = serde_json::to_vec_pretty(&manifest).map_err(|error| error.to_string())?;
    text.push(b'\n');
    Ok(text)
}

fn pictures(
    of: &mut Value,
    list: &str,
    address: &mut dyn FnMut(&str) -> Result<Option<String>, String>,
) -> Result<(), String> {
    let Some(pictures) = of.get_mut(list).and_then(Value::as_array_mut) else { return Ok(()) };
    for picture in pictures {
        let Some(source) = picture.get_mut("src") else { continue };
        let Some(old) = source.as_str().map(str::to_owned) else { continue };
        if let Some(new) = address(&old)? {
            *source = format!("{new}{}", sources::split_suffix(&old).1).into();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn pictures_of_all_lists_get_their_addresses_and_the_rest_stays() {
        let text = r#"{"name":"x","icons":[{"src":"a.png","sizes":"1x1"},{"src":"/b.png"}],
            "shortcuts":[{"url":"/new","icons":[{"src":"c.png?v=1"}]}]}"#;
        let mut address = |source: &str| {
            let path = source.split('?').next().unwrap();
            Ok((!source.starts_with('/')).then(|| format!("/static/{path}")))
        };
        let text = super::rewrite(text.as_bytes(), &mut address).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(manifest["icons"][0]["src"], "/static/a.png");
        assert_eq!(manifest["icons"][1]["src"], "/b.png");
        assert_eq!(manifest["shortcuts"][0]["icons"][0]["src"], "/static/c.png?v=1");
        assert_eq!(
            (&manifest["name"], &manifest["icons"][0]["sizes"]),
            (&"x".into(), &"1x1".into())
        );
        assert!(super::rewrite(b"{", &mut address).is_err());
        for other in ["[]\n", "\"x\"\n", "{\n  \"name\": \"x\"\n}\n"] {
            let text = super::rewrite(other.as_bytes(), &mut address).unwrap();
            assert_eq!(String::from_utf8(text).unwrap(), other);
        }
    }
}
