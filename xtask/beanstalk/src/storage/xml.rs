//! The little XML that is sent to S3: lists of parts and of keys.

use quick_xml::events::Event as Xml;

/// The elements that have text, in order.
pub(crate) fn elements(xml: &[u8]) -> Option<Vec<(String, String)>> {
    let mut reader = quick_xml::Reader::from_reader(xml);
    let mut found = Vec::new();
    let (mut name, mut content) = (String::new(), String::new());
    loop {
        match reader.read_event().ok()? {
            Xml::Start(start) => {
                name = start.local_name().as_ref().to_owned();
                content.clear();
            }
            Xml::Text(part) => content.push_str(&part),
            Xml::GeneralRef(reference) => {
                let named: &str = &reference;
                let letter = reference.resolve_char_ref().ok()?.map(String::from);
                let known = quick_xml::escape::resolve_predefined_entity(named).map(str::to_owned);
                content.push_str(&letter.or(known)?);
            }
            Xml::End(_) if !name.is_empty() => {
                found.push((std::mem::take(&mut name), std::mem::take(&mut content)));
            }
            Xml::Eof => return Some(found),
            _ => {}
        }
    }
}
